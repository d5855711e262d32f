//! Signing in by a link in a mail, without a password.

use rowhouse_audit::{Actor, SecurityEventKind};
use rowhouse_postgres::{SystemConnection, params};
use rowhouse_types::{EmailAddress, SessionId, UserId};
use secrecy::SecretString;

use crate::error::IdentityError;
use crate::identity::Identity;
use crate::limit::LimitedRoute;
use crate::link_token::{LinkPurpose, LinkToken};
use crate::mail_link::{Followed, link_follow, links_forget};
use crate::second_factor::{self, Factor};
use crate::session::{Device, Opening, Tokens, sessions_end};

/// A sign-in by a link.
#[derive(Debug)]
pub struct LinkSignIn {
    /// The link's token.
    pub token: SecretString,
    /// A code of the second factor, or a recovery code; for accounts that have one.
    pub code: Option<SecretString>,
    /// Id or slug of the tenant to work in; as at [`Identity::sign_in`] if absent.
    pub tenant: Option<String>,
    /// Where from.
    pub device: Device,
}

/// Whose a link is that can still be followed.
pub(crate) struct Linked {
    pub(crate) user: UserId,
    factor: Option<Factor>,
}

impl Identity {
    /// Sends a link that signs in to an address, if it has an account. Takes as long, and gives
    /// nothing, either way.
    ///
    /// # Errors
    /// [`IdentityError::TooManyAttempts`].
    pub async fn ask_for_magic_link(&self, email: &EmailAddress, device: Device) -> Result<(), IdentityError> {
        const ROUTE: LimitedRoute = LimitedRoute::MAGIC_LINK;
        self.mail_link(ROUTE, LinkPurpose::SignIn, SecurityEventKind::MagicLinkRequested, email, &device).await
    }

    /// Signs the person of a link in. If nobody had proved the address before, this does: then the
    /// account is theirs alone, so that password, second factor and sessions of whoever made it with
    /// their address end. `by` is told in the audit log for that.
    ///
    /// # Errors
    /// [`IdentityError::InvalidLink`]; [`IdentityError::TooManyAttempts`]; and with a link that stays
    /// good [`IdentityError::MfaRequired`], [`IdentityError::WrongCode`] and
    /// [`IdentityError::NotAMember`].
    pub async fn sign_in_by_link(&self, sign_in: LinkSignIn, by: &Actor) -> Result<Tokens, IdentityError> {
        self.count_attempt(LimitedRoute::REDEEM_MAGIC_LINK, None, &sign_in.device).await?;
        let outcome = self.redeem(&sign_in, by).await;
        if matches!(outcome, Err(IdentityError::InvalidLink)) {
            self.record(SecurityEventKind::LinkRefused, None, None, None, &sign_in.device);
        }
        outcome
    }

    async fn redeem(&self, sign_in: &LinkSignIn, by: &Actor) -> Result<Tokens, IdentityError> {
        let token = self.read_link(&sign_in.token, &[LinkPurpose::SignIn])?;
        let linked = linked(&self.control("sign in by a link").await?, &token).await?;
        if let Some(factor) = &linked.factor {
            // Before the link is followed: a wrong code must not use it up.
            let (code, device) = (sign_in.code.as_ref(), &sign_in.device);
            self.demand_code(LimitedRoute::MFA, linked.user, factor, code, device).await?;
        }
        self.follow_magic_link(&token, sign_in, by).await
    }

    /// One transaction: the link is used, and a session is open.
    async fn follow_magic_link(
        &self,
        token: &LinkToken,
        sign_in: &LinkSignIn,
        by: &Actor,
    ) -> Result<Tokens, IdentityError> {
        let mut connection = self.control("sign in by a link").await?;
        connection.begin().await?;
        let Followed { user, email, .. } = link_follow(&connection, token).await?;
        links_forget(&connection, user, &[LinkPurpose::SignIn]).await?;
        let ended = prove_by_reading(&connection, user, by).await?;
        // Who was locked out by failing passwords has proved who they are.
        let attempt = self.attempt_at(LimitedRoute::SIGN_IN, email.as_str(), &sign_in.device);
        let opening = Opening {
            user,
            email: email.as_str(),
            tenant: sign_in.tenant.as_deref(),
            password_hash: None,
            attempt: &attempt,
            device: &sign_in.device,
        };
        let opened = self.open_session_on(&connection, &opening).await?;
        connection.commit().await?;
        self.forget_sessions(&ended).await;
        self.record(SecurityEventKind::SignIn, Some(user), opened.tenant, None, &sign_in.device);
        Ok(opened.tokens)
    }
}

/// Finds whose link it is. The second factor of an account whose address nobody has proved is not
/// told: it is of whoever made the account, maybe with an address that is not theirs.
pub(crate) async fn linked(connection: &SystemConnection, token: &LinkToken) -> Result<Linked, IdentityError> {
    const FIND: &str = "
        select u.id, f.holder is not null, f.sealed_secret
        from control.mail_links l join control.users u on u.id = l.user_id and u.active
        left join control.second_factors f
          on f.holder = u.id and f.confirmed_at is not null and u.email_verified_at is not null
        where l.token_hash = $1 and l.purpose = $2 and l.expires_at > now()";
    let row = connection.query_opt(FIND, params![token.hash(), token.purpose.as_str()]).await?;
    let row = row.ok_or(IdentityError::InvalidLink)?;
    Ok(Linked { user: UserId::from_uuid(row.get(0)), factor: Factor::of_columns(&row, 1) })
}

/// Proves the address if it was not, and ends what could open the account before. Gives the sessions
/// that ended.
async fn prove_by_reading(
    connection: &SystemConnection,
    user: UserId,
    by: &Actor,
) -> Result<Vec<SessionId>, IdentityError> {
    const PROVED: &str = "
        update control.users set email_verified_at = now(), password_hash = null
        where id = $1 and email_verified_at is null returning 1";
    if connection.query_opt(PROVED, params![user]).await?.is_none() {
        return Ok(Vec::new());
    }
    second_factor::remove(connection, user).await?;
    let ended = sessions_end(connection, user, None).await?;
    by.clone().become_user(user).did("verify_email").on("user", user).write(connection).await?;
    Ok(ended)
}
