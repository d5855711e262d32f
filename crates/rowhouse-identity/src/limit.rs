//! Limits on the sensitive routes: how often a network may try, how often an account may be
//! tried, what a failure costs, and when an account is locked for whom.
//!
//! Whoever fails shuts out themselves, not the account's owner: what anybody can do at any account
//! never stops networks from which its owner has signed in before. Everything is counted in the
//! control database, so that all processes count together, and by the statement that the attempt
//! needs anyway. Must never tell whether an account exists: what nobody has is counted, delayed and
//! locked like what somebody has.

use std::net::IpAddr;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rowhouse_audit::{SecurityEvent, SecurityEventKind};
use rowhouse_postgres::{DatabaseResult, SystemConnection, params};
use rowhouse_types::{EmailAddress, UserId};
use serde_json::json;

use crate::error::IdentityError;
use crate::identity::Identity;
use crate::session::Device;

/// A route whose attempts are counted, apart from those of every other. This is the table of
/// them: a new one is a line here, and an [`Identity::count_attempt`] where it begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LimitedRoute(&'static str);

impl LimitedRoute {
    /// Signing in: the password and the second factor.
    pub const SIGN_IN: Self = Self("sign_in");
    /// Making an account.
    pub const SIGN_UP: Self = Self("sign_up");
    /// Refreshing a session. Of an address only what fails is counted: a whole office behind one
    /// address refreshes all day, and nobody guesses a token that we sign.
    pub const REFRESH: Self = Self("refresh");
    /// Accepting an invitation, which takes an account's password.
    pub const ACCEPT_INVITATION: Self = Self("accept_invitation");
    /// Asking for a link that signs in.
    pub const MAGIC_LINK: Self = Self("magic_link");
    /// Signing in by such a link.
    pub const REDEEM_MAGIC_LINK: Self = Self("redeem_magic_link");
    /// Asking for a link to a new password.
    pub const FORGOT_PASSWORD: Self = Self("forgot_password");
    /// Choosing a new password by such a link.
    pub const RESET_PASSWORD: Self = Self("reset_password");
    /// Proving an address by a link.
    pub const VERIFY_EMAIL: Self = Self("verify_email");
    /// Asking for the mail to prove it once more.
    pub const RESEND_VERIFICATION: Self = Self("resend_verification");
    /// Giving the password once more, to change it or the address.
    pub const PASSWORD_CHECK: Self = Self("password_check");
    /// Inviting somebody, which sends a mail to anybody: each address counts, and each time anew.
    pub const INVITE: Self = Self("invite");
    /// Looking a domain up in the DNS, which asks servers of anybody's.
    pub const DOMAIN_LOOKUP: Self = Self("domain_lookup");
    /// Codes that hand a session to another host, of an address: only what fails is counted.
    pub const HAND_OFF: Self = Self("hand_off");
    /// API keys that are refused, of an address: programs with good keys share addresses, too.
    pub const API_KEY: Self = Self("api_key");
    /// Asking for a code of the OpenID provider: refused requests of an address, and all of a session.
    pub const OAUTH_AUTHORIZE: Self = Self("oauth_authorize");
    /// OpenID clients, codes and tokens that are refused, of an address: whole offices and servers share one.
    pub const OAUTH_TOKEN: Self = Self("oauth_token");
    /// Codes of a person's second factor, wherever one is asked for.
    pub const MFA: Self = Self("mfa");
    /// Passkeys, begun and answered: a signature is not guessed, but each is a line and a check.
    pub const PASSKEY: Self = Self("passkey");
    /// An operator's sign-in.
    pub const OPERATOR_SIGN_IN: Self = Self("operator_sign_in");
    /// Codes of an operator's second factor.
    pub const OPERATOR_MFA: Self = Self("operator_mfa");

    /// Its name in security events.
    pub const fn as_str(self) -> &'static str {
        self.0
    }

    /// Whether codes of a second factor are tried there: by who has shown the first.
    pub(crate) fn is_for_codes(self) -> bool {
        [Self::MFA, Self::OPERATOR_MFA].contains(&self)
    }

    /// Whether operators are tried there.
    pub(crate) fn is_for_operators(self) -> bool {
        [Self::OPERATOR_SIGN_IN, Self::OPERATOR_MFA].contains(&self)
    }
}

/// How much is too much.
#[derive(Debug, Clone)]
pub struct LimitSettings {
    /// Attempts of a network, at an account, and of somebody who is signed in, on one route in one
    /// window.
    pub attempts_max: i32,
    /// Seconds of a window.
    pub window_seconds: i32,
    /// From this failure in a row on, the account waits after each for who has failed: a second, then
    /// twice as long every time.
    pub delay_from: i32,
    /// From this failure in a row on, it is locked for them after each.
    pub lock_from: i32,
    /// Seconds of a lock: no wait is longer.
    pub lock_seconds: i32,
    /// From this failure on, from wherever they come, the account waits after each for all networks
    /// that it does not know: a second, then twice as long every time.
    pub account_delay_from: i32,
}

impl Default for LimitSettings {
    fn default() -> Self {
        Self {
            attempts_max: 100,
            window_seconds: 15 * 60,
            delay_from: 5,
            lock_from: 10,
            lock_seconds: 15 * 60,
            account_delay_from: 20,
        }
    }
}

/// One attempt: what it is counted by.
#[derive(Debug)]
pub(crate) struct Attempt {
    route: LimitedRoute,
    guarded: Option<String>,
    account: Option<String>,
    network: Option<String>,
}

impl Attempt {
    pub(crate) const fn route(&self) -> LimitedRoute {
        self.route
    }

    /// Whose failures lock: the account for one network; or whoever has shown something already.
    pub(crate) fn guarded(&self) -> Option<&str> {
        self.guarded.as_deref()
    }

    /// The account for all networks. Its failures are everybody's, so they slow down no network that
    /// it knows.
    pub(crate) fn account(&self) -> Option<&str> {
        self.account.as_deref()
    }

    /// The network.
    pub(crate) fn network(&self) -> Option<&str> {
        self.network.as_deref()
    }
}

/// Whose account an attempt failed at.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Target<'a> {
    /// Whose address this is, if anybody's.
    Address(&'a EmailAddress, Option<UserId>),
    /// Somebody who has shown something already.
    Holder(UserId),
}

impl Target<'_> {
    fn holder(self) -> Option<UserId> {
        match self {
            Self::Address(_, holder) => holder,
            Self::Holder(holder) => Some(holder),
        }
    }
}

/// What counts as one address: of IPv6 the network that one customer gets, in which addresses cost
/// nothing.
fn network(ip: IpAddr) -> String {
    match ip.to_canonical() {
        IpAddr::V4(ip) => ip.to_string(),
        IpAddr::V6(ip) => {
            let [a, b, c, d, ..] = ip.segments();
            format!("{a:x}:{b:x}:{c:x}:{d:x}::/64")
        }
    }
}

/// Lets an attempt go on, or tells it how long to wait: by what `control.attempt` gave.
///
/// # Errors
/// [`IdentityError::TooManyAttempts`].
pub(crate) fn admit(wait_seconds: Option<f64>) -> Result<(), IdentityError> {
    let Some(seconds) = wait_seconds else { return Ok(()) };
    // A cast of floats keeps to the bounds.
    let retry_after_seconds = (seconds.ceil() as u32).max(1);
    Err(IdentityError::TooManyAttempts { retry_after_seconds })
}

impl Identity {
    /// An attempt on a route that is open to anybody, at an account that anybody can name.
    pub(crate) fn attempt_at(&self, route: LimitedRoute, account: &str, device: &Device) -> Attempt {
        let network = device.ip.map(network).unwrap_or_default();
        Attempt {
            guarded: Some(self.subject(route, "account from network", &[account, &network])),
            account: Some(self.subject(route, "account", &[account])),
            ..self.attempt_from(route, device)
        }
    }

    /// An attempt of somebody who has shown something already: a session, a password.
    pub(crate) fn attempt_by(&self, route: LimitedRoute, holder: &str, device: &Device) -> Attempt {
        Attempt { guarded: Some(self.subject(route, "holder", &[holder])), ..self.attempt_from(route, device) }
    }

    fn attempt_from(&self, route: LimitedRoute, device: &Device) -> Attempt {
        let network = device.ip.map(|ip| self.subject(route, "network", &[&network(ip)]));
        Attempt { route, guarded: None, account: None, network }
    }

    fn subject(&self, route: LimitedRoute, kind: &str, of: &[&str]) -> String {
        let text = [&[route.as_str(), kind], of].concat().join("\0");
        URL_SAFE_NO_PAD.encode(self.attempt_signer.tag(text.as_bytes()))
    }

    /// Counts an attempt by itself, for what has no statement that it could ride in.
    ///
    /// # Errors
    /// [`IdentityError::TooManyAttempts`].
    pub async fn count_attempt(
        &self,
        route: LimitedRoute,
        account: Option<&str>,
        device: &Device,
    ) -> Result<(), IdentityError> {
        let attempt = match account {
            Some(account) => self.attempt_at(route, account, device),
            None => self.attempt_from(route, device),
        };
        let connection = self.control("count an attempt").await?;
        self.count(&connection, &attempt).await
    }

    /// Counts an attempt of somebody who has shown something already, whatever the address.
    ///
    /// # Errors
    /// [`IdentityError::TooManyAttempts`].
    pub async fn count_attempt_by(&self, route: LimitedRoute, holder: &str) -> Result<(), IdentityError> {
        let attempt = self.attempt_by(route, holder, &Device::default());
        let connection = self.control("count an attempt").await?;
        self.count(&connection, &attempt).await
    }

    pub(crate) async fn count(&self, connection: &SystemConnection, attempt: &Attempt) -> Result<(), IdentityError> {
        self.count_list(connection, attempt, 1).await
    }

    /// Counts as many attempts as a list is long; the first decides. Whoever may begin a list may end
    /// it, and waits after it: a long one is never refused for its length alone.
    pub(crate) async fn count_list(
        &self,
        connection: &SystemConnection,
        attempt: &Attempt,
        length: usize,
    ) -> Result<(), IdentityError> {
        const COUNT: &str = "
            select (array_agg(control.attempt($1, $2, $3, $4, $5)))[1] from generate_series(1, $6::int4)";
        let limits = &self.settings.limits;
        let (guarded, account, network) = (attempt.guarded(), attempt.account(), attempt.network());
        let length = i32::try_from(length).unwrap_or(i32::MAX).max(1);
        let values = params![guarded, account, network, limits.attempts_max, limits.window_seconds, length];
        let row = connection.query_opt(COUNT, values).await?;
        admit(row.and_then(|row| row.get(0)))
    }

    /// An attempt failed: the next has to wait a little longer each time, and in the end the account
    /// is locked for who has failed. Then its owner is written to.
    pub(crate) async fn attempt_failed(
        &self,
        attempt: &Attempt,
        target: Target<'_>,
        device: &Device,
    ) -> Result<(), IdentityError> {
        // Failures are forgotten after a day without one. The account's row is locked last, as by an attempt.
        const FAIL: &str = "
            with failed as (
                select subject, case when failed_at > now() - interval '1 day' then failures else 0 end + 1 as failures
                from control.attempts where subject in ($1, $2) order by subject = $2 for update
            ), waits as (
                select subject, failures, case
                    when subject = $1 and failures >= $4 then $5::int4
                    when subject = $1 and failures >= $3 then least(2.0 ^ least(failures - $3, 20), $5)
                    when subject = $2 and failures >= $6 then least(2.0 ^ least(failures - $6, 20), $5) end as seconds
                from failed
            )
            update control.attempts a
            set failures = w.failures, failed_at = now(),
                blocked_until = now() + make_interval(secs => w.seconds::float8)
            from waits w where a.subject = w.subject
            returning w.failures, w.seconds >= $5, w.subject is not distinct from $2";
        let limits = &self.settings.limits;
        let (delay, lock, seconds) = (limits.delay_from, limits.lock_from, limits.lock_seconds);
        let subjects = (attempt.guarded(), attempt.account());
        let values = params![subjects.0, subjects.1, delay, lock, seconds, limits.account_delay_from];
        let rows = self.control("count a failure").await?.query(FAIL, values).await?;
        let locks: Vec<(i32, bool)> = rows
            .iter()
            .filter(|row| row.get::<_, Option<bool>>(1) == Some(true))
            .map(|row| (row.get(0), row.get(2)))
            .collect();
        let Some(failures) = locks.iter().map(|(failures, _)| *failures).max() else { return Ok(()) };
        let from_everywhere = locks.iter().any(|(_, is_account)| *is_account);
        self.audit.record(SecurityEvent {
            kind: SecurityEventKind::AccountLocked,
            user: target.holder(),
            ip: device.ip,
            user_agent: device.user_agent.clone(),
            details: json!({
                "route": attempt.route.as_str(), "failures": failures, "from_everywhere": from_everywhere,
            }),
            ..SecurityEvent::default()
        });
        self.tell_locked(attempt, target, device).await
    }

    /// An attempt succeeded: what failed before it is forgotten, and the account knows the network.
    pub(crate) async fn attempt_succeeded(connection: &SystemConnection, attempt: &Attempt) -> DatabaseResult<()> {
        const FORGIVE: &str = "
            insert into control.attempts (subject, counted, window_ends_at, known_until)
            select $1, 0, now(), now() + interval '90 days' where $1::text is not null
            on conflict (subject) do update
            set failures = 0, blocked_until = null, known_until = excluded.known_until";
        connection.query(FORGIVE, params![attempt.guarded()]).await.map(drop)
    }

    /// Removes what is counted no more; gives how many lines. To be called from time to time.
    pub async fn forget_attempts(&self) -> DatabaseResult<u64> {
        const FORGET: &str = "
            delete from control.attempts
            where window_ends_at < now() and coalesce(blocked_until < now(), true)
              and coalesce(failed_at < now() - interval '1 day', true) and coalesce(known_until < now(), true)";
        self.control("forget attempts").await?.execute(FORGET, &[]).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_what_one_customer_has() {
        for (text, expected) in [
            ("192.0.2.7", "192.0.2.7"),
            ("::ffff:192.0.2.7", "192.0.2.7"),
            ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
            ("2001:db8:1:2:ffff::", "2001:db8:1:2::/64"),
        ] {
            assert_eq!(network(text.parse().unwrap()), expected);
        }
    }

    #[test]
    fn whoever_has_to_wait_waits_a_second_at_least() {
        assert!(admit(None).is_ok());
        for (seconds, told) in [(0.001, 1), (1.0, 1), (1.2, 2), (900.0, 900)] {
            let refused = admit(Some(seconds)).unwrap_err();
            assert!(
                matches!(refused, IdentityError::TooManyAttempts { retry_after_seconds } if retry_after_seconds == told)
            );
        }
    }
}
