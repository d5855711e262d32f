//! The control database as a target: bringing it to the newest version, and telling how far from
//! that it is. What stands in it is the program's, so no app is needed, and nothing is taken back.

use rowhouse_app::fingerprint;
use rowhouse_audit::Actor;
use rowhouse_postgres::{
    CONTROL_TARGET, DatabaseError, DatabaseResult, Databases, MigrationError, MigrationSet, SystemConnection,
    SystemScope, applied_migrations, apply_migrations,
};
use serde_json::json;

use crate::fleet::{TargetPlan, TargetState};
use crate::target::{Fingerprint, Target, TargetKind, target_get, targets_put};
use crate::version::{PROGRAM, Version};

/// Brings the control database to the newest version, and records its fingerprint. Gives the
/// names of what was applied.
pub async fn migrate_control(databases: &Databases, scope: &SystemScope) -> Result<Vec<String>, MigrationError> {
    let mut connection = databases.control(scope).await.map_err(|error| failed("(connect)", error))?;
    let set = control_set(databases);
    let applied = apply_migrations(&mut connection, &set, CONTROL_TARGET, PROGRAM).await?;
    record_control(databases, &mut connection, &applied).await.map_err(|error| failed("(fingerprint)", error))?;
    Ok(applied)
}

/// What [`migrate_control`] would do; none if that is nothing. Nothing is changed. A database
/// that was never migrated has no release.
pub async fn control_plan(databases: &Databases, scope: &SystemScope) -> Result<Option<TargetPlan>, MigrationError> {
    let connection = databases.control(scope).await.map_err(|error| failed("(connect)", error))?;
    let seen = look(databases, &connection).await.map_err(|error| failed("(look)", error))?;
    if seen.is_current() {
        return Ok(None);
    }
    let location = databases.control_location();
    Ok(Some(TargetPlan {
        database: location.database.to_string(),
        schema: location.schema.to_string(),
        kind: TargetKind::Control,
        release: seen.release(),
        pending: seen.pending,
        error: None,
    }))
}

/// The control database's state: as recorded, or compared with its real schema. Nothing is changed.
pub async fn control_status(
    databases: &Databases,
    scope: &SystemScope,
    verify: bool,
) -> Result<TargetState, MigrationError> {
    let connection = databases.control(scope).await.map_err(|error| failed("(connect)", error))?;
    let seen = look(databases, &connection).await.map_err(|error| failed("(look)", error))?;
    let location = databases.control_location();
    let Some(recorded) = seen.recorded.clone() else {
        let never = Version { release: String::new(), platform: String::new() };
        let target = Target::new(location, TargetKind::Control, &never, Fingerprint::default());
        return Ok(TargetState::of(target, None, false));
    };
    let found = if verify {
        let own = fingerprint(&connection, &location.schema).await.map_err(|error| failed("(fingerprint)", error))?;
        Some(Fingerprint { own, shared: String::new() })
    } else {
        None
    };
    let current = seen.is_current();
    Ok(TargetState::of(recorded, found.as_ref().map(Some), current))
}

/// What was found in the control database.
struct Seen {
    pending: Vec<String>,
    recorded: Option<Target>,
}

impl Seen {
    fn is_current(&self) -> bool {
        let platform = Version::of_control().platform;
        self.pending.is_empty() && self.recorded.as_ref().is_some_and(|target| target.platform == platform)
    }

    fn release(&self) -> String {
        self.recorded.as_ref().map(|target| target.release.clone()).unwrap_or_default()
    }
}

async fn look(databases: &Databases, connection: &SystemConnection) -> DatabaseResult<Seen> {
    const REGISTRY: &str = "select to_regclass('control.targets') is not null";
    let set = control_set(databases);
    let applied = applied_migrations(connection, CONTROL_TARGET).await?;
    let pending = set.pending(&applied).into_iter().map(|file| file.name.clone()).collect();
    let recorded = if connection.query_opt(REGISTRY, &[]).await?.is_some_and(|row| row.get(0)) {
        target_get(connection, &databases.control_location()).await?
    } else {
        None
    };
    Ok(Seen { pending, recorded })
}

fn failed(name: &str, source: DatabaseError) -> MigrationError {
    MigrationError { name: name.into(), target: CONTROL_TARGET.into(), source }
}

/// The control database's files, in the order in which the domains build on each other.
fn control_set(databases: &Databases) -> MigrationSet {
    let domains = [
        rowhouse_audit::CONTROL_MIGRATIONS,
        rowhouse_identity::CONTROL_MIGRATIONS,
        rowhouse_jobs::CONTROL_MIGRATIONS,
        rowhouse_mail::CONTROL_MIGRATIONS,
        crate::CONTROL_MIGRATIONS,
    ];
    MigrationSet::control(&domains, &databases.home().roles)
}

async fn record_control(
    databases: &Databases,
    connection: &mut SystemConnection,
    applied: &[String],
) -> DatabaseResult<()> {
    let location = databases.control_location();
    let version = Version::of_control();
    let recorded = target_get(connection, &location).await?;
    if applied.is_empty() && recorded.is_some_and(|target| target.platform == version.platform) {
        return Ok(());
    }
    let own = fingerprint(connection, &location.schema).await?;
    let fingerprint = Fingerprint { own, shared: String::new() };
    // What tells of a migration is made by the first one, so they are not one transaction.
    connection.begin().await?;
    targets_put(connection, &[Target::new(location, TargetKind::Control, &version, fingerprint)]).await?;
    let details = json!({ "program": PROGRAM, "applied": applied });
    Actor::system().did("migrate_control").with_details(details).write(connection).await?;
    connection.commit().await
}
