//! Prepared schemas and databases, so that a sign-up does not wait for DDL.

use std::time::Duration;

use rowhouse_postgres::DatabaseResult;
use uuid::Uuid;

use crate::place::Views;
use crate::service::{Tenants, TenantsError};
use crate::target::{
    Fingerprint, Target, TargetKind, TargetStatus, target_delete, target_get, target_reserve, targets_put,
    targets_take_useless,
};
use crate::version::Version;

/// How often the number of prepared places is looked at; one that was taken here is replaced at
/// once.
const INTERVAL: Duration = Duration::from_secs(15);

impl Tenants {
    /// Keeps as many prepared as the settings ask for, until dropped.
    pub(crate) async fn keep_warm(&self) {
        if self.settings.warm == 0 {
            return std::future::pending().await;
        }
        loop {
            let renewed = async {
                let newest = self.is_newest().await?.then(|| self.version());
                self.drop_places(newest).await?;
                self.fill_warm().await
            };
            if let Err(error) = renewed.await {
                tracing::warn!(%error, "prepare schemas and databases");
            }
            tokio::select! {
                () = self.taken.notified() => {}
                () = tokio::time::sleep(INTERVAL) => {}
            }
        }
    }

    /// Whether the shared tables are on this process's version. A process of the release before
    /// must not drop what the next one has prepared.
    async fn is_newest(&self) -> DatabaseResult<bool> {
        let control = self.control("prepare places").await?;
        let pool = target_get(&control, &self.databases.pool_location()).await?;
        let version = self.version();
        Ok(pool.is_some_and(|pool| pool.release == version.release && pool.platform == version.platform))
    }

    /// Makes the prepared places that are missing, unless another process does; gives how many
    /// were made.
    pub async fn fill_warm(&self) -> Result<usize, TenantsError> {
        let mut made = 0;
        for kind in [TargetKind::PreparedSchema, TargetKind::PreparedDatabase] {
            while self.prepare_one(kind).await? {
                made += 1;
            }
        }
        Ok(made)
    }

    /// One place, recorded before it is begun, so that one left half made is found and dropped.
    async fn prepare_one(&self, kind: TargetKind) -> Result<bool, TenantsError> {
        let name = self.place_name(kind, Uuid::new_v4());
        let pool = self.databases.pool_location();
        let mut target = Target::new(pool, kind, self.version(), Fingerprint::default());
        match kind {
            TargetKind::PreparedSchema => target.location.schema = name.as_str().into(),
            _ => target.location.database = name.as_str().into(),
        }
        target.status = TargetStatus::Making;
        let reserved = {
            let mut control = self.control("prepare a place").await?;
            target_reserve(&mut control, &target, self.settings.warm).await?
        };
        if !reserved {
            return Ok(false);
        }
        let made = match kind {
            TargetKind::PreparedSchema => self.create_schema(&name, Views::Now).await?,
            _ => self.create_database(&name).await?,
        };
        let ready = Target { kind, ..made };
        targets_put(&self.control("record a prepared place").await?, &[ready]).await?;
        Ok(true)
    }

    /// Drops prepared places and templates of other versions, and what was left half made:
    /// making new ones is cheaper than migrating them.
    pub(crate) async fn drop_stale_places(&self) -> DatabaseResult<()> {
        self.drop_places(Some(self.version())).await?;
        self.taken.notify_one();
        Ok(())
    }

    async fn drop_places(&self, version: Option<&Version>) -> DatabaseResult<()> {
        let useless = targets_take_useless(&self.control("drop stale places").await?, version).await?;
        for target in useless {
            match target.kind {
                TargetKind::PreparedSchema => self.drop_schema(&target.location).await?,
                _ => self.drop_database(&target.location).await?,
            }
            target_delete(&self.control("drop stale places").await?, &target.location).await?;
        }
        Ok(())
    }
}
