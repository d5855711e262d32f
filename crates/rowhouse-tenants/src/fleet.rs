//! Migrations over every target: plan, up, status, down. A target that fails is named and does
//! not stop the others; what was done stays done, so that the same command goes on where it
//! stopped.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use futures_util::StreamExt as _;
use rowhouse_app::fingerprints;
use rowhouse_postgres::{DatabaseResult, Location};
use serde::Serialize;

use crate::service::{Tenants, TenantsError};
use crate::target::{Target, TargetKind, target_put, targets_behind, targets_list};

/// What would be applied to one target.
#[derive(Debug, Clone, Serialize)]
pub struct TargetPlan {
    /// The database.
    pub database: String,
    /// The schema.
    pub schema: String,
    /// What it is for.
    pub kind: TargetKind,
    /// The release it is on.
    pub release: String,
    /// Files that would be applied.
    pub pending: Vec<String>,
}

/// One target's state.
#[derive(Debug, Clone, Serialize)]
pub struct TargetState {
    /// The database.
    pub database: String,
    /// The schema.
    pub schema: String,
    /// What it is for.
    pub kind: TargetKind,
    /// The release it is on.
    pub release: String,
    /// `current`, `behind`, `failed`, or, when verified, `drifted` or `missing`.
    pub state: &'static str,
    /// Why it failed.
    pub error: Option<String>,
}

/// How far a fleet operation is.
#[derive(Debug, Clone, Copy)]
pub struct FleetProgress {
    /// Targets finished, failed ones included.
    pub done: usize,
    /// All targets of the operation.
    pub total: usize,
    /// Targets that failed.
    pub failed: usize,
}

/// How a fleet operation ended.
#[derive(Debug, Clone, Default, Serialize)]
pub struct FleetReport {
    /// Targets brought to the release.
    pub migrated: usize,
    /// Targets that needed nothing.
    pub current: usize,
    /// What failed: `database/schema` and the error.
    pub failed: BTreeMap<String, String>,
}

impl Tenants {
    /// What `migrate_up` would do.
    pub async fn migrate_plan(&self) -> Result<Vec<TargetPlan>, TenantsError> {
        let behind = targets_behind(&self.control("plan migrations").await?, &self.app.release()).await?;
        let scope = self.system.scope("plan migrations");
        let mut plans = Vec::with_capacity(behind.len());
        for target in behind {
            let connection = self.databases.system(&scope, &target.location).await?;
            let pending = self
                .migrator
                .pending(&connection, &target.location.schema)
                .await
                .map_err(rowhouse_app::AppError::from)?;
            let Target { location, kind, release, .. } = target;
            plans.push(TargetPlan {
                database: location.database.to_string(),
                schema: location.schema.to_string(),
                kind,
                release,
                pending,
            });
        }
        Ok(plans)
    }

    /// Brings every target that is behind to the app's release.
    ///
    /// # Errors
    /// Only if the registry cannot be asked; targets that fail are in the report.
    pub async fn migrate_up(
        &self,
        parallel: usize,
        progress: &(dyn Fn(FleetProgress) + Sync),
    ) -> Result<FleetReport, TenantsError> {
        self.drop_stale_prepared().await?;
        let release = self.app.release();
        let (behind, all) = {
            let control = self.control("migrate the fleet").await?;
            (targets_behind(&control, &release).await?, targets_list(&control).await?.len())
        };
        let total = behind.len();
        let (done, failed) = (AtomicUsize::new(0), AtomicUsize::new(0));
        let outcomes = futures_util::stream::iter(behind.into_iter().map(|target| {
            let (done, failed) = (&done, &failed);
            async move {
                let outcome = self.migrate_target(target).await;
                let failures =
                    failed.fetch_add(usize::from(outcome.is_err()), Ordering::Relaxed) + usize::from(outcome.is_err());
                let done = done.fetch_add(1, Ordering::Relaxed) + 1;
                progress(FleetProgress { done, total, failed: failures });
                outcome
            }
        }));
        let outcomes: Vec<Result<(), (String, String)>> = outcomes.buffer_unordered(parallel.max(1)).collect().await;
        self.databases.forget_statements();
        let mut report = FleetReport { current: all.saturating_sub(total), ..FleetReport::default() };
        for outcome in outcomes {
            match outcome {
                Ok(()) => report.migrated += 1,
                Err((name, error)) => drop(report.failed.insert(name, error)),
            }
        }
        Ok(report)
    }

    /// One target; its state is recorded either way.
    async fn migrate_target(&self, mut target: Target) -> Result<(), (String, String)> {
        let name = name_of(&target.location);
        let scope = self.system.scope("migrate the fleet");
        let outcome = self.migrator.migrate(&target.location, &scope).await;
        match &outcome {
            Ok(fingerprint) => {
                target.fingerprint.clone_from(fingerprint);
                target.release = self.app.release();
                target.error = None;
            }
            Err(error) => target.error = Some(error.to_string()),
        }
        let recorded = async { target_put(&self.control("record a migration").await?, &target).await };
        let recorded: DatabaseResult<()> = recorded.await;
        match (outcome, recorded) {
            (Ok(_), Ok(())) => Ok(()),
            (Err(error), _) => Err((name, error.to_string())),
            (_, Err(error)) => Err((name, format!("migrated, but not recorded: {error}"))),
        }
    }

    /// Every target's state: as recorded, or compared with the real schemas.
    pub async fn migrate_status(&self, verify: bool) -> Result<Vec<TargetState>, TenantsError> {
        let targets = targets_list(&self.control("tell the fleet's state").await?).await?;
        let real = if verify { self.real_fingerprints(&targets).await? } else { BTreeMap::new() };
        let release = self.app.release();
        let state = |target: Target| {
            let found = real.get(&name_of(&target.location));
            let state = match (&target.error, found) {
                (Some(_), _) => "failed",
                (None, None) if verify => "missing",
                (None, Some(found)) if *found != target.fingerprint => "drifted",
                _ if target.release != release => "behind",
                _ => "current",
            };
            let Target { location, kind, release, error, .. } = target;
            TargetState {
                database: location.database.to_string(),
                schema: location.schema.to_string(),
                kind,
                release,
                state,
                error,
            }
        };
        Ok(targets.into_iter().map(state).collect())
    }

    /// Fingerprints taken afresh, many schemas a query.
    async fn real_fingerprints(&self, targets: &[Target]) -> Result<BTreeMap<String, String>, TenantsError> {
        const SCHEMAS_A_QUERY: usize = 200;
        let mut databases: BTreeMap<(Arc<str>, Arc<str>), Vec<&Location>> = BTreeMap::new();
        for Target { location, .. } in targets {
            databases.entry((location.cluster.clone(), location.database.clone())).or_default().push(location);
        }
        let scope = self.system.scope("verify fingerprints");
        let mut real = BTreeMap::new();
        for locations in databases.values() {
            for some in locations.chunks(SCHEMAS_A_QUERY) {
                // A database that is gone has no fingerprints; its targets show as missing.
                let Ok(connection) = self.databases.system(&scope, some[0]).await else { continue };
                let schemas = some.iter().map(|location| location.schema.to_string()).collect();
                let found = fingerprints(&connection, schemas).await?;
                for location in some {
                    if let Some(fingerprint) = found.get(&*location.schema) {
                        real.insert(name_of(location), fingerprint.clone());
                    }
                }
            }
        }
        Ok(real)
    }

    /// Takes the newest migration back on every target. Gives what was taken back where.
    pub async fn migrate_down(&self) -> Result<FleetReport, TenantsError> {
        let targets = targets_list(&self.control("take a migration back").await?).await?;
        let scope = self.system.scope("take a migration back");
        let mut report = FleetReport::default();
        for mut target in targets {
            let name = name_of(&target.location);
            match self.migrator.revert(&target.location, &scope).await {
                Ok(None) => report.current += 1,
                Ok(Some(migration)) => {
                    report.migrated += 1;
                    target.release = format!("before {migration}");
                    let connection = self.databases.system(&scope, &target.location).await?;
                    target.fingerprint = rowhouse_app::fingerprint(&connection, &target.location.schema).await?;
                    target_put(&self.control("record a migration").await?, &target).await?;
                }
                Err(error) => drop(report.failed.insert(name, error.to_string())),
            }
        }
        self.databases.forget_statements();
        Ok(report)
    }
}

fn name_of(location: &Location) -> String {
    format!("{}/{}", location.database, location.schema)
}
