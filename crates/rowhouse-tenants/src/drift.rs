//! The scheduled look at every real schema: drift and half-done work are found, never assumed.

use std::sync::Arc;
use std::time::Duration;

use rowhouse_postgres::{DatabaseResult, params};

use crate::service::{Tenants, TenantsError};

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
