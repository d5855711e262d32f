//! Mails to members of whom a second factor will soon be demanded: three days before, and one day before.
//!
//! Must never write twice for one of these days, however many processes do this: a member's line is
//! locked, and says when it was, in the transaction of the mail.

use std::time::Duration;

use chrono::Utc;
use rowhouse_mail::{Brand, Mail, Message};
use rowhouse_postgres::{Row, params};
use rowhouse_types::{RoleKey, TenantId};
use uuid::Uuid;

use crate::error::IdentityError;
use crate::identity::Identity;
use crate::mfa_policy::MfaPolicy;

/// Members that are looked at in one transaction.
const BATCH: i64 = 200;
/// The page where a second factor is set up.
const PAGE: &str = "account/security";

impl Identity {
    /// Reminds whoever is to be reminded. Gives how many mails were queued. To be called from time to
    /// time, by every process.
    pub async fn remind_of_mfa(&self) -> Result<usize, IdentityError> {
        if !self.settings.mfa_demanded || self.settings.accounts_elsewhere {
            return Ok(0);
        }
        let mut queued = 0;
        loop {
            let (looked_at, written) = self.remind_some().await?;
            queued += written;
            if looked_at < usize::try_from(BATCH).unwrap_or(usize::MAX) {
                return Ok(queued);
            }
        }
    }

    /// Looks at some who may have to be reminded. Gives how many they were, and the mails. Who is not
    /// asked is noted as well, or they would be looked at for ever; whoever is asked later is asked anew.
    async fn remind_some(&self) -> Result<(usize, usize), IdentityError> {
        const DUE: &str = "
            select m.tenant_id, m.user_id, u.email, t.name, m.role, r.permissions,
                   false, p.demanded_of, p.grace_days, asked.at
            from control.memberships m
            join control.users u on u.id = m.user_id and u.active
            join control.tenants t on t.id = m.tenant_id and t.status = 'active'
            left join control.roles r on r.tenant_id = m.tenant_id and r.key = m.role
            left join control.mfa_policies p on p.tenant_id = m.tenant_id
            cross join lateral (select greatest(m.mfa_asked_at, p.changed_at) as at) asked
            cross join lateral (
                select asked.at + make_interval(days => coalesce(p.grace_days, $1::int4)) as at) due
            cross join lateral (
                select case when due.at <= now() + interval '1 day' then due.at - interval '1 day'
                            else due.at - interval '3 days' end as at) reminder
            where m.active and coalesce(p.demanded_of, '') <> 'nobody' and due.at > now() and reminder.at <= now()
              and reminder.at > asked.at and coalesce(m.mfa_reminded_at < reminder.at, true)
              and not exists (
                  select 1 from control.second_factors f where f.holder = m.user_id and f.confirmed_at is not null)
            order by m.tenant_id, m.user_id limit $2 for update of m skip locked";
        const DONE: &str = "
            update control.memberships m set mfa_reminded_at = now()
            from unnest($1::uuid[], $2::uuid[]) as done (tenant_id, user_id)
            where m.tenant_id = done.tenant_id and m.user_id = done.user_id";
        let mut connection = self.control("remind of second factors").await?;
        connection.begin().await?;
        let rows = connection.query(DUE, params![MfaPolicy::default().grace_days, BATCH]).await?;
        let ids = rows.iter().map(|row| (row.get::<_, Uuid>(0), row.get::<_, Uuid>(1)));
        let (tenants, users): (Vec<Uuid>, Vec<Uuid>) = ids.unzip();
        connection.query(DONE, params![tenants, users]).await?;
        let mails: Vec<Mail> = rows.iter().filter_map(|row| self.reminder(row)).collect();
        self.enqueue_all(&connection, &mails).await?;
        connection.commit().await?;
        self.nudge_mails();
        Ok((rows.len(), mails.len()))
    }

    /// The mail to a member, if it is demanded of them.
    fn reminder(&self, row: &Row) -> Option<Mail> {
        let (role, own): (String, Option<Vec<String>>) = (row.get(4), row.get(5));
        let grants = self.roles.load().grants_in_tenant(&RoleKey::new(role), own.as_deref()).unwrap_or_default();
        let due_at = self.mfa_due_at(row, 6, &grants)?;
        // Told in whole hours, and not later than it is.
        let hours = u64::try_from((due_at - Utc::now()).num_hours()).unwrap_or(0).max(1);
        let hours = if hours >= 24 { hours / 24 * 24 } else { hours };
        let message = Message::MfaReminder { link: self.page_of(PAGE), left: Duration::from_secs(hours * 60 * 60) };
        let brand = Brand { tenant: TenantId::from_uuid(row.get(0)), name: row.get(3), colour: None };
        let user = Some(rowhouse_types::UserId::from_uuid(row.get(1)));
        Some(Mail { to: row.get::<_, String>(2).parse().ok()?, user, brand: Some(brand), language: None, message })
    }
}
