//! Prepared schemas and databases, so that a sign-up does not wait for DDL.

use std::sync::Arc;
use std::time::Duration;

use rowhouse_postgres::{DatabaseResult, params};
use uuid::Uuid;

use crate::service::{Tenants, TenantsError};
use crate::target::{TargetKind, target_delete, target_put, targets_list};

const INTERVAL: Duration = Duration::from_secs(2);

impl Tenants {
    /// Keeps as many prepared as the settings ask for, until dropped.
    pub(crate) async fn keep_warm(self: &Arc<Self>) {
        if self.settings.warm == 0 {
            return;
        }
        loop {
            if let Err(error) = self.fill_warm().await {
                tracing::warn!(%error, "prepare schemas and databases");
            }
            tokio::time::sleep(INTERVAL).await;
        }
    }

    /// Makes what is missing; gives how many were made.
    pub async fn fill_warm(&self) -> Result<usize, TenantsError> {
        let mut made = 0;
        for kind in [TargetKind::PreparedSchema, TargetKind::PreparedDatabase] {
            while self.count_prepared(kind).await? < self.settings.warm {
                let name = self.place_name(kind, Uuid::new_v4());
                let location = match kind {
                    TargetKind::PreparedSchema => self.create_schema(&name).await?,
                    _ => self.create_database(&name).await?,
                };
                let target = self.new_target(location, kind).await?;
                target_put(&self.control("record a prepared target").await?, &target).await?;
                made += 1;
            }
        }
        Ok(made)
    }

    async fn count_prepared(&self, kind: TargetKind) -> DatabaseResult<usize> {
        const COUNT: &str = "select count(*) from control.targets where kind = $1 and release = $2 and status = 'ok'";
        let control = self.control("count prepared targets").await?;
        let row = control.query_opt(COUNT, params![kind.as_str(), self.app.release()]).await?;
        Ok(row.map_or(0, |row| usize::try_from(row.get::<_, i64>(0)).unwrap_or(0)))
    }

    /// Drops prepared targets of other releases: making a new one is cheaper than migrating it.
    pub(crate) async fn drop_stale_prepared(&self) -> Result<(), TenantsError> {
        let control = self.control("drop stale prepared targets").await?;
        for target in targets_list(&control).await? {
            let stale = target.release != self.app.release() || target.error.is_some();
            match target.kind {
                TargetKind::PreparedSchema if stale => self.drop_schema(&target.location).await?,
                TargetKind::PreparedDatabase if stale => self.drop_database(&target.location).await?,
                _ => continue,
            }
            target_delete(&control, &target.location).await?;
        }
        Ok(())
    }
}
