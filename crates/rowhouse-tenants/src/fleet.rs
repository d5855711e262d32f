//! Migrations over every target: plan, up, status, down. A target that fails is named and does
//! not stop the others; what was done stays done, so that the same command goes on where it
//! stopped.
//!
//! Nothing to do costs one count, whatever the number of targets; otherwise the cost follows what
//! has to change. Must never touch a target that the registry does not know.

use std::collections::{BTreeMap, HashSet};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use futures_util::StreamExt as _;
use rowhouse_app::App;
use rowhouse_audit::Actor;
use rowhouse_postgres::{DatabaseResult, Databases, Location, SystemConnection, ledgers};
use serde::Serialize;
use serde_json::{Value, json};

use crate::service::{Tenants, TenantsError};
use crate::target::{
    Fingerprint, Target, TargetKind, TargetStatus, target_get, targets_behind, targets_count, targets_list,
    targets_migrated, targets_put,
};
use crate::version::{PROGRAM, Version};
use crate::way::real_fingerprints;

/// Targets of one piece of work: read together, recorded together.
const TARGETS_A_PIECE: usize = 16;
/// Schemas whose fingerprints are taken in one query.
const SCHEMAS_A_QUERY: usize = 100;

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
    /// Files that would be applied; none if it is completed anew only.
    pub pending: Vec<String>,
    /// Why it cannot be migrated as it is.
    pub error: Option<String>,
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
    /// `current`, `behind`, `failed`, `drifted`, `making` or, when verified, `missing`.
    pub state: &'static str,
    /// Why it failed, or what has drifted.
    pub error: Option<String>,
}

impl TargetState {
    /// The state of a target that is on the newest version or not, and of what was found in its
    /// place if that was looked at.
    pub(crate) fn of(target: Target, found: Option<Option<&Fingerprint>>, current: bool) -> Self {
        let state = match (target.status, found) {
            (TargetStatus::Failed, _) => "failed",
            (TargetStatus::Making | TargetStatus::Stale, _) => "making",
            // One that was never migrated has nothing to miss.
            (_, Some(None)) if !target.fingerprint.own.is_empty() => "missing",
            (_, Some(Some(found))) if *found != target.fingerprint => "drifted",
            // One that was found changed may have been put right since.
            (TargetStatus::Drifted, _) | (TargetStatus::Changed, None) => "drifted",
            (TargetStatus::Ok | TargetStatus::Changed, _) if current => "current",
            (TargetStatus::Ok | TargetStatus::Changed, _) => "behind",
        };
        let error = match (state, target.status) {
            ("missing", _) => Some("the schema or its database is gone".to_owned()),
            ("drifted", TargetStatus::Ok | TargetStatus::Changed) if found.is_some() => {
                Some("the schema is not what it was when it was migrated: somebody changed it by hand".to_owned())
            }
            // What was told of it has been taken back.
            ("current" | "behind", TargetStatus::Changed) => None,
            _ => target.error,
        };
        let Target { location, kind, release, .. } = target;
        let (database, schema) = (location.database.to_string(), location.schema.to_string());
        Self { database, schema, kind, release, state, error }
    }
}

/// How far a fleet operation is.
#[derive(Debug, Clone, Copy)]
pub struct FleetProgress {
    /// Targets finished, failed ones included.
    pub done: usize,
    /// All targets of the operation; grows by those that appear meanwhile.
    pub total: usize,
    /// Targets that failed.
    pub failed: usize,
    /// Targets finished per second, since the operation began.
    pub per_second: f64,
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
    /// What was migrated but differs from the others: `database/schema` and what that means.
    pub drifted: BTreeMap<String, String>,
}

impl FleetReport {
    fn count(&mut self, target: &Target) {
        let told = || (target.name(), target.error.clone().unwrap_or_default());
        match target.status {
            TargetStatus::Failed => self.failed.extend([told()]),
            TargetStatus::Drifted | TargetStatus::Changed => {
                self.migrated += 1;
                self.drifted.extend([told()]);
            }
            TargetStatus::Ok | TargetStatus::Making | TargetStatus::Stale => self.migrated += 1,
        }
    }
}

/// Counts what is done and tells it.
struct Meter<'a> {
    done: AtomicUsize,
    failed: AtomicUsize,
    total: AtomicUsize,
    started: Instant,
    progress: &'a (dyn Fn(FleetProgress) + Sync),
}

impl<'a> Meter<'a> {
    fn new(progress: &'a (dyn Fn(FleetProgress) + Sync)) -> Self {
        let (done, failed, total) = Default::default();
        Self { done, failed, total, started: Instant::now(), progress }
    }

    /// So many more are to be done.
    fn expect(&self, targets: usize) {
        self.total.fetch_add(targets, Ordering::Relaxed);
    }

    fn passed(&self, has_failed: bool) {
        let failed = self.failed.fetch_add(usize::from(has_failed), Ordering::Relaxed) + usize::from(has_failed);
        let done = self.done.fetch_add(1, Ordering::Relaxed) + 1;
        #[expect(clippy::cast_precision_loss, reason = "a rate for people")]
        let per_second = done as f64 / self.started.elapsed().as_secs_f64().max(0.001);
        let total = self.total.load(Ordering::Relaxed);
        (self.progress)(FleetProgress { done, total, failed, per_second });
    }
}

impl Tenants {
    /// Targets that [`Self::migrate_up`] would bring forward.
    pub async fn targets_behind(&self) -> DatabaseResult<usize> {
        let control = self.control("count targets behind").await?;
        Ok(targets_count(&control, self.version()).await?.1)
    }

    /// What [`Self::migrate_up`] would do. Nothing is changed.
    pub async fn migrate_plan(&self) -> Result<Vec<TargetPlan>, TenantsError> {
        let behind = self.behind_with_pool(false).await?;
        let mut plans = Vec::with_capacity(behind.len());
        for piece in pieces(behind, SCHEMAS_A_QUERY) {
            let scope = self.system.scope("plan migrations");
            let connection = match self.databases.system(&scope, &piece[0].location).await {
                Ok(connection) => connection,
                Err(error) => {
                    plans.extend(piece.into_iter().map(|target| plan(target, Err(error.to_string()))));
                    continue;
                }
            };
            let mut ledgers = if has_ledger(&connection).await? {
                let schemas = piece.iter().map(|target| target.location.schema.to_string()).collect();
                ledgers(&connection, schemas).await?
            } else {
                BTreeMap::new()
            };
            for target in piece {
                let applied = ledgers.remove(&*target.location.schema).unwrap_or_default();
                let pending = self.migrator.pending(&applied, &target.location.schema);
                let names = pending.map(|files| files.into_iter().map(|file| file.name.clone()).collect());
                plans.push(plan(target, names.map_err(|error| error.to_string())));
            }
        }
        Ok(plans)
    }

    /// Those behind; among them a pool that was never migrated, and so is not registered. All
    /// others are registered when they are made.
    async fn behind_with_pool(&self, register: bool) -> Result<Vec<Target>, TenantsError> {
        let control = self.control("find targets behind").await?;
        let mut behind = targets_behind(&control, self.version()).await?;
        let location = self.databases.pool_location();
        if target_get(&control, &location).await?.is_none() {
            let never = Version { release: String::new(), platform: String::new() };
            let pool = Target::new(location, TargetKind::Pool, &never, Fingerprint::default());
            if register {
                targets_put(&control, std::slice::from_ref(&pool)).await?;
            }
            behind.insert(0, pool);
        }
        Ok(behind)
    }

    /// Brings every target that is behind to the app's release: the shared tables first, then
    /// the others, so many pieces of work at a time; and those that appear behind meanwhile.
    ///
    /// # Errors
    /// Only if the app is refused or the registry cannot be asked; targets that fail are in the
    /// report.
    pub async fn migrate_up(
        &self,
        parallel: usize,
        progress: &(dyn Fn(FleetProgress) + Sync),
    ) -> Result<FleetReport, TenantsError> {
        let mut behind = self.behind_with_pool(true).await?;
        let all = targets_count(&self.control("count targets").await?, self.version()).await?.0;
        let mut report = FleetReport { current: all.saturating_sub(behind.len()), ..FleetReport::default() };
        if behind.is_empty() {
            return Ok(report);
        }
        self.refuse_leaks().await?;
        self.log_begin("migrate_up", json!({ "targets": behind.len() })).await?;
        self.drop_stale_places().await?;
        let (meter, mut tried) = (Meter::new(progress), HashSet::new());
        // Until none is left that was not tried: a process of the release before may still be
        // making tenants.
        while !behind.is_empty() {
            tried.extend(behind.iter().map(|target| target.location.clone()));
            self.migrate_targets(behind, parallel, &meter, &mut report).await?;
            behind = self.behind_with_pool(true).await?;
            behind.retain(|target| !tried.contains(&target.location));
        }
        self.databases.forget_statements();
        if !report.failed.contains_key(&pool_name(&self.databases.pool_location())) {
            self.reload().await?;
        }
        Ok(report)
    }

    /// Tells the audit log what begins: the work is many transactions in many databases, and what
    /// became of each target stands in the registry.
    async fn log_begin(&self, action: &'static str, mut details: Value) -> DatabaseResult<()> {
        details["release"] = json!(self.app.release());
        Actor::system().did(action).with_details(details).write(&self.control("record a migration").await?).await
    }

    async fn migrate_targets(
        &self,
        mut targets: Vec<Target>,
        parallel: usize,
        meter: &Meter<'_>,
        report: &mut FleetReport,
    ) -> Result<(), TenantsError> {
        meter.expect(targets.len());
        // The pool alone, and first: the others' model is compiled from it.
        let pools = targets.iter().take_while(|target| target.kind == TargetKind::Pool).count();
        let others = targets.split_off(pools);
        for target in targets {
            for target in self.migrate_piece(vec![target], meter).await? {
                report.count(&target);
            }
        }
        let work = pieces(others, TARGETS_A_PIECE).into_iter().map(|piece| self.migrate_piece(piece, meter));
        let mut outcomes = futures_util::stream::iter(work).buffer_unordered(self.at_a_time(parallel));
        while let Some(outcome) = outcomes.next().await {
            for target in outcome? {
                report.count(&target);
            }
        }
        Ok(())
    }

    /// So many pieces at a time as were asked for, but leaving connections for others.
    fn at_a_time(&self, parallel: usize) -> usize {
        let connections = self.databases.home().limits.owner_connections_max;
        parallel.clamp(1, connections.saturating_sub(2).max(1))
    }

    /// Some targets of one database; their states are recorded either way.
    async fn migrate_piece(&self, mut piece: Vec<Target>, meter: &Meter<'_>) -> Result<Vec<Target>, TenantsError> {
        let scope = self.system.scope("migrate the fleet");
        let told = AtomicUsize::new(0);
        let passed = |failed: bool| {
            told.fetch_add(1, Ordering::Relaxed);
            meter.passed(failed);
        };
        let outcome = async {
            let mut connection = self.databases.system(&scope, &piece[0].location).await?;
            self.ground.migrate(&mut connection).await?;
            drop(connection);
            self.migrator.migrate(&scope, &mut piece, &passed).await
        };
        if let Err(error) = outcome.await {
            // The database as a whole. Whatever failed before has an error of its own; of those
            // that succeeded nobody has seen the schema, so they are looked at again next time.
            let (error, told) = (error.to_string(), told.load(Ordering::Relaxed));
            for (number, target) in piece.iter_mut().enumerate() {
                if number >= told || target.status != TargetStatus::Failed {
                    (target.status, target.error) = (TargetStatus::Failed, Some(error.clone()));
                }
            }
            for _ in told..piece.len() {
                meter.passed(true);
            }
        }
        targets_migrated(&self.control("record migrations").await?, &piece).await?;
        Ok(piece)
    }

    /// Brings the pool to the app's release, unless it is there: what serving needs at least.
    pub(crate) async fn migrate_pool(&self) -> Result<(), TenantsError> {
        let location = self.databases.pool_location();
        let behind = self.behind_with_pool(true).await?;
        let Some(target) = behind.into_iter().find(|target| target.location == location) else { return Ok(()) };
        self.log_begin("migrate_pool", json!({})).await?;
        let meter = Meter::new(&|_| {});
        let migrated = self.migrate_piece(vec![target], &meter).await?;
        self.databases.forget_statements();
        match migrated.into_iter().next() {
            Some(Target { status: TargetStatus::Failed, error, .. }) => {
                Err(TenantsError::Pool(error.unwrap_or_default()))
            }
            _ => {
                // Not worth failing for: whoever keeps places prepared drops them later.
                if let Err(error) = self.drop_stale_places().await {
                    tracing::warn!(%error, "drop what was prepared for the release before");
                }
                Ok(())
            }
        }
    }

    /// The state of every target that holds rows: as recorded, or compared with the real schemas.
    /// The control database, templates and prepared places are among them only if something is
    /// wrong with them.
    pub async fn migrate_status(&self, verify: bool) -> Result<Vec<TargetState>, TenantsError> {
        let targets = targets_list(&self.control("tell the fleet's state").await?).await?;
        let real = if verify { Some(self.all_fingerprints(&targets).await?) } else { None };
        let states = targets.into_iter().map(|target| self.state(target, real.as_ref()));
        let wrong = |state: &TargetState| matches!(state.state, "failed" | "drifted" | "missing");
        Ok(states.filter(|state| state.kind.holds_rows() || wrong(state)).collect())
    }

    pub(crate) fn state(&self, target: Target, real: Option<&BTreeMap<String, Fingerprint>>) -> TargetState {
        let found = real.map(|real| real.get(&target.name()));
        let version = self.version();
        let current = match target.kind {
            TargetKind::Control => target.release == PROGRAM,
            _ => target.release == version.release && target.platform == version.platform,
        };
        TargetState::of(target, found, current)
    }

    /// Fingerprints taken afresh, many schemas a query, several databases at a time. A database
    /// that cannot be reached has none; its targets show as missing.
    pub(crate) async fn all_fingerprints(
        &self,
        targets: &[Target],
    ) -> Result<BTreeMap<String, Fingerprint>, TenantsError> {
        let work = pieces(targets.to_vec(), SCHEMAS_A_QUERY).into_iter().map(|piece| async move {
            let scope = self.system.scope("verify fingerprints");
            let location = &piece[0].location;
            // Nobody must be connected to a template when it is copied, not even idly.
            let connection = match piece[0].kind {
                TargetKind::Template => self.databases.system_unpooled(&scope, location).await,
                _ => self.databases.system(&scope, location).await,
            };
            let connection = match connection {
                Ok(connection) => connection,
                Err(error) => {
                    tracing::warn!(database = %piece[0].location.database, %error, "verify fingerprints");
                    return Ok(BTreeMap::new());
                }
            };
            real_fingerprints(&connection, &piece).await
        });
        let found: Vec<DatabaseResult<_>> =
            futures_util::stream::iter(work).buffer_unordered(self.at_a_time(self.settings.parallel)).collect().await;
        let mut real = BTreeMap::new();
        for some in found {
            real.extend(some?);
        }
        Ok(real)
    }

    /// The newest file that stands in any target's ledger: what [`Self::migrate_down`] takes back.
    pub async fn newest_applied(&self) -> Result<Option<String>, TenantsError> {
        Ok(self.with_newest().await?.map(|(name, _)| name))
    }

    /// The newest file of the fleet, and the targets that have it.
    async fn with_newest(&self) -> Result<Option<(String, Vec<Target>)>, TenantsError> {
        let targets = targets_list(&self.control("take a migration back").await?).await?;
        let targets: Vec<Target> = targets.into_iter().filter(|target| target.kind.holds_rows()).collect();
        let scope = self.system.scope("take a migration back");
        let mut found: BTreeMap<String, Vec<Target>> = BTreeMap::new();
        for piece in pieces(targets, SCHEMAS_A_QUERY) {
            let connection = self.databases.system(&scope, &piece[0].location).await?;
            if !has_ledger(&connection).await? {
                continue;
            }
            let schemas = piece.iter().map(|target| target.location.schema.to_string()).collect();
            let mut ledgers = ledgers(&connection, schemas).await?;
            for target in piece {
                let newest = ledgers.remove(&*target.location.schema).and_then(|mut lines| lines.pop());
                if let Some(line) = newest {
                    found.entry(line.name).or_default().push(target);
                }
            }
        }
        Ok(found.pop_last())
    }

    /// Takes the newest file of the fleet back wherever it was applied, by its `.down.sql`. Run
    /// again after a failure, it goes on with the same file.
    ///
    /// # Errors
    /// Only if the registry or a database cannot be asked; targets that fail are in the report.
    pub async fn migrate_down(&self) -> Result<FleetReport, TenantsError> {
        let mut report = FleetReport::default();
        let Some((name, targets)) = self.with_newest().await? else { return Ok(report) };
        let known = self.app.migrations.migrations.iter().find(|migration| migration.name == name);
        let Some(migration) = known else {
            return Err(TenantsError::UnknownMigration(name));
        };
        let all = targets_count(&self.control("count targets").await?, self.version()).await?.0;
        report.current = all.saturating_sub(targets.len());
        self.log_begin("migrate_down", json!({ "migration": name, "targets": targets.len() })).await?;
        let work = targets.into_iter().map(|target| self.revert_target(target, migration));
        let mut outcomes = futures_util::stream::iter(work).buffer_unordered(self.at_a_time(self.settings.parallel));
        while let Some(outcome) = outcomes.next().await {
            match outcome? {
                (target, None) => report.count(&target),
                (target, Some(error)) => report.failed.extend([(target.name(), error)]),
            }
        }
        self.databases.forget_statements();
        Ok(report)
    }

    async fn revert_target(
        &self,
        mut target: Target,
        migration: &rowhouse_postgres::Migration,
    ) -> Result<(Target, Option<String>), TenantsError> {
        let scope = self.system.scope("take a migration back");
        let outcome = async {
            let mut connection = self.databases.system(&scope, &target.location).await?;
            self.migrator.revert(&mut connection, &target, migration).await?;
            let mut real = real_fingerprints(&connection, std::slice::from_ref(&target)).await?;
            Ok::<_, rowhouse_app::AppError>(real.remove(&target.name()).unwrap_or_default())
        };
        match outcome.await {
            Ok(fingerprint) => {
                target.release = format!("before {}", migration.name);
                (target.fingerprint, target.status, target.error) = (fingerprint, TargetStatus::Ok, None);
                let control = self.control("record a migration").await?;
                targets_migrated(&control, std::slice::from_ref(&target)).await?;
                Ok((target, None))
            }
            Err(error) => Ok((target, Some(error.to_string()))),
        }
    }
}

/// What [`Tenants::migrate_up`] would do first in an installation that has no registry yet.
pub fn first_plan(databases: &Databases, app: &App) -> TargetPlan {
    let never = Version { release: String::new(), platform: String::new() };
    let pool = Target::new(databases.pool_location(), TargetKind::Pool, &never, Fingerprint::default());
    plan(pool, Ok(app.migrations.migrations.iter().map(|file| file.name.clone()).collect()))
}

fn pool_name(location: &Location) -> String {
    format!("{}/{}", location.database, location.schema)
}

fn plan(target: Target, pending: Result<Vec<String>, String>) -> TargetPlan {
    let Target { location, kind, release, .. } = target;
    let (database, schema) = (location.database.to_string(), location.schema.to_string());
    let (pending, error) = match pending {
        Ok(pending) => (pending, None),
        Err(error) => (Vec::new(), Some(error)),
    };
    TargetPlan { database, schema, kind, release, pending, error }
}

async fn has_ledger(connection: &SystemConnection) -> DatabaseResult<bool> {
    const EXISTS: &str = "select to_regclass('rowhouse._migrations') is not null";
    Ok(connection.query_opt(EXISTS, &[]).await?.is_some_and(|row| row.get(0)))
}

/// Targets in pieces of at most so many of one database each, in their order.
fn pieces(targets: Vec<Target>, at_most: usize) -> Vec<Vec<Target>> {
    let same = |a: &Location, b: &Location| a.cluster == b.cluster && a.database == b.database;
    let mut pieces: Vec<Vec<Target>> = Vec::new();
    for target in targets {
        match pieces.last_mut() {
            Some(piece) if piece.len() < at_most && same(&piece[0].location, &target.location) => piece.push(target),
            _ => pieces.push(vec![target]),
        }
    }
    pieces
}
