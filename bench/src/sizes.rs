//! How much is measured. Printed with the results, so that figures of different sizes are never
//! compared.

/// The sizes of one run.
#[derive(Debug, Clone)]
pub(crate) struct Sizes {
    /// Whether the figures mean nothing.
    pub(crate) smoke: bool,
    /// Tenants in pool placement.
    pub(crate) tenants: u32,
    /// Rows of each tenant.
    pub(crate) rows: u32,
    /// Tenants in schema, and in database placement.
    pub(crate) own_tenants: u32,
    /// Connections of every load generator, and of Rowhouse to each database.
    pub(crate) clients: u32,
    /// Rounds: in each, everything is measured once.
    pub(crate) rounds: u32,
    /// Seconds of one measurement.
    pub(crate) seconds: u32,
    /// Rows of the tenant whose filters are measured.
    pub(crate) filter_rows: u32,
    /// Tenants made in each placement and by each program.
    pub(crate) provisions: u32,
    /// Tenants made from the warm pool.
    pub(crate) warm: u32,
    /// Schemas that are migrated.
    pub(crate) schemas: u32,
    /// Requests that are timed one by one.
    pub(crate) requests: u32,
    /// Schema tenants a server is started with.
    pub(crate) footprints: Vec<u32>,
}

impl Sizes {
    /// The sizes of a full run, of a smoke run, or of a full run with the largest footprint.
    pub(crate) fn new(smoke: bool, large: bool) -> Self {
        let mut footprints = if smoke { vec![2, 4] } else { vec![10, 1_000] };
        if large {
            footprints.push(if smoke { 6 } else { 10_000 });
        }
        if smoke {
            return Self {
                smoke,
                tenants: 3,
                rows: 200,
                own_tenants: 2,
                clients: 4,
                rounds: 2,
                seconds: 1,
                filter_rows: 20_000,
                provisions: 4,
                warm: 2,
                schemas: 5,
                requests: 40,
                footprints,
            };
        }
        Self {
            smoke,
            tenants: 100,
            rows: 10_000,
            own_tenants: 10,
            clients: 16,
            rounds: 5,
            seconds: 5,
            filter_rows: 1_000_000,
            provisions: 200,
            warm: 20,
            schemas: 1_000,
            requests: 2_000,
            footprints,
        }
    }
}
