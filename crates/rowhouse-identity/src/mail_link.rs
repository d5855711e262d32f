//! Links in mails, from asking for one to following it.
//!
//! Must never do less, or something else, for an address without an account: neither answers nor
//! times may tell whether there is one.

use rowhouse_audit::SecurityEventKind;
use rowhouse_mail::{Deed, Link, Mail, MailError, Message};
use rowhouse_postgres::{SystemConnection, params};
use rowhouse_types::{EmailAddress, UserId};
use secrecy::SecretString;
use uuid::Uuid;

use crate::error::IdentityError;
use crate::identity::Identity;
use crate::limit::LimitedRoute;
use crate::link_token::{LinkPurpose, LinkToken};
use crate::session::Device;

/// Links of one purpose that an address, or a person, may have at a time: whoever asks for more gets
/// no mail, so that nobody's letter box can be filled.
const OPEN_MAX: i64 = 5;

/// A link that was followed.
pub(crate) struct Followed {
    pub(crate) user: UserId,
    /// Where the mail went: proved by the reader.
    pub(crate) email: EmailAddress,
    /// The person's address now.
    pub(crate) current_email: EmailAddress,
}

impl Followed {
    /// Whether the mail went to the address that the person has.
    fn is_to_current(&self) -> bool {
        self.email == self.current_email
    }
}

/// Whose link it is to be.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Asking {
    /// The account of the address, if there is one.
    Whoever,
    /// A person whose address it is, or shall become if nobody has it.
    Person(UserId),
}

impl Identity {
    /// Sends a link to whoever has an address, and takes as long if nobody does.
    pub(crate) async fn mail_link(
        &self,
        route: LimitedRoute,
        purpose: LinkPurpose,
        event: SecurityEventKind,
        email: &EmailAddress,
        device: &Device,
    ) -> Result<(), IdentityError> {
        let mut connection = self.control("mail a link").await?;
        self.count(&connection, &self.attempt_at(route, email.as_str(), device)).await?;
        connection.begin().await?;
        let user = self.ask_for_link(&connection, purpose, email, Asking::Whoever).await?;
        connection.commit().await?;
        self.nudge_mails();
        self.record(event, user, None, None, device);
        Ok(())
    }

    /// Keeps a link for an address and queues its mail, in the caller's transaction. Without an
    /// account the same is done, but for the mail. Gives whose link it is.
    pub(crate) async fn ask_for_link(
        &self,
        connection: &SystemConnection,
        purpose: LinkPurpose,
        email: &EmailAddress,
        asking: Asking,
    ) -> Result<Option<UserId>, IdentityError> {
        // Some of the links that are over are removed each time, so the table stays small.
        const KEEP: &str = "
            with gone as (
                delete from control.mail_links where token_hash in (
                    select token_hash from control.mail_links where expires_at < now()
                    limit 10 for update skip locked)
            ), kept as (
                insert into control.mail_links (token_hash, purpose, email, user_id, expires_at)
                select $1::bytea, $2::text, $3::text,
                       coalesce($4::uuid, (select id from control.users where email = $3 and active)),
                       now() + make_interval(secs => $5::bigint)
                where (select count(*) from control.mail_links
                       where purpose = $2 and expires_at > now() and (email = $3 or user_id = $4)) < $6::bigint
                returning user_id
            )
            select k.user_id, exists (select 1 from control.users where email = $3) from (select 1) one
            left join kept k on true";
        let token = LinkToken::generate(&self.link_signer, purpose);
        let asks = match asking {
            Asking::Whoever => None,
            Asking::Person(user) => Some(user),
        };
        let seconds = i64::try_from(purpose.valid_for().as_secs()).unwrap_or(i64::MAX);
        let values = params![token.hash(), purpose.as_str(), email.as_str(), asks, seconds, OPEN_MAX];
        let row = connection.query_opt(KEEP, values).await?;
        let user = row.as_ref().and_then(|row| row.get::<_, Option<Uuid>>(0)).map(UserId::from_uuid);
        let has_account = row.is_some_and(|row| row.get(1));
        // An address that shall become somebody's must not be anybody's.
        let is_sent = user.is_some() && has_account == (purpose != LinkPurpose::ChangeEmail);
        let link = self.page(purpose.page(), token.expose());
        let valid_for = purpose.valid_for();
        let message = match purpose {
            LinkPurpose::ResetPassword => Message::ResetPassword { link, valid_for },
            LinkPurpose::VerifyEmail | LinkPurpose::ChangeEmail => Message::VerifyEmail { link, valid_for },
            LinkPurpose::SignIn => Message::MagicLink { link, valid_for },
        };
        let mail = Mail { to: email.clone(), user, brand: None, language: None, message };
        self.enqueue(connection, &mail, is_sent).await?;
        Ok(user)
    }

    /// Reads a token of a link.
    ///
    /// # Errors
    /// [`IdentityError::InvalidLink`] if it was made up, or is for something else.
    pub(crate) fn read_link(&self, token: &SecretString, purposes: &[LinkPurpose]) -> Result<LinkToken, IdentityError> {
        let read = LinkToken::read(&self.link_signer, token);
        read.filter(|token| purposes.contains(&token.purpose)).ok_or(IdentityError::InvalidLink)
    }

    /// Queues a mail in the caller's transaction, or does all of the same work for nothing. An
    /// address that mail cannot reach is no reason to refuse what the mail tells of.
    pub(crate) async fn enqueue(
        &self,
        connection: &SystemConnection,
        mail: &Mail,
        is_sent: bool,
    ) -> Result<(), IdentityError> {
        let Some(mailer) = &self.mailer else { return Ok(()) };
        match mailer.enqueue_if(connection, mail, is_sent).await {
            Ok(_) => Ok(()),
            Err(MailError::Database(error)) => Err(error.into()),
            Err(error) => {
                log_unwritten(mail, &error);
                Ok(())
            }
        }
    }

    /// Queues mails in the caller's transaction, with one statement.
    pub(crate) async fn enqueue_all(&self, connection: &SystemConnection, mails: &[Mail]) -> Result<(), IdentityError> {
        let Some(mailer) = &self.mailer else { return Ok(()) };
        let unwritten = mailer.enqueue_all(connection, mails).await?;
        unwritten.iter().for_each(|(mail, error)| log_unwritten(mail, error));
        Ok(())
    }

    /// Queues the mail that tells a person of a new password, in the caller's transaction.
    pub(crate) async fn tell_password_changed(
        &self,
        connection: &SystemConnection,
        user: UserId,
        device: &Device,
    ) -> Result<(), IdentityError> {
        const ADDRESS: &str = "select email from control.users where id = $1";
        let row = connection.query_opt(ADDRESS, params![user]).await?;
        let Some(Ok(to)) = row.map(|row| row.get::<_, String>(0).parse()) else { return Ok(()) };
        let deed = Deed { at: chrono::Utc::now(), device: device.user_agent.clone(), ip: device.ip };
        let message = Message::PasswordChanged { deed };
        self.enqueue(connection, &Mail { to, user: Some(user), brand: None, language: None, message }, true).await
    }

    /// Tells that mails were queued and committed.
    pub fn nudge_mails(&self) {
        if let Some(mailer) = &self.mailer {
            mailer.nudge();
        }
    }

    /// A page of the service.
    pub(crate) fn page_of(&self, page: &str) -> Link {
        Link::new(format!("{}/{page}", self.settings.issuer.trim_end_matches('/')))
    }

    /// A page of the service, with a secret.
    pub(crate) fn page(&self, page: &str, token: &str) -> Link {
        Link::new(format!("{}/{page}/{token}", self.settings.issuer.trim_end_matches('/')))
    }
}

fn log_unwritten(mail: &Mail, error: &MailError) {
    tracing::error!(%error, kind = mail.message.kind().as_str(), to = mail.to.masked(), "write a mail");
}

/// Whose a link is that can still be followed. Whoever then follows it may still be too late.
pub(crate) async fn link_owner(
    connection: &SystemConnection,
    token: &LinkToken,
) -> Result<Option<UserId>, IdentityError> {
    const OPEN: &str = "
        select u.id from control.mail_links l join control.users u on u.id = l.user_id and u.active
        where l.token_hash = $1 and l.purpose = $2 and l.expires_at > now()";
    let row = connection.query_opt(OPEN, params![token.hash(), token.purpose.as_str()]).await?;
    Ok(row.map(|row| UserId::from_uuid(row.get(0))))
}

/// Follows a link, which uses it up, in the caller's transaction.
///
/// # Errors
/// [`IdentityError::InvalidLink`] if it was used, is over, or went to an address that the
/// person has no more.
pub(crate) async fn link_follow(connection: &SystemConnection, token: &LinkToken) -> Result<Followed, IdentityError> {
    const USE: &str = "
        with used as (
            delete from control.mail_links
            where token_hash = $1 and purpose = $2 and expires_at > now() returning user_id, email)
        select u.id, used.email, u.email from used join control.users u on u.id = used.user_id and u.active";
    let row = connection.query_opt(USE, params![token.hash(), token.purpose.as_str()]).await?;
    let row = row.ok_or(IdentityError::InvalidLink)?;
    let address = |text: String| text.parse::<EmailAddress>().map_err(|_| IdentityError::InvalidLink);
    let followed = Followed {
        user: UserId::from_uuid(row.get(0)),
        email: address(row.get(1))?,
        current_email: address(row.get(2))?,
    };
    let fits = followed.is_to_current() != (token.purpose == LinkPurpose::ChangeEmail);
    if fits { Ok(followed) } else { Err(IdentityError::InvalidLink) }
}

/// Removes a person's links of these purposes: what they were asked for is done, or must not be
/// done any more.
pub(crate) async fn links_forget(
    connection: &SystemConnection,
    user: UserId,
    purposes: &[LinkPurpose],
) -> Result<(), IdentityError> {
    const FORGET: &str = "delete from control.mail_links where user_id = $1 and purpose = any($2)";
    let words: Vec<String> = purposes.iter().map(|purpose| purpose.as_str().to_owned()).collect();
    connection.query(FORGET, params![user, words]).await?;
    Ok(())
}
