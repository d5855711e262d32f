//! The scheduled look at every real schema: drift and half-done work are found, never assumed,
//! and told to operators by alerts.

use std::sync::Arc;
use std::time::Duration;

use rowhouse_audit::{Condition, Severity, conditions_record};
use rowhouse_postgres::{DatabaseResult, params};

use crate::service::{Tenants, TenantsError};
use crate::target::{Target, TargetStatus, targets_list, targets_seen};

/// The kind of the alerts.
const ALERT: &str = "schema_drift";

/// How often a process asks whether a scan is due; another may have made it.
const ASK_EVERY: Duration = Duration::from_secs(600);

impl Tenants {
    /// Scans when it is time, until dropped.
    pub(crate) async fn watch_drift(self: &Arc<Self>) {
        loop {
            tokio::time::sleep(ASK_EVERY.min(self.settings.drift_scan)).await;
            if let Err(error) = self.scan_if_due().await {
                tracing::error!(%error, "the scan for drift failed; it is tried again");
            }
        }
    }

    /// Compares every real schema with what was recorded, if the last scan of any process is long
    /// enough ago. Gives how many targets have drifted since, or nothing if no scan was due.
    pub async fn scan_if_due(&self) -> Result<Option<usize>, TenantsError> {
        if !self.claim_scan().await? {
            return Ok(None);
        }
        let drifted = self.record_drift().await?;
        metrics::counter!("rowhouse_targets_drifted_total").increment(u64::try_from(drifted).unwrap_or(u64::MAX));
        Ok(Some(drifted))
    }

    /// Compares every real schema with what was recorded, records what has drifted since the last
    /// look and what is as it was again, and raises an alert for each that drifts. Gives how many
    /// have drifted since.
    pub async fn record_drift(&self) -> Result<usize, TenantsError> {
        let targets = targets_list(&self.control("look for drift").await?).await?;
        let real = self.all_fingerprints(&targets).await?;
        let (mut seen, mut conditions, mut new) = (Vec::new(), Vec::new(), Vec::new());
        for target in targets {
            let name = target.name();
            let state = self.state(target.clone(), Some(&real));
            let drifts = matches!(state.state, "drifted" | "missing");
            let (status, error) = match (target.status, drifts) {
                (TargetStatus::Ok | TargetStatus::Changed | TargetStatus::Drifted, true) => {
                    let found = real.get(&name).map(|found| format!("{}/{}", found.own, found.shared));
                    let reason = state.error.clone().unwrap_or_default();
                    conditions.push(Condition {
                        subject: format!("target:{name}"),
                        state: found.unwrap_or_else(|| "missing".to_owned()),
                        title: format!("{name} has drifted: {reason}"),
                    });
                    if target.status == TargetStatus::Ok {
                        tracing::error!(target = %name, reason, "a schema has drifted");
                        new.push(name);
                    }
                    (TargetStatus::Changed, state.error)
                }
                (TargetStatus::Changed, false) => (TargetStatus::Ok, None),
                _ => continue,
            };
            seen.push(Target { status, error, ..target });
        }
        // One transaction: what is recorded as drifted has its alert. Tenants read alerts that
        // carry their id, and have no business with where their rows live, so these carry none.
        let mut control = self.control("record drift").await?;
        control.begin().await?;
        let held = targets_seen(&control, &seen).await?;
        conditions.retain(|condition| held.iter().any(|name| condition.subject == format!("target:{name}")));
        conditions_record(&control, ALERT, Severity::High, &conditions).await?;
        control.commit().await?;
        Ok(new.iter().filter(|name| held.contains(name)).count())
    }

    async fn claim_scan(&self) -> DatabaseResult<bool> {
        const CLAIM: &str = "
            insert into control.scans (name, began_at) values ('drift', now())
            on conflict (name) do update set began_at = now()
            where scans.began_at <= now() - make_interval(secs => $1::int8::float8)
            returning name";
        let seconds = i64::try_from(self.settings.drift_scan.as_secs()).unwrap_or(i64::MAX);
        let control = self.control("claim the scan for drift").await?;
        Ok(control.query_opt(CLAIM, params![seconds]).await?.is_some())
    }
}
