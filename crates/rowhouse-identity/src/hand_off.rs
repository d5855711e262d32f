//! Handing a session from the sign-in host to a tenant's: by a code that is good once.
//!
//! Must never give a cookie to another host, tenant or session than the code was made for, nor lead
//! anywhere but to a path of that host.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rowhouse_audit::SecurityEventKind;
use rowhouse_postgres::params;
use rowhouse_types::{TenantId, UserId};
use secrecy::{ExposeSecret as _, SecretString};
use sha2::{Digest as _, Sha256};
use uuid::Uuid;

use crate::error::IdentityError;
use crate::identity::Identity;
use crate::keys::Claims;
use crate::limit::LimitedRoute;
use crate::session::Device;
use crate::web_session::{NewWebSession, WebHost, WebSecret};

const PREFIX: &str = "rh_ho_";
/// Seconds a code is good for.
pub const HAND_OFF_SECONDS: i64 = 30;
const RETURN_TO_LENGTH_MAX: usize = 2000;

/// Where somebody wants to go on.
#[derive(Debug)]
pub struct HandOff<'a> {
    /// Id or slug of the tenant.
    pub tenant: &'a str,
    /// The domain whose subdomains are tenants.
    pub base_domain: &'a str,
    /// The path to go on to.
    pub return_to: &'a ReturnTo,
    /// Where from.
    pub device: &'a Device,
}

/// A code that was made. Handed to the browser, kept nowhere.
pub struct HandOffCode {
    /// The code; good once.
    pub code: SecretString,
    /// The host that takes it.
    pub host: String,
    /// The tenant.
    pub tenant: TenantId,
}

/// A code that was taken.
pub struct HandedOff {
    /// The cookie for the host.
    pub web: NewWebSession,
    /// The path to go on to.
    pub return_to: ReturnTo,
}

/// A path of the host that it stands on, with its query: nothing that a browser takes for another host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReturnTo(String);

impl Default for ReturnTo {
    fn default() -> Self {
        Self("/".into())
    }
}

impl ReturnTo {
    /// Reads one; none for what leads anywhere else, or might.
    pub fn read(text: &str) -> Option<Self> {
        let rest = text.strip_prefix('/')?;
        // Browsers read a backslash as a slash, and leave out tabs and line breaks.
        let is_plain = text.bytes().all(|byte| (b'!'..=b'~').contains(&byte) && byte != b'\\');
        let is_path = !rest.starts_with('/') && text.len() <= RETURN_TO_LENGTH_MAX;
        (is_plain && is_path).then(|| Self(text.to_owned()))
    }

    /// The path.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

fn hash_of(code: &str) -> Vec<u8> {
    Sha256::digest(code.as_bytes()).to_vec()
}

impl Identity {
    /// A code by which the caller's session goes on, on the host of one of their tenants.
    ///
    /// # Errors
    /// [`IdentityError::NotAMember`], also for a tenant that does not exist;
    /// [`IdentityError::SignInTooOld`] for this tenant, or if the session has ended.
    pub async fn hand_off(&self, claims: &Claims, to: &HandOff<'_>) -> Result<HandOffCode, IdentityError> {
        const KEEP: &str = "
            with over as (
                delete from control.hand_offs where code_hash in (
                    select code_hash from control.hand_offs where expires_at < now() and session_id <> $2
                    limit 10 for update skip locked)
            )
            insert into control.hand_offs (code_hash, session_id, tenant_id, host, return_to, expires_at)
            select $1::bytea, id, $3::uuid, $4::text, $5::text, now() + make_interval(secs => $6::bigint)
            from control.sessions
            where id = $2 and revoked_at is null and expires_at > now()
              and (has_fixed_end or control.session_end($3, created_at, $7, $8) > now())
            on conflict (session_id, tenant_id) do update
            set code_hash = excluded.code_hash, host = excluded.host, return_to = excluded.return_to,
                expires_at = excluded.expires_at
            returning 1";
        let connection = self.control("hand a session off").await?;
        let from = claims.org.as_ref().map(|org| org.id);
        let org = self.choose_or_report(&connection, claims.user, Some(to.tenant), from, to.device).await?;
        let org = org.ok_or(IdentityError::NotAMember)?;
        let random: [u8; 32] = rand::random();
        let code = format!("{PREFIX}{}", URL_SAFE_NO_PAD.encode(random));
        let host = format!("{}.{}", org.slug, to.base_domain);
        let path = to.return_to.as_str();
        let (idle, most) = (self.settings.session_days, self.settings.session_days_max);
        let (hash, host_name) = (hash_of(&code), host.as_str());
        let values = params![hash, claims.session, org.id, host_name, path, HAND_OFF_SECONDS, idle, most];
        connection.query_opt(KEEP, values).await?.ok_or(IdentityError::SignInTooOld)?;
        Ok(HandOffCode { code: code.into(), host, tenant: org.id })
    }

    /// Takes a code on the host that it was made for, which uses it up: on any other host, too.
    ///
    /// # Errors
    /// [`IdentityError::InvalidLink`] if it was made up, used before, is over, or is for another host,
    /// and if its session has ended or its person is no more a member; [`IdentityError::TooManyAttempts`].
    pub async fn take_hand_off(
        &self,
        code: &SecretString,
        host: WebHost<'_>,
        device: &Device,
    ) -> Result<HandedOff, IdentityError> {
        const TAKE: &str = "
            with used as (
                delete from control.hand_offs where code_hash = $1
                returning session_id, tenant_id, host, return_to, expires_at
            ), fit as (
                select s.id, s.user_id, t.id as tenant_id, used.host, used.return_to,
                       least(s.created_at + make_interval(days => $6),
                             case when s.has_fixed_end then s.expires_at end) as ends_at,
                       control.session_end(t.id, s.created_at, $7, $6) as expires_at
                from used join control.sessions s on s.id = used.session_id
                join control.users u on u.id = s.user_id and u.active
                join control.memberships m on m.user_id = u.id and m.tenant_id = used.tenant_id and m.active
                join control.tenants t on t.id = used.tenant_id
                where used.expires_at > now() and used.host = lower($2::text) and t.slug = lower($3::text)
                  and t.status in ('active', 'suspended', 'provisioning')
                  and s.revoked_at is null and s.expires_at > now()
            ), made as (
                insert into control.web_sessions (id, secret_hash, session_id, tenant_id, host, expires_at, ends_at)
                select $4::uuid, $5::bytea, id, tenant_id, host, least(expires_at, ends_at), ends_at from fit
                on conflict (session_id, host) do update
                set id = excluded.id, secret_hash = excluded.secret_hash, tenant_id = excluded.tenant_id,
                    last_used_at = now(), expires_at = excluded.expires_at, ends_at = excluded.ends_at
            )
            select user_id, tenant_id, return_to, ends_at from fit";
        let (id, secret) = (Uuid::now_v7(), WebSecret::generate());
        let (idle, most) = (self.settings.session_days, self.settings.session_days_max);
        let hash = hash_of(code.expose_secret());
        let values = params![hash, host.name, host.tenant, id, secret.hash(), most, idle];
        let taken = self.control("take a hand-off").await?.query_opt(TAKE, values).await?;
        let Some(row) = taken else {
            self.record(SecurityEventKind::HandOffRefused, None, None, host.tenant, device);
            self.count_attempt(LimitedRoute::HAND_OFF, None, device).await?;
            return Err(IdentityError::InvalidLink);
        };
        let (user, tenant) = (UserId::from_uuid(row.get(0)), TenantId::from_uuid(row.get(1)));
        self.record(SecurityEventKind::TenantSwitch, Some(user), Some(tenant), None, device);
        let return_to = ReturnTo::read(row.get(2)).unwrap_or_default();
        Ok(HandedOff { web: self.new_web_session(id, secret, row.get(3)), return_to })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_paths_of_the_same_host_are_gone_on_to() {
        for path in ["/", "/leads", "/leads?status=new&sort=-created_at#top", "/a//b", "/%2F%2Fevil.example"] {
            assert_eq!(ReturnTo::read(path).unwrap().as_str(), path);
        }
        let long = format!("/{}", "a".repeat(RETURN_TO_LENGTH_MAX));
        for elsewhere in [
            "",
            "leads",
            "//evil.example",
            "/\\evil.example",
            "\\\\evil.example",
            "https://evil.example",
            "javascript:alert(1)",
            "/\t/evil.example",
            "/\n/evil.example",
            " /leads",
            "/leads evil",
            "/a\r\nSet-Cookie: a=b",
            "/ünï",
            long.as_str(),
        ] {
            assert_eq!(ReturnTo::read(elsewhere), None, "{elsewhere:?}");
        }
    }
}
