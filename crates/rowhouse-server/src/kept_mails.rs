//! The page that shows a developer the mails that were kept instead of sent.
//!
//! Must never be served but in development and to the machine itself: the mails hold tokens. A site
//! in the developer's browser cannot read it either: its own name is no name of this machine.

use std::net::SocketAddr;
use std::sync::Arc;

use axum::Router;
use axum::extract::{ConnectInfo, Path, Request, State};
use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse as _, Response};
use axum::routing::get;
use chrono::SecondsFormat;
use minijinja::value::Value;
use minijinja::{Environment, context};
use rowhouse_mail::{Folder, KeptContent, KeptMail};
use rowhouse_types::ApiError;
use uuid::Uuid;

use crate::envelope::Failure;

/// Where the page is.
pub const KEPT_MAILS_PATH: &str = "/dev/mails";
const TEMPLATE: &str = include_str!("../templates/mails.html");
/// Mails of one page.
const SHOWN_MAX: usize = 100;
/// Of the mail itself: nothing is fetched and no script runs; its links open beside it.
const MAIL_POLICY: HeaderValue = HeaderValue::from_static(
    "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'self'; \
     sandbox allow-popups allow-popups-to-escape-sandbox",
);
const SAME_ORIGIN: HeaderValue = HeaderValue::from_static("SAMEORIGIN");

/// The routes of the page over the folder of kept mails.
pub(crate) fn kept_mails_router(folder: Folder) -> Router {
    Router::new()
        .route(KEPT_MAILS_PATH, get(list))
        .route("/dev/mails/{id}", get(one))
        .route("/dev/mails/{id}/html", get(html))
        .layer(middleware::from_fn(require_this_machine))
        .with_state(Arc::new(folder))
}

/// Whoever is not this machine, or calls it by another name, finds nothing.
async fn require_this_machine(request: Request, next: Next) -> Response {
    let peer = request.extensions().get::<ConnectInfo<SocketAddr>>();
    let is_near = peer.is_some_and(|ConnectInfo(peer)| peer.ip().to_canonical().is_loopback());
    let host = request.headers().get(header::HOST).and_then(|host| host.to_str().ok());
    if is_near && host.is_some_and(names_this_machine) {
        return next.run(request).await;
    }
    Failure(ApiError::not_found()).into_response()
}

fn names_this_machine(host: &str) -> bool {
    let Ok(url) = url::Url::parse(&format!("http://{host}/")) else { return false };
    match url.host() {
        Some(url::Host::Domain(name)) => name == "localhost" || name.ends_with(".localhost"),
        Some(url::Host::Ipv4(address)) => address.is_loopback(),
        Some(url::Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    }
}

async fn list(State(folder): State<Arc<Folder>>) -> Result<Response, Failure> {
    let mails = blocking(move || folder.newest(SHOWN_MAX)).await?;
    let mails: Vec<Value> = mails.iter().map(shown).collect();
    page(context! { mails })
}

async fn one(State(folder): State<Arc<Folder>>, Path(id): Path<String>) -> Result<Response, Failure> {
    page(context! { mail => shown(&find(folder, &id).await?) })
}

async fn html(State(folder): State<Arc<Folder>>, Path(id): Path<String>) -> Result<Response, Failure> {
    let (_, content) = find(folder, &id).await?;
    Ok(html_response(content.html, MAIL_POLICY, SAME_ORIGIN))
}

async fn find(folder: Arc<Folder>, id: &str) -> Result<(KeptMail, KeptContent), Failure> {
    let id: Uuid = id.parse().map_err(|_| ApiError::not_found())?;
    Ok(blocking(move || folder.read(id)).await?.ok_or_else(ApiError::not_found)?)
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> std::io::Result<T> + Send + 'static,
) -> Result<T, ApiError> {
    let done = tokio::task::spawn_blocking(work).await.map_err(ApiError::internal)?;
    done.map_err(ApiError::internal)
}

fn shown((mail, content): &(KeptMail, KeptContent)) -> Value {
    context! {
        id => mail.id.to_string(),
        kind => mail.kind.as_str(),
        at => mail.at.to_rfc3339_opts(SecondsFormat::Secs, true),
        path => mail.path.display().to_string(),
        subject => content.subject.as_str(),
        to => content.to.as_str(),
        text => content.text.as_str(),
    }
}

fn page(shown: Value) -> Result<Response, Failure> {
    let nonce = Uuid::new_v4().simple().to_string();
    let mut templates = Environment::new();
    templates.add_template("mails.html", TEMPLATE).map_err(ApiError::internal)?;
    let template = templates.get_template("mails.html").map_err(ApiError::internal)?;
    let text = template.render(context! { nonce => nonce.as_str(), ..shown });
    let policy = format!(
        "default-src 'none'; style-src 'nonce-{nonce}'; frame-src 'self'; frame-ancestors 'none'; \
         base-uri 'none'; form-action 'none'"
    );
    let policy = HeaderValue::try_from(policy).map_err(ApiError::internal)?;
    Ok(html_response(text.map_err(ApiError::internal)?, policy, HeaderValue::from_static("DENY")))
}

fn html_response(text: String, policy: HeaderValue, framed: HeaderValue) -> Response {
    let headers: [(HeaderName, HeaderValue); 6] = [
        (header::CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8")),
        (header::CONTENT_SECURITY_POLICY, policy),
        (header::X_FRAME_OPTIONS, framed),
        (header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
        (header::REFERRER_POLICY, HeaderValue::from_static("no-referrer")),
        (header::CACHE_CONTROL, HeaderValue::from_static("private, no-store")),
    ];
    (StatusCode::OK, headers, text).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_of_this_machine_are_its_own() {
        for own in ["localhost", "localhost:8080", "acme.localhost:8080", "127.0.0.1:8080", "127.1", "[::1]:8080"] {
            assert!(names_this_machine(own), "{own}");
        }
        for other in
            ["", "evil.example", "localhost.evil.example", "192.0.2.1:8080", "[2001:db8::1]", "a b", "x@evil.example"]
        {
            assert!(!names_this_machine(other), "{other}");
        }
    }
}
