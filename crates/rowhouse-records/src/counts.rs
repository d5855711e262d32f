//! How many records of each entity the caller may see.

use std::collections::BTreeMap;

use rowhouse_app::AppModel;
use rowhouse_postgres::Statement;
use rowhouse_types::{Action, ApiError};

use crate::scope::Scopes;
use crate::statement::Builder;
use crate::{Caller, Records};

/// Statements of one round trip.
const A_TRIP: usize = 16;

impl Records {
    /// Counts the records of every entity that the caller may see anything of.
    pub async fn counts(&self, model: &AppModel, caller: &Caller<'_>) -> Result<BTreeMap<String, i64>, ApiError> {
        let mut builders = Vec::new();
        for entity in model.entities.values() {
            let Ok(scopes) = Scopes::of(caller, entity, Action::View) else { continue };
            let mut builder = Builder::new(caller);
            builder.push("select count(*) from ").table(caller, entity, false).push(" t where ").tenant("t", entity);
            scopes.write(caller, entity, "t", &mut builder);
            builders.push((entity.name.clone(), builder));
        }
        let connection = self.databases.tenant(caller.context).await?;
        let mut counts = BTreeMap::new();
        for some in builders.chunks(A_TRIP) {
            let statements: Vec<Statement<'_>> =
                some.iter().map(|(_, builder)| Statement { sql: builder.sql(), params: builder.params() }).collect();
            let results = connection.run_all(&statements).await?;
            for ((name, _), rows) in some.iter().zip(results) {
                counts.insert(name.clone(), rows.first().map_or(0, |row| row.get(0)));
            }
        }
        Ok(counts)
    }
}
