//! The requests that are measured, each in the two forms that are compared: as HTTP and as the
//! SQL that the same question costs without Rowhouse.

use crate::http::request;
use crate::installation::Caller;

/// Ids of records asked for, per tenant.
const RECORDS_A_TENANT: u32 = 50;

/// An order to be inserted.
const NEW_ORDER: &str = r#"{"number":7,"title":"A new order of tea","status":"new","priority":2,"amount":"19.90","attributes":{"channel":"web","batch":1},"notes":"Call before delivery."}"#;

/// The id of the nth order, the same in every tenant (seed/demo.sql).
pub(crate) fn order_id(n: u32) -> String {
    format!("00000000-0000-8000-a000-{n:012x}")
}

fn get(port: u16, caller: &Caller, path: &str) -> String {
    request(port, "GET", path, &[("authorization", &format!("Bearer {}", caller.token))], "")
}

/// A list of each tenant.
pub(crate) fn lists(port: u16, callers: &[Caller], query: &str) -> Vec<String> {
    callers.iter().map(|caller| get(port, caller, &format!("/api/orders?{query}"))).collect()
}

/// Some records of each tenant.
pub(crate) fn records(port: u16, callers: &[Caller], rows: u32) -> Vec<String> {
    let ids = (0..RECORDS_A_TENANT).map(|n| order_id(1 + n * rows / RECORDS_A_TENANT));
    let ids: Vec<String> = ids.collect();
    let of = |caller| ids.iter().map(move |id| get(port, caller, &format!("/api/orders/{id}")));
    callers.iter().flat_map(of).collect()
}

/// An insert for each tenant.
pub(crate) fn inserts(port: u16, callers: &[Caller]) -> Vec<String> {
    let insert = |caller: &Caller| {
        let token = format!("Bearer {}", caller.token);
        request(port, "POST", "/api/orders", &[("authorization", &token)], NEW_ORDER)
    };
    callers.iter().map(insert).collect()
}

/// A GraphQL query of each tenant.
pub(crate) fn graphql(port: u16, callers: &[Caller], query: &str) -> Vec<String> {
    let body = serde_json::json!({ "query": query }).to_string();
    let ask = |caller: &Caller| request(port, "POST", "/graphql", &[("x-tenant-id", &caller.tenant)], &body);
    callers.iter().map(ask).collect()
}

/// The list of 50 as a GraphQL query.
pub(crate) const GRAPHQL_LIST: &str = "{ allOrders(first: 50, orderBy: CREATED_AT_DESC) { nodes { id number title \
    status priority amount attributes notes customerId scheduledAt createdAt updatedAt } } }";

/// The list of 50 as SQL.
pub(crate) fn list_sql(tenant: &str) -> String {
    format!("select * from app.orders where tenant_id = '{tenant}' order by created_at desc limit 50;\n")
}

/// One record as SQL; its number is drawn by pgbench.
pub(crate) fn record_sql(tenant: &str, rows: u32) -> String {
    format!(
        "\\set n random(1, {rows})\nselect * from app.orders where tenant_id = '{tenant}' \
         and id = ('00000000-0000-8000-a000-' || lpad(to_hex(:n::integer), 12, '0'))::uuid;\n"
    )
}

/// An insert as SQL.
pub(crate) fn insert_sql(tenant: &str) -> String {
    format!(
        "insert into app.orders (tenant_id, number, title, status, priority, amount, attributes, notes) values \
         ('{tenant}', 7, 'A new order of tea', 'new', 2, 19.90, '{{\"channel\": \"web\", \"batch\": 1}}', \
         'Call before delivery.') returning *;\n"
    )
}

/// Encodes a query string's value.
pub(crate) fn encoded(text: &str) -> String {
    let mut encoded = String::new();
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() {
            encoded.push(char::from(byte));
        } else {
            encoded.push_str(&format!("%{byte:02X}"));
        }
    }
    encoded
}
