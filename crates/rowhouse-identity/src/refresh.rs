//! Refreshing a session: the token is rotated, and one that comes a second time is told apart as
//! a lost answer or as a theft.

use rowhouse_audit::SecurityEventKind;
use rowhouse_mail::{Brand, Deed, Mail, Message};
use rowhouse_postgres::{Row, SystemConnection, params};
use rowhouse_types::{TenantId, UserId};

use crate::error::IdentityError;
use crate::identity::Identity;
use crate::keys::Org;
use crate::limit::{LimitedRoute, admit};
use crate::refresh_token::RefreshToken;
use crate::session::{Device, Tokens};

impl Identity {
    /// Exchanges a refresh token for new tokens.
    ///
    /// One that comes again within ten seconds is of a client whose answer was lost, or of a
    /// second tab: it gets the session's newest refresh token, so that all of them go on with the
    /// same one. One that comes later has been stolen from somebody: the session ends for both.
    ///
    /// # Errors
    /// [`IdentityError::InvalidToken`]; [`IdentityError::TooManyAttempts`] for a session that is
    /// refreshed too often, and for an address that brings too many bad tokens.
    pub async fn refresh(&self, token: &str, device: Device) -> Result<Tokens, IdentityError> {
        let outcome = match RefreshToken::read(&self.refresh_keys, token) {
            Some(used) => self.exchange(&used, &device).await,
            None => Err(IdentityError::InvalidToken),
        };
        if let Err(IdentityError::InvalidToken) = outcome {
            self.count_attempt(LimitedRoute::REFRESH, None, &device).await?;
        }
        outcome
    }

    /// Exchanges a token that we made.
    async fn exchange(&self, used: &RefreshToken, device: &Device) -> Result<Tokens, IdentityError> {
        let mut connection = self.control("refresh a session").await?;
        let next = used.next(&self.refresh_keys);
        if let Some(row) = self.rotate(&connection, used, &next).await? {
            return self.tokens_of(&connection, &row, &next).await;
        }
        if let Some(tokens) = self.replay(&connection, used).await? {
            return Ok(tokens);
        }
        self.revoke_reused(&mut connection, used, device).await?;
        Err(IdentityError::InvalidToken)
    }

    /// Puts the next token in the place of the one that is used, if that is the newest.
    async fn rotate(
        &self,
        connection: &SystemConnection,
        used: &RefreshToken,
        next: &RefreshToken,
    ) -> Result<Option<Row>, IdentityError> {
        // One statement: whoever is second with the same token finds another hash. A person who
        // has lost their place in the tenant goes on without one.
        const ROTATE: &str = "
            with attempt as materialized (select control.attempt($6, null, null, $7, $8) as wait_seconds), next as (
                update control.sessions s
                set token_hash = $3, rotated_at = (array_prepend(now(), s.rotated_at))[1:16], last_used_at = now(),
                    expires_at = control.session_end(s.tenant_id, s.created_at, $4, $5)
                where (select wait_seconds from attempt) is null
                  and s.id = $1 and s.token_hash = $2 and s.revoked_at is null and s.expires_at > now()
                  and exists (select 1 from control.users u where u.id = s.user_id and u.active)
                returning s.user_id, s.tenant_id
            ), seen as (
                update control.users set last_seen_at = now() where id = (select user_id from next)
            )
            select u.id, u.email, t.id, m.role, t.slug, attempt.wait_seconds
            from attempt left join next on true left join control.users u on u.id = next.user_id
            left join control.memberships m on m.user_id = u.id and m.tenant_id = next.tenant_id and m.active
            left join control.tenants t on t.id = m.tenant_id and t.status in ('active', 'suspended', 'provisioning')";
        let days = (self.settings.session_days, self.settings.session_days_max);
        let (limits, session) = (&self.settings.limits, used.session.to_string());
        let attempt = self.attempt_by(LimitedRoute::REFRESH, &session, &Device::default());
        let values = params![
            used.session,
            used.hash(),
            next.hash(),
            days.0,
            days.1,
            attempt.guarded(),
            limits.attempts_max,
            limits.window_seconds
        ];
        let row = connection.query_opt(ROTATE, values).await?.ok_or(IdentityError::InvalidToken)?;
        admit(row.get(5))?;
        Ok(row.get::<_, Option<uuid::Uuid>>(0).is_some().then_some(row))
    }

    /// The newest token again, for one that was rotated a moment ago; none for any other.
    ///
    /// Each token follows from the one before, so the newest is found by going on from the one
    /// that was sent: no further than there were rotations in the last moments.
    ///
    /// # Errors
    /// [`IdentityError::InvalidToken`] if the session has ended: then it is no theft either.
    async fn replay(
        &self,
        connection: &SystemConnection,
        used: &RefreshToken,
    ) -> Result<Option<Tokens>, IdentityError> {
        const NEWEST: &str = "
            select u.id, u.email, t.id, m.role, t.slug, s.token_hash,
                   (select count(*) from unnest(s.rotated_at) at where at > now() - interval '10 seconds'),
                   s.revoked_at is null and s.expires_at > now() and u.active
            from control.sessions s join control.users u on u.id = s.user_id
            left join control.memberships m on m.user_id = u.id and m.tenant_id = s.tenant_id and m.active
            left join control.tenants t on t.id = m.tenant_id and t.status in ('active', 'suspended', 'provisioning')
            where s.id = $1 and s.token_hash is not null";
        let Some(row) = connection.query_opt(NEWEST, params![used.session]).await? else { return Ok(None) };
        let (newest, rotations): (Vec<u8>, i64) = (row.get(5), row.get(6));
        let mut token = used.next(&self.refresh_keys);
        for _ in 0..rotations {
            if token.hash() == newest {
                let alive: bool = row.get(7);
                if !alive {
                    return Err(IdentityError::InvalidToken);
                }
                return self.tokens_of(connection, &row, &token).await.map(Some);
            }
            token = token.next(&self.refresh_keys);
        }
        Ok(None)
    }

    async fn tokens_of(
        &self,
        connection: &SystemConnection,
        row: &Row,
        refresh: &RefreshToken,
    ) -> Result<Tokens, IdentityError> {
        let (user, email): (_, String) = (UserId::from_uuid(row.get(0)), row.get(1));
        let org = row.get::<_, Option<uuid::Uuid>>(2).map(|id| Org {
            id: TenantId::from_uuid(id),
            role: row.get(3),
            slug: row.get(4),
        });
        self.tokens_for(connection, user, &email, refresh, org).await
    }

    /// Ends the session of a token that we made but that is not its newest, and writes to its
    /// person.
    async fn revoke_reused(
        &self,
        connection: &mut SystemConnection,
        used: &RefreshToken,
        device: &Device,
    ) -> Result<(), IdentityError> {
        const REVOKE: &str = "
            with ended as (
                update control.sessions set revoked_at = now()
                where id = $1 and token_hash <> $2 and revoked_at is null returning user_id, tenant_id)
            select u.id, u.email, t.id, t.name from ended join control.users u on u.id = ended.user_id
            left join control.tenants t on t.id = ended.tenant_id";
        connection.begin().await?;
        let Some(row) = connection.query_opt(REVOKE, params![used.session, used.hash()]).await? else {
            connection.rollback().await?;
            return Ok(());
        };
        let user = UserId::from_uuid(row.get(0));
        let tenant = row.get::<_, Option<uuid::Uuid>>(2).map(TenantId::from_uuid);
        if let Ok(to) = row.get::<_, String>(1).parse() {
            let brand = tenant.map(|tenant| Brand { tenant, name: row.get(3), colour: None });
            let deed = Deed { at: chrono::Utc::now(), device: device.user_agent.clone(), ip: device.ip };
            let message = Message::RefreshTokenReused { deed };
            self.enqueue(connection, &Mail { to, user: Some(user), brand, language: None, message }, true).await?;
        }
        connection.commit().await?;
        self.caches.sessions.forget(&used.session).await;
        self.nudge_mails();
        self.record(SecurityEventKind::TokenReuse, Some(user), tenant, None, device);
        Ok(())
    }
}
