//! Devices that stand for a second factor: on one where it was shown, the password alone signs in for
//! 30 days.
//!
//! Must never stand for anything but that: a session which such a device has helped to open has shown no
//! recent proof, and steps up with a code. An organisation may forbid it; operators never have one.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chrono::{DateTime, Utc};
use rowhouse_audit::{Actor, SecurityEventKind};
use rowhouse_postgres::{DatabaseResult, Row, SystemConnection, params};
use rowhouse_types::{DeviceId, UserId};
use secrecy::{ExposeSecret as _, SecretString};
use serde::Serialize;
use serde_json::json;
use sha2::{Digest as _, Sha256};

use crate::error::IdentityError;
use crate::identity::Identity;
use crate::keys::Claims;
use crate::session::Device;

const PREFIX: &str = "rh_dev_";
const TRUSTED_DAYS: i32 = 30;
/// Devices that a person may have; the ones that were trusted first make room.
const DEVICES_MAX: i64 = 20;

/// What a sign-in says of the device it comes from.
#[derive(Debug, Clone, Default)]
pub struct DeviceTrust {
    /// What an earlier sign-in on it gave.
    pub token: Option<SecretString>,
    /// Whether it is to be trusted from now on; asked by who shows a second factor.
    pub wanted: bool,
}

/// A trusted device as its person sees it.
#[derive(Debug, Clone, Serialize)]
pub struct TrustedDeviceOut {
    /// Its id.
    pub id: DeviceId,
    /// The address it was used from last.
    pub ip: Option<String>,
    /// The program it was used with last.
    pub user_agent: Option<String>,
    /// Since when it is trusted.
    pub created_at: DateTime<Utc>,
    /// When it last stood for the second factor.
    pub last_used_at: Option<DateTime<Utc>>,
    /// Until when.
    pub expires_at: DateTime<Utc>,
}

fn hash(token: &SecretString) -> Vec<u8> {
    Sha256::digest(token.expose_secret().as_bytes()).to_vec()
}

impl Identity {
    /// Whether the token is one of a device of this person's, and no organisation of theirs forbids it.
    pub(crate) async fn is_trusted(
        &self,
        user: UserId,
        token: Option<&SecretString>,
        device: &Device,
    ) -> Result<bool, IdentityError> {
        const USE: &str = "
            update control.trusted_devices d set last_used_at = now(), ip = $3::text, user_agent = $4::text
            where d.token_hash = $1 and d.user_id = $2 and d.expires_at > now()
              and not exists (
                  select 1 from control.memberships m join control.mfa_policies p on p.tenant_id = m.tenant_id
                  where m.user_id = $2 and m.active and not p.trusted_devices)
            returning 1";
        let Some(token) = token else { return Ok(false) };
        let ip = device.ip.map(|ip| ip.to_string());
        let values = params![hash(token), user, ip.as_deref(), device.user_agent.as_deref()];
        Ok(self.control("look at a trusted device").await?.query_opt(USE, values).await?.is_some())
    }

    /// Trusts the device of somebody who has just shown a second factor. Gives its token; none where an
    /// organisation of theirs forbids it.
    pub(crate) async fn trust_device(
        &self,
        user: UserId,
        device: &Device,
    ) -> Result<Option<SecretString>, IdentityError> {
        const TRUST: &str = "
            with surplus as (
                delete from control.trusted_devices where id in (
                    select id from control.trusted_devices where user_id = $2
                    order by expires_at > now() desc, created_at desc offset $7::int8 - 1)
            )
            insert into control.trusted_devices (id, user_id, token_hash, ip, user_agent, expires_at)
            select $1::uuid, $2::uuid, $3::bytea, $4::text, $5::text, now() + make_interval(days => $6::int4)
            where not exists (
                select 1 from control.memberships m join control.mfa_policies p on p.tenant_id = m.tenant_id
                where m.user_id = $2 and m.active and not p.trusted_devices)
            returning 1";
        let random: [u8; 32] = rand::random();
        let token: SecretString = format!("{PREFIX}{}", URL_SAFE_NO_PAD.encode(random)).into();
        let (ip, program) = (device.ip.map(|ip| ip.to_string()), device.user_agent.as_deref());
        let values =
            params![DeviceId::generate(), user, hash(&token), ip.as_deref(), program, TRUSTED_DAYS, DEVICES_MAX];
        let trusted = self.control("trust a device").await?.query_opt(TRUST, values).await?.is_some();
        if trusted {
            self.record(SecurityEventKind::DeviceTrusted, Some(user), None, None, device);
        }
        Ok(trusted.then_some(token))
    }

    /// The caller's trusted devices, the newest first: never more than a few.
    pub async fn trusted_devices(&self, claims: &Claims) -> Result<Vec<TrustedDeviceOut>, IdentityError> {
        const LIST: &str = "
            select id, ip, user_agent, created_at, last_used_at, expires_at from control.trusted_devices
            where user_id = $1 and expires_at > now() order by created_at desc, id limit 100";
        let rows = self.control("list trusted devices").await?.query(LIST, params![claims.user]).await?;
        let device = |row: &Row| TrustedDeviceOut {
            id: DeviceId::from_uuid(row.get(0)),
            ip: row.get(1),
            user_agent: row.get(2),
            created_at: row.get(3),
            last_used_at: row.get(4),
            expires_at: row.get(5),
        };
        Ok(rows.iter().map(device).collect())
    }

    /// Trusts a device of the caller's no more.
    ///
    /// # Errors
    /// [`IdentityError::NotFound`] if there is none, or it is somebody else's.
    pub async fn revoke_device(&self, actor: &Actor, claims: &Claims, id: DeviceId) -> Result<(), IdentityError> {
        const REVOKE: &str = "delete from control.trusted_devices where id = $1 and user_id = $2 returning 1";
        let mut connection = self.control("trust a device no more").await?;
        connection.begin().await?;
        if connection.query_opt(REVOKE, params![id, claims.user]).await?.is_none() {
            connection.rollback().await?;
            return Err(IdentityError::NotFound);
        }
        actor.did("revoke_device").on("device", id).write(&connection).await?;
        connection.commit().await?;
        Ok(())
    }

    /// Trusts no device of the caller's any more. Gives how many there were.
    pub async fn revoke_devices(&self, actor: &Actor, claims: &Claims) -> Result<u64, IdentityError> {
        let mut connection = self.control("trust no device any more").await?;
        connection.begin().await?;
        let revoked = devices_forget(&connection, claims.user).await?;
        if revoked > 0 {
            let entry = actor.did("revoke_devices").on("user", claims.user);
            entry.with_details(json!({ "devices": revoked })).write(&connection).await?;
        }
        connection.commit().await?;
        Ok(revoked)
    }
}

/// Trusts no device of a person any more, in the caller's transaction: their factors or their password
/// are others now, or their sessions end.
pub(crate) async fn devices_forget(connection: &SystemConnection, user: UserId) -> DatabaseResult<u64> {
    const FORGET: &str = "delete from control.trusted_devices where user_id = $1";
    connection.execute(FORGET, params![user]).await
}
