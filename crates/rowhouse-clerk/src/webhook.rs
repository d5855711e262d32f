//! What Clerk tells: each message is proved, read, applied, and only then noted as dealt with.
//!
//! A process may die between any two of these. Then the message comes again, and what was done of
//! it is found done: each part is guarded by the state of the object that it is about.

use rowhouse_audit::{SecurityEvent, SecurityEventKind};
use rowhouse_identity::Device;
use rowhouse_postgres::params;
use serde_json::json;

use crate::clerk_id::ClerkSessionId;
use crate::error::ClerkError;
use crate::event::Event;
use crate::service::Clerk;
use crate::signature::SignedHeaders;

/// What became of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Received {
    /// It was dealt with.
    Applied,
    /// It had been dealt with before.
    Repeated,
}

impl Clerk {
    /// Takes a message. It is to be answered with success only if this succeeds: else it comes again.
    ///
    /// # Errors
    /// If Clerk did not send it, it cannot be read, or it cannot be dealt with now.
    pub async fn receive(
        &self,
        headers: SignedHeaders<'_>,
        body: &[u8],
        device: &Device,
    ) -> Result<Received, ClerkError> {
        if let Err(refusal) = self.secrets.verify(headers, body, chrono::Utc::now().timestamp()) {
            tracing::info!(%refusal, "refuse a message that is said to come from Clerk");
            self.audit.record(SecurityEvent {
                kind: SecurityEventKind::SuspiciousActivity,
                ip: device.ip,
                user_agent: device.user_agent.clone(),
                details: json!({ "reason": "clerk_webhook", "refusal": refusal.to_string() }),
                ..SecurityEvent::default()
            });
            return Err(refusal.into());
        }
        const SEEN: &str = "select 1 from control.clerk_messages where id = $1";
        if self.control("find a message").await?.query_opt(SEEN, params![headers.id]).await?.is_some() {
            return Ok(Received::Repeated);
        }
        let event = Event::parse(body).inspect_err(|fault| {
            tracing::warn!(%fault, cause = ?std::error::Error::source(fault), message_id = headers.id, "read a message of Clerk's");
        })?;
        self.apply(event).await?;
        self.note(headers.id).await?;
        Ok(Received::Applied)
    }

    async fn apply(&self, event: Event) -> Result<(), ClerkError> {
        match event {
            Event::Organization(organization) => self.apply_organization(&organization).await,
            Event::OrganizationDeleted { id, at } => self.remove_organization(&id, at).await,
            Event::Part(part) => self.apply_part(&part).await,
            Event::PartDeleted { part, at } => self.remove_part(&part, at).await,
            Event::Offer(offer) => self.apply_offer(&offer).await,
            Event::PersonCreated(person) => {
                self.apply_person(&person).await?;
                self.sign_up(&person).await
            }
            Event::PersonUpdated(person) => self.apply_person(&person).await,
            Event::PersonDeleted { id, at } => self.remove_person(&id, at).await,
            Event::SessionEnded { session } => self.end_session(&session).await,
            Event::Other => Ok(()),
        }
    }

    async fn end_session(&self, session: &ClerkSessionId) -> Result<(), ClerkError> {
        // The tokens of a session are good for a minute by themselves; a week is plenty.
        const END: &str = "
            with old as (delete from control.clerk_sessions where ended_at < now() - interval '7 days')
            insert into control.clerk_sessions (clerk_id) values ($1) on conflict do nothing";
        self.control("end a session").await?.query(END, params![session.as_str()]).await?;
        self.forget_known();
        Ok(())
    }

    async fn note(&self, message: &str) -> Result<(), ClerkError> {
        // A message is sent again for about a day, and by hand for a month.
        const NOTE: &str = "
            with old as (delete from control.clerk_messages where received_at < now() - interval '60 days')
            insert into control.clerk_messages (id) values ($1) on conflict do nothing";
        self.control("note a message").await?.query(NOTE, params![message]).await?;
        Ok(())
    }
}
