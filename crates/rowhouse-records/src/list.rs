//! Lists: one statement, or two in one round trip where the whole list is counted.

use rowhouse_app::{AppModel, Entity};
use rowhouse_postgres::{Access, Row, Statement, text_of, write_row};
use rowhouse_types::{Action, ApiError, Pagination};

use crate::filter::contains_pattern;
use crate::query::{Count, ListQuery, Paging, list_query};
use crate::scope::Scopes;
use crate::sort::{write_after, write_order};
use crate::statement::Builder;
use crate::{Caller, Records, cursor, entity_of, fault};

/// Up to here an estimate is exact; beyond it the total is left open.
const ESTIMATE_EXACT_MAX: i64 = 10_000;

/// A page of records.
#[derive(Debug)]
pub struct ListAnswer {
    /// A JSON array.
    pub data: Vec<u8>,
    /// Where the page lies.
    pub pagination: Pagination,
}

impl Records {
    /// Lists records: filters, search, sort, pages or cursor, related records.
    ///
    /// # Errors
    /// 400 for what is unknown or malformed, 403 if the role may see nothing of the entity.
    pub async fn list(
        &self,
        model: &AppModel,
        caller: &Caller<'_>,
        entity: &str,
        query: &[(String, String)],
    ) -> Result<ListAnswer, ApiError> {
        let entity = entity_of(model, entity)?;
        let scopes = Scopes::of(caller, entity, Action::View)?;
        let query = list_query(entity, query)?;
        let plan = self.plan(model, caller, entity, scopes, &query)?;
        let mut statements = vec![Statement { sql: plan.page.sql(), params: plan.page.params() }];
        if let Some(count) = &plan.count {
            statements.push(Statement { sql: count.sql(), params: count.params() });
        }
        let results = if query.is_quick() {
            self.databases.run_quick(caller.context, Access::Read, &statements).await
        } else {
            self.databases.tenant(caller.context).await?.run_all(&statements).await
        };
        let mut results = results.map_err(|error| fault::of_read(error, &plan.page))?;
        let counted = plan.count.as_ref().and_then(|_| results.pop());
        let rows = results.pop().unwrap_or_default();
        let total = counted.and_then(|rows| rows.first().map(|row| row.get::<_, i64>(0)));
        Ok(self.answer(&query, &plan, &rows, total))
    }

    fn plan(
        &self,
        model: &AppModel,
        caller: &Caller<'_>,
        entity: &Entity,
        scopes: Scopes,
        query: &ListQuery<'_>,
    ) -> Result<Plan, ApiError> {
        let mut scoped = !query.search.is_empty() || query.filters.iter().any(|filter| !filter.leakproof());
        let walking = matches!(query.paging, Paging::Cursor { cursor: Some(_), .. });
        scoped |= walking && query.sorts.iter().any(|sort| !sort.column.kind.leakproof());
        let mut condition = Builder::new(caller);
        write_condition(caller, entity, scopes, query, &mut condition);
        let values: Vec<String> = condition.params().iter().map(|param| format!("{param:?}")).collect();
        let mut identity = condition.sibling();
        identity.name(&entity.name).push_built(&condition);
        write_order(&query.sorts, &mut identity);
        let list = cursor::list_identity(caller.context.tenant(), identity.sql(), &values);

        let count = (query.count != Count::None).then(|| write_count(caller, entity, query, scoped, &condition));
        let mut page = condition.sibling();
        page.push("select ");
        for (index, column) in query.columns.iter().enumerate() {
            page.push(if index == 0 { "" } else { ", " }).selected("t", column);
        }
        for include in &query.includes {
            include.write(model, caller, &mut page)?;
        }
        let mut sorted = Vec::with_capacity(query.sorts.len());
        let mut width = query.columns.len() + query.includes.len();
        for sort in &query.sorts {
            // A column more costs the server as much as the rest of a row's way.
            sorted.push(query.columns.iter().position(|column| column.name == sort.column.name).unwrap_or_else(|| {
                page.push(", ").selected("t", sort.column);
                width += 1;
                width - 1
            }));
        }
        page.push(" from ").table(caller, entity, scoped).push(" t where ");
        page.push_built(&condition);
        if let Paging::Cursor { cursor: Some(cursor), .. } = &query.paging {
            let after = cursor::read(&self.cursors, &list, cursor, query.sorts.len())?;
            page.push(" and ");
            write_after(&query.sorts, &after, &mut page);
        }
        write_order(&query.sorts, &mut page);
        let (limit, offset) = match query.paging {
            Paging::Page { page, per_page } => (per_page, u64::from(page - 1) * u64::from(per_page)),
            Paging::Cursor { limit, .. } => (limit, 0),
        };
        // One more than asked for tells whether more follow.
        page.push(" limit ");
        if query.filters.is_empty() && query.search.is_empty() {
            page.number(u64::from(limit) + 1);
        } else {
            // With values to filter by, the best plan depends on them: a bound limit, for which a
            // plan for all values looks dear, keeps the planner at planning for these.
            page.bind("limit", (i64::from(limit) + 1).into());
        }
        if offset > 0 {
            page.push(" offset ").number(offset);
        }
        Ok(Plan { page, count, list, sorted, limit })
    }

    fn answer(&self, query: &ListQuery<'_>, plan: &Plan, rows: &[Row], total: Option<i64>) -> ListAnswer {
        let limit = usize::try_from(plan.limit).unwrap_or(usize::MAX);
        let more = rows.len() > limit;
        let rows = &rows[..rows.len().min(limit)];
        let columns = query.columns.len() + query.includes.len();
        let mut data = Vec::with_capacity(2 + rows.len() * 256);
        data.push(b'[');
        for (index, row) in rows.iter().enumerate() {
            if index > 0 {
                data.push(b',');
            }
            write_row(row, columns, &mut data);
        }
        data.push(b']');
        let after = |row: &Row| plan.sorted.iter().map(|place| text_of(row, *place)).collect();
        let cursor = rows.last().filter(|_| more).map(|row| cursor::make(&self.cursors, &plan.list, after(row)));
        let total = total.filter(|total| query.count == Count::Exact || *total <= ESTIMATE_EXACT_MAX);
        let total = total.and_then(|total| u64::try_from(total).ok());
        let pagination = match query.paging {
            Paging::Page { page, per_page } => Pagination {
                page: Some(page),
                per_page,
                total,
                total_pages: total.map(|total| total.div_ceil(u64::from(per_page))),
                has_next: more,
                has_prev: page > 1,
                cursor,
            },
            Paging::Cursor { cursor: ref given, limit } => Pagination {
                page: None,
                per_page: limit,
                total,
                total_pages: None,
                has_next: more,
                has_prev: given.is_some(),
                cursor,
            },
        };
        ListAnswer { data, pagination }
    }
}

struct Plan {
    page: Builder,
    count: Option<Builder>,
    /// The list's identity, for cursors.
    list: String,
    /// The places of the columns it is sorted by, in the rows.
    sorted: Vec<usize>,
    limit: u32,
}

/// Tenant, scope, filters, search.
fn write_condition(caller: &Caller<'_>, entity: &Entity, scopes: Scopes, query: &ListQuery<'_>, builder: &mut Builder) {
    builder.tenant("t", entity);
    scopes.write(caller, entity, "t", builder);
    for filter in &query.filters {
        builder.push(" and ");
        filter.write(builder);
    }
    for word in &query.search {
        builder.push(" and (false");
        for column in &entity.search {
            builder.push(" or ").column("t", column).push(" ilike ").bind("q", contains_pattern(word).into());
        }
        builder.push(")");
    }
}

fn write_count(
    caller: &Caller<'_>,
    entity: &Entity,
    query: &ListQuery<'_>,
    scoped: bool,
    condition: &Builder,
) -> Builder {
    let mut count = condition.sibling();
    match query.count {
        Count::Estimated => {
            count.push("select count(*) from (select 1 from ").table(caller, entity, scoped).push(" t where ");
            count.push_built(condition);
            count.push(" limit ").number(ESTIMATE_EXACT_MAX.unsigned_abs() + 1).push(") q");
        }
        Count::Exact | Count::None => {
            count.push("select count(*) from ").table(caller, entity, scoped).push(" t where ");
            count.push_built(condition);
        }
    }
    count
}
