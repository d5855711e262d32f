//! The cookie of a browser's session.
//!
//! Must never carry a `Domain`: a tenant's scripts run on its host, and what is set for the parent
//! domain is sent to all of them.

use axum::http::{HeaderMap, HeaderValue, header};
use chrono::{DateTime, Utc};
use rowhouse_types::ApiError;
use secrecy::{ExposeSecret as _, SecretString};

use crate::state::ServerSettings;

/// Under https: browsers take it only if it is Secure and of one host.
const NAME_HTTPS: &str = "__Host-rowhouse_session";
const NAME_HTTP: &str = "rowhouse_session";

fn name(settings: &ServerSettings) -> &'static str {
    if settings.is_https() { NAME_HTTPS } else { NAME_HTTP }
}

/// What a request's session cookie holds, if it has one.
///
/// # Errors
/// For several: under http a page of another host can add one of its own, and nobody knows which is
/// the right one.
pub(crate) fn read<'a>(headers: &'a HeaderMap, settings: &ServerSettings) -> Result<Option<&'a str>, ApiError> {
    let name = name(settings);
    let lines = headers.get_all(header::COOKIE).iter().filter_map(|line| line.to_str().ok());
    let pairs = lines.flat_map(|line| line.split(';')).filter_map(|pair| pair.trim().split_once('='));
    let mut found = pairs.filter(|(given, _)| *given == name).map(|(_, value)| value);
    match (found.next(), found.next()) {
        (found, None) => Ok(found),
        (_, Some(_)) => Err(ApiError::unauthenticated("There are several session cookies. Delete them, and sign in.")),
    }
}

/// The header that gives a browser its cookie.
pub(crate) fn set(secret: &SecretString, ends_at: DateTime<Utc>, settings: &ServerSettings) -> Option<HeaderValue> {
    write(secret.expose_secret(), (ends_at - Utc::now()).num_seconds().max(0), settings)
}

/// The header that takes it away.
pub(crate) fn clear(settings: &ServerSettings) -> Option<HeaderValue> {
    write("", 0, settings)
}

fn write(value: &str, seconds: i64, settings: &ServerSettings) -> Option<HeaderValue> {
    let name = name(settings);
    let secure = if settings.is_https() { "; Secure" } else { "" };
    let text = format!("{name}={value}; Path=/; Max-Age={seconds}; HttpOnly; SameSite=Lax{secure}");
    let mut header = HeaderValue::from_str(&text).ok()?;
    header.set_sensitive(true);
    Some(header)
}
