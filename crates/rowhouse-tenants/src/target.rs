//! Targets: the places that migrations must reach, as the registry remembers them.

use rowhouse_postgres::{DatabaseResult, Location, Row, SystemConnection, params};
use rowhouse_types::TenantId;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::version::Version;
use crate::words::words;

words! {
    /// What a target is for.
    TargetKind {
        /// The control database.
        Control = "control",
        /// The shared tables of pool placement.
        Pool = "pool",
        /// A tenant's own schema.
        Schema = "schema",
        /// A tenant's own database.
        Database = "database",
        /// The database that new ones are copied from.
        Template = "template",
        /// A schema kept for the next tenant.
        PreparedSchema = "prepared_schema",
        /// A database kept for the next tenant.
        PreparedDatabase = "prepared_database",
    }
}

words! {
    /// What is known of a target.
    TargetStatus {
        /// Begun, and of no use yet.
        Making = "making",
        /// Migrated.
        Ok = "ok",
        /// Its last migration failed.
        Failed = "failed",
        /// Migrated, but its schema differs from others that took the same way.
        Drifted = "drifted",
        /// Migrated, and found changed since.
        Changed = "changed",
        /// About to be dropped.
        Stale = "stale",
    }
}

impl TargetKind {
    /// Whether a tenant's rows live there: those are migrated, the others are made anew.
    pub(crate) const fn holds_rows(self) -> bool {
        matches!(self, Self::Pool | Self::Schema | Self::Database)
    }

    /// Whether it has a database, and so schema `shared`, of its own.
    pub(crate) const fn is_whole_database(self) -> bool {
        matches!(self, Self::Pool | Self::Database | Self::Template | Self::PreparedDatabase)
    }
}

/// A target as it was recorded when it was last migrated.
#[derive(Debug, Clone)]
pub struct Target {
    /// Where it is.
    pub location: Location,
    /// What it is for.
    pub kind: TargetKind,
    /// Its tenant, if it has one of its own.
    pub tenant: Option<TenantId>,
    /// The app's release it is on.
    pub release: String,
    /// The platform's version it is on.
    pub platform: String,
    /// The fingerprints of its real schemas.
    pub fingerprint: Fingerprint,
    /// What is known of it.
    pub status: TargetStatus,
    /// Why the last migration failed, or what has drifted.
    pub error: Option<String>,
}

/// What a target's schemas really are.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct Fingerprint {
    /// Of the app's tables: the same in every placement. Empty if it was never taken.
    pub own: String,
    /// Of schema `shared`, for a target that has a database of its own.
    pub shared: String,
}

impl Target {
    /// A target that was just brought to a version.
    pub(crate) fn new(location: Location, kind: TargetKind, version: &Version, fingerprint: Fingerprint) -> Self {
        let Version { release, platform } = version.clone();
        Self { location, kind, tenant: None, release, platform, fingerprint, status: TargetStatus::Ok, error: None }
    }

    /// Its name in reports.
    pub(crate) fn name(&self) -> String {
        format!("{}/{}", self.location.database, self.location.schema)
    }

    fn from_row(row: &Row) -> Self {
        Self {
            location: location(row),
            kind: row.get::<_, &str>(3).parse().expect("the table's check allows known words only"),
            tenant: row.get::<_, Option<Uuid>>(4).map(TenantId::from_uuid),
            release: row.get(5),
            platform: row.get(6),
            fingerprint: Fingerprint { own: row.get(7), shared: row.get(8) },
            status: row.get::<_, &str>(9).parse().expect("the table's check allows known words only"),
            error: row.get(10),
        }
    }

    fn to_json(&self) -> Value {
        let Location { cluster, database, schema } = &self.location;
        json!({
            "cluster": &**cluster, "database": &**database, "schema": &**schema, "kind": self.kind,
            "tenant_id": self.tenant, "release": self.release, "platform": self.platform,
            "fingerprint": self.fingerprint.own, "shared_fingerprint": self.fingerprint.shared, "status": self.status, "error": self.error,
        })
    }
}

fn location(row: &Row) -> Location {
    Location::new(row.get(0), row.get(1), row.get(2))
}

/// The columns that [`Target::from_row`] reads, in order.
const COLUMNS: &str =
    "cluster, database, schema, kind, tenant_id, release, platform, fingerprint, shared_fingerprint, status, error";

/// Every target, in a stable order, the shared ones first.
pub(crate) async fn targets_list(connection: &SystemConnection) -> DatabaseResult<Vec<Target>> {
    let list = format!(
        "select {COLUMNS} from control.targets
         order by kind <> 'control', kind <> 'pool', kind, cluster, database, schema"
    );
    Ok(connection.query(&list, &[]).await?.iter().map(Target::from_row).collect())
}

/// Those with rows that are not on this version, or failed; the pool first.
pub(crate) async fn targets_behind(connection: &SystemConnection, version: &Version) -> DatabaseResult<Vec<Target>> {
    let list = format!(
        "select {COLUMNS} from control.targets
         where kind in ('pool', 'schema', 'database') and (release <> $1 or platform <> $2 or status = 'failed')
         order by kind <> 'pool', cluster, database, schema"
    );
    let rows = connection.query(&list, params![version.release.as_str(), version.platform.as_str()]).await?;
    Ok(rows.iter().map(Target::from_row).collect())
}

/// How many targets with rows there are, and how many of them are behind: what "nothing to do"
/// is answered from, whatever their number.
pub(crate) async fn targets_count(connection: &SystemConnection, version: &Version) -> DatabaseResult<(usize, usize)> {
    const COUNT: &str = "
        select count(*), count(*) filter (where release <> $1 or platform <> $2 or status = 'failed')
        from control.targets where kind in ('pool', 'schema', 'database')";
    let rows = connection.query(COUNT, params![version.release.as_str(), version.platform.as_str()]).await?;
    let number = |column: usize| rows.first().map_or(0, |row| usize::try_from(row.get::<_, i64>(column)).unwrap_or(0));
    Ok((number(0), number(1)))
}

/// One target.
pub(crate) async fn target_get(connection: &SystemConnection, location: &Location) -> DatabaseResult<Option<Target>> {
    let get = format!("select {COLUMNS} from control.targets where cluster = $1 and database = $2 and schema = $3");
    let Location { cluster, database, schema } = location;
    let row = connection.query_opt(&get, params![&**cluster, &**database, &**schema]).await?;
    Ok(row.as_ref().map(Target::from_row))
}

/// Records targets' states, all in one statement.
pub(crate) async fn targets_put(connection: &SystemConnection, targets: &[Target]) -> DatabaseResult<()> {
    const PUT: &str = "
        insert into control.targets (
            cluster, database, schema, kind, tenant_id, release, platform, fingerprint, shared_fingerprint, status, error)
        select * from jsonb_to_recordset($1) as t (
            cluster text, database text, schema text, kind text, tenant_id uuid, release text, platform text,
            fingerprint text, shared_fingerprint text, status text, error text)
        on conflict (cluster, database, schema) do update set
            kind = excluded.kind, tenant_id = excluded.tenant_id, release = excluded.release,
            platform = excluded.platform, fingerprint = excluded.fingerprint,
            shared_fingerprint = excluded.shared_fingerprint, status = excluded.status,
            error = excluded.error, migrated_at = now()";
    let list = Value::Array(targets.iter().map(Target::to_json).collect());
    connection.query(PUT, params![list]).await.map(drop)
}

/// Records what became of targets that were migrated, unless they are gone or have been given to
/// a tenant or taken from one meanwhile: those facts are not the migration's to write.
pub(crate) async fn targets_migrated(connection: &SystemConnection, targets: &[Target]) -> DatabaseResult<()> {
    const UPDATE: &str = "
        update control.targets as known set
            release = t.release, platform = t.platform, fingerprint = t.fingerprint,
            shared_fingerprint = t.shared_fingerprint, status = t.status, error = t.error, migrated_at = now()
        from jsonb_to_recordset($1) as t (
            cluster text, database text, schema text, release text, platform text, fingerprint text,
            shared_fingerprint text, status text, error text)
        where known.cluster = t.cluster and known.database = t.database and known.schema = t.schema
          and known.status <> 'stale'";
    let list = Value::Array(targets.iter().map(Target::to_json).collect());
    connection.query(UPDATE, params![list]).await.map(drop)
}

/// Records what a look found, unless a target was migrated since it was read: those that are no
/// longer what they were when they were migrated, and those that are so again. Gives the names of
/// the targets that it holds for.
pub(crate) async fn targets_seen(connection: &SystemConnection, targets: &[Target]) -> DatabaseResult<Vec<String>> {
    const UPDATE: &str = "
        update control.targets as known set
            status = case when known.status = 'drifted' then known.status else t.status end,
            error = case when known.status = 'drifted' then known.error else t.error end
        from jsonb_to_recordset($1) as t (
            cluster text, database text, schema text, release text, platform text, fingerprint text,
            shared_fingerprint text, status text, error text)
        where known.cluster = t.cluster and known.database = t.database and known.schema = t.schema
          and known.status in ('ok', 'changed', 'drifted')
          and (known.release, known.platform, known.fingerprint, known.shared_fingerprint)
            = (t.release, t.platform, t.fingerprint, t.shared_fingerprint)
        returning known.database || '/' || known.schema";
    let list = Value::Array(targets.iter().map(Target::to_json).collect());
    Ok(connection.query(UPDATE, params![list]).await?.iter().map(|row| row.get(0)).collect())
}

/// Forgets a target that is gone.
pub(crate) async fn target_delete(connection: &SystemConnection, location: &Location) -> DatabaseResult<()> {
    const DELETE: &str = "delete from control.targets where cluster = $1 and database = $2 and schema = $3";
    let Location { cluster, database, schema } = location;
    connection.query(DELETE, params![&**cluster, &**database, &**schema]).await.map(drop)
}

/// Takes a prepared target of this version for a tenant, within the caller's transaction.
pub(crate) async fn target_claim(
    connection: &SystemConnection,
    prepared: TargetKind,
    kind: TargetKind,
    tenant: TenantId,
    version: &Version,
) -> DatabaseResult<Option<Location>> {
    const CLAIM: &str = "
        update control.targets set kind = $3, tenant_id = $4
        where (cluster, database, schema) = (
            select cluster, database, schema from control.targets
            where kind = $1 and release = $2 and platform = $5 and status = 'ok' limit 1 for update skip locked)
        returning cluster, database, schema";
    let (release, platform) = (version.release.as_str(), version.platform.as_str());
    let values = params![prepared.as_str(), release, kind.as_str(), tenant, platform];
    Ok(connection.query_opt(CLAIM, values).await?.as_ref().map(location))
}

/// Reserves the name of a prepared target that is to be made, if there are fewer than wanted.
/// False if there are enough, another process is making them, or the shared tables are not on its
/// version: a process of the release before would prepare what nobody takes.
pub(crate) async fn target_reserve(
    connection: &mut SystemConnection,
    target: &Target,
    wanted: usize,
) -> DatabaseResult<bool> {
    const ALONE: &str = "select pg_try_advisory_xact_lock(hashtextextended('rowhouse prepare', 0))";
    const MISSING: &str = "
        select coalesce(count(*) filter (where kind = $1) < $4 and bool_or(kind = 'pool'), false) from control.targets
        where kind in ($1, 'pool') and release = $2 and platform = $3
          and (status = 'ok' or kind = 'pool' or status = 'making' and migrated_at > now() - interval '10 minutes')";
    connection.begin().await?;
    let alone = connection.query_opt(ALONE, &[]).await?.is_some_and(|row| row.get(0));
    let wanted = i64::try_from(wanted).unwrap_or(i64::MAX);
    let values = params![target.kind.as_str(), target.release.as_str(), target.platform.as_str(), wanted];
    let missing = connection.query_opt(MISSING, values).await?.is_some_and(|row| row.get(0));
    if !alone || !missing {
        connection.rollback().await?;
        return Ok(false);
    }
    targets_put(connection, std::slice::from_ref(target)).await?;
    connection.commit().await?;
    Ok(true)
}

/// Marks prepared targets and templates that are of no use, so that nobody takes them any more,
/// and gives them to be dropped: what a dead process left half made or half dropped and, if a
/// version is given, those of other versions.
pub(crate) async fn targets_take_useless(
    connection: &SystemConnection,
    version: Option<&Version>,
) -> DatabaseResult<Vec<Target>> {
    let take = format!(
        "update control.targets set status = 'stale', migrated_at = now()
         where (cluster, database, schema) in (
             select cluster, database, schema from control.targets
             where kind in ('template', 'prepared_schema', 'prepared_database')
               and (release <> $1 or platform <> $2
                    or status in ('making', 'stale') and migrated_at < now() - interval '10 minutes')
             for update skip locked)
         returning {COLUMNS}"
    );
    let (release, platform) = version.map(|version| (version.release.as_str(), version.platform.as_str())).unzip();
    let rows = connection.query(&take, params![release, platform]).await?;
    Ok(rows.iter().map(Target::from_row).collect())
}
