//! Figures for Prometheus. Labels are bounded: routes, methods, statuses, databases with an
//! open pool; never a tenant.

use std::sync::OnceLock;

use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};
use rowhouse_postgres::Databases;

static HANDLE: OnceLock<PrometheusHandle> = OnceLock::new();

/// Upper bounds of the duration histogram, in seconds.
const DURATIONS: &[f64] = &[0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];

/// Installs the recorder; once per process, later calls do nothing.
pub fn install() {
    HANDLE.get_or_init(|| {
        let builder = PrometheusBuilder::new()
            .set_buckets_for_metric(Matcher::Suffix("_seconds".into()), DURATIONS)
            .expect("the bounds are not empty");
        builder.install_recorder().expect("nobody else installs a recorder")
    });
}

/// The figures as text.
pub(crate) fn render(databases: &Databases) -> String {
    for pool in databases.pool_states() {
        for (state, count) in
            [("open", pool.open), ("idle", pool.idle), ("waiting", pool.waiting), ("max", pool.connections_max)]
        {
            let labels =
                [("database", pool.database.clone()), ("role", pool.role.to_owned()), ("state", state.to_owned())];
            let count = u32::try_from(count).unwrap_or(u32::MAX);
            metrics::gauge!("rowhouse_db_pool_connections", &labels).set(f64::from(count));
        }
    }
    HANDLE.get().map(PrometheusHandle::render).unwrap_or_default()
}
