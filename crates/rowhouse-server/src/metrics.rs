//! Figures for Prometheus. Labels are bounded: routes, methods, statuses, databases with an
//! open pool; never a tenant.

use std::cell::RefCell;
use std::collections::HashMap;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use axum::http::Method;
use metrics::{Counter, Histogram};
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

/// How often what was recorded is summed up. Until then each duration is kept by itself.
const SUM_UP_EVERY: Duration = Duration::from_secs(5);

/// Sums up what is recorded, for ever: a service that nobody scrapes would keep every duration.
pub async fn sum_up() {
    let mut clock = tokio::time::interval(SUM_UP_EVERY);
    loop {
        clock.tick().await;
        if let Some(handle) = HANDLE.get() {
            handle.run_upkeep();
        }
    }
}

/// The figures of one method, route and status.
struct RequestFigures {
    method: &'static str,
    status: u16,
    duration: Histogram,
    count: Counter,
}

impl RequestFigures {
    fn of(method: &'static str, route: &str, status: u16) -> Self {
        let (verb, route) = (("method", method.to_owned()), ("route", route.to_owned()));
        let duration = metrics::histogram!("rowhouse_http_request_duration_seconds", &[verb.clone(), route.clone()]);
        let count = metrics::counter!("rowhouse_http_requests_total", &[verb, route, ("status", status.to_string())]);
        Self { method, status, duration, count }
    }
}

thread_local! {
    /// By route, so that a request finds its figures without making their labels anew. Bounded as
    /// the labels are.
    static REQUESTS: RefCell<HashMap<String, Vec<RequestFigures>>> = RefCell::default();
}

/// Clients may make up methods; a label must not grow with them.
fn method_label(method: &Method) -> &'static str {
    match *method {
        Method::GET => "GET",
        Method::HEAD => "HEAD",
        Method::POST => "POST",
        Method::PUT => "PUT",
        Method::PATCH => "PATCH",
        Method::DELETE => "DELETE",
        Method::OPTIONS => "OPTIONS",
        _ => "other",
    }
}

/// Counts a request and how long it took. `route` is its pattern, never its path.
pub(crate) fn record_request(method: &Method, route: &str, status: u16, took: Duration) {
    let method = method_label(method);
    REQUESTS.with_borrow_mut(|requests| {
        let known = match requests.get_mut(route) {
            Some(known) => known,
            None => requests.entry(route.to_owned()).or_default(),
        };
        let place = known.iter().position(|one| one.status == status && one.method == method);
        let place = place.unwrap_or_else(|| {
            known.push(RequestFigures::of(method, route, status));
            known.len() - 1
        });
        known[place].duration.record(took);
        known[place].count.increment(1);
    });
}

static UNDER_WAY: AtomicU32 = AtomicU32::new(0);

/// A request that is under way until this is dropped, whether or not its client still waits.
pub(crate) struct UnderWay(());

impl UnderWay {
    pub(crate) fn begin() -> Self {
        UNDER_WAY.fetch_add(1, Ordering::Relaxed);
        Self(())
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        UNDER_WAY.fetch_sub(1, Ordering::Relaxed);
    }
}

/// The figures as text.
pub(crate) fn render(databases: &Databases) -> String {
    metrics::gauge!("rowhouse_http_requests_under_way").set(f64::from(UNDER_WAY.load(Ordering::Relaxed)));
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
