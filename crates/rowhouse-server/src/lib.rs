//! HTTP: the gate, the routes by domain and the OpenAPI document. No rule of a domain and no
//! SQL lives here.
//!
//! **Invariant:** a handler reaches a tenant's rows only through `gate`'s extractors, which
//! alone hold the authority to choose a tenant.

mod body;
mod browser;
mod client;
mod cookie;
mod csrf;
mod envelope;
mod form;
mod gate;
mod host;
mod kept_mails;
mod metrics;
mod openapi;
mod paging;
mod permissions;
mod person;
mod refusal;
mod route;
mod router;
mod routes;
mod serve;
mod state;
mod trace;

pub use client::{ProxyError, TrustedProxies};
pub use kept_mails::KEPT_MAILS_PATH;
pub use metrics::{install as install_metrics, sum_up as sum_up_metrics};
pub use openapi::document as openapi_document;
pub use route::{Access, RouteDoc};
pub use router::{metrics_router, route_docs, router};
pub use serve::serve;
pub use state::{ServerSettings, ServerState, Services};
