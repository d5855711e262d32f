//! Whether a page of the same host made a request that a browser adds its cookie to.
//!
//! Must never let a page of another host act with a cookie, nor put one in its place. Other tenants'
//! hosts are the same site to browsers, which then send the cookie though it is `SameSite`: only the
//! token and the origin tell them apart.

use axum::http::header::{ORIGIN, REFERER};
use axum::http::request::Parts;
use axum::http::{HeaderName, Method};
use rowhouse_identity::WebSession;
use rowhouse_types::{ApiError, ErrorCode};

use crate::envelope::Failure;
use crate::host::{host_of, slug_of_host};
use crate::state::{ServerSettings, ServerState};

pub(crate) const CSRF_TOKEN: HeaderName = HeaderName::from_static("x-csrf-token");
const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");
const SEC_FETCH_MODE: HeaderName = HeaderName::from_static("sec-fetch-mode");

fn refused(message: &'static str) -> Failure {
    Failure(ApiError::new(ErrorCode::CsrfFailed, message))
}

/// A header's text; what cannot be read is as good as foreign.
fn text(parts: &Parts, name: HeaderName) -> Option<&str> {
    parts.headers.get(name).map(|value| value.to_str().unwrap_or_default())
}

/// Refuses an unsafe request by cookie without the cookie's token, or from elsewhere.
pub(crate) fn require_own_page(parts: &Parts, state: &ServerState, web: &WebSession) -> Result<(), Failure> {
    require_same_origin(parts, &state.settings)?;
    let token = text(parts, CSRF_TOKEN).unwrap_or_default();
    if state.identity.csrf_token_fits(web, token) {
        return Ok(());
    }
    Err(refused("Send X-CSRF-Token with what GET /api/auth/csrf gives: it is missing, or of another session."))
}

/// Refuses what a page of another host made. A program tells no origin, and has no cookie of anybody's.
pub(crate) fn require_same_origin(parts: &Parts, settings: &ServerSettings) -> Result<(), Failure> {
    let is_foreign_site = text(parts, SEC_FETCH_SITE).is_some_and(|site| !matches!(site, "same-origin" | "none"));
    let is_foreign_origin = text(parts, ORIGIN).is_some_and(|origin| !is_own_origin(origin, parts, settings));
    if is_foreign_site || is_foreign_origin {
        return Err(refused("A page of another host made this request."));
    }
    Ok(())
}

/// Whether an origin is that of the host that was asked. Proxies may name the sign-in host otherwise
/// among themselves.
fn is_own_origin(origin: &str, parts: &Parts, settings: &ServerSettings) -> bool {
    let host = host_of(parts);
    let (scheme, _) = settings.public_origin().split_once("://").unwrap_or(("http", ""));
    let is_asked = origin.split_once("://").is_some_and(|(given, authority)| {
        given.eq_ignore_ascii_case(scheme) && !host.is_empty() && authority.eq_ignore_ascii_case(host)
    });
    let is_sign_in_host = slug_of_host(host, &settings.base_domain).is_none();
    is_asked || (is_sign_in_host && origin.eq_ignore_ascii_case(settings.public_origin()))
}

/// Refuses to take a session's code for a browser that was sent by anybody but the sign-in host or
/// its person: it would go on as somebody else, and not know it.
pub(crate) fn require_sent_by_sign_in_host(parts: &Parts, settings: &ServerSettings) -> Result<(), Failure> {
    if parts.method != Method::GET {
        return Err(Failure(ApiError::invalid("Follow the link with GET.")));
    }
    let is_page = text(parts, SEC_FETCH_MODE).is_none_or(|mode| mode == "navigate");
    let is_ours = match (text(parts, REFERER), text(parts, SEC_FETCH_SITE)) {
        (Some(referrer), _) => origin_within(referrer).eq_ignore_ascii_case(settings.public_origin()),
        (None, Some(site)) => site == "none",
        (None, None) => true,
    };
    if is_page && is_ours {
        return Ok(());
    }
    Err(refused("Only the sign-in host leads here."))
}

/// Scheme, host and port at the beginning of a URL.
fn origin_within(url: &str) -> &str {
    let authority = url.find("://").map_or(0, |at| at + "://".len());
    let end = url.get(authority..).and_then(|rest| rest.find(['/', '?', '#'])).map_or(url.len(), |at| authority + at);
    url.get(..end).unwrap_or_default()
}
