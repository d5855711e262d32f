//! Targets: the schemas that carry the app's tables.

use rowhouse_postgres::{DatabaseResult, Location, Row, SystemConnection, params};
use rowhouse_types::TenantId;
use serde::Serialize;
use uuid::Uuid;

/// What a target is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum TargetKind {
    /// The shared tables of pool placement.
    Pool,
    /// A tenant's own schema.
    Schema,
    /// A tenant's own database.
    Database,
    /// A schema kept for the next tenant.
    PreparedSchema,
    /// A database kept for the next tenant.
    PreparedDatabase,
}

impl TargetKind {
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Pool => "pool",
            Self::Schema => "schema",
            Self::Database => "database",
            Self::PreparedSchema => "prepared_schema",
            Self::PreparedDatabase => "prepared_database",
        }
    }

    fn parse(word: &str) -> Self {
        match word {
            "schema" => Self::Schema,
            "database" => Self::Database,
            "prepared_schema" => Self::PreparedSchema,
            "prepared_database" => Self::PreparedDatabase,
            _ => Self::Pool,
        }
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
    /// The release it is on.
    pub release: String,
    /// Its schema's fingerprint.
    pub fingerprint: String,
    /// Why the last migration failed.
    pub error: Option<String>,
}

fn target(row: &Row) -> Target {
    let (cluster, database, schema): (String, String, String) = (row.get(0), row.get(1), row.get(2));
    Target {
        location: Location::new(&cluster, &database, &schema),
        kind: TargetKind::parse(&row.get::<_, String>(3)),
        tenant: row.get::<_, Option<Uuid>>(4).map(TenantId::from_uuid),
        release: row.get(5),
        fingerprint: row.get(6),
        error: row.get(7),
    }
}

/// Every target, in a stable order.
pub(crate) async fn targets_list(connection: &SystemConnection) -> DatabaseResult<Vec<Target>> {
    const LIST: &str = "
        select cluster, database, schema, kind, tenant_id, release, fingerprint, error
        from control.targets order by kind <> 'pool', cluster, database, schema";
    Ok(connection.query(LIST, &[]).await?.iter().map(target).collect())
}

/// Those that are not on this release, or failed.
pub(crate) async fn targets_behind(connection: &SystemConnection, release: &str) -> DatabaseResult<Vec<Target>> {
    const LIST: &str = "
        select cluster, database, schema, kind, tenant_id, release, fingerprint, error
        from control.targets where release <> $1 or status = 'failed' order by kind <> 'pool', cluster, database, schema";
    Ok(connection.query(LIST, params![release]).await?.iter().map(target).collect())
}

/// Records a target's state.
pub(crate) async fn target_put(connection: &SystemConnection, target: &Target) -> DatabaseResult<()> {
    const PUT: &str = "
        insert into control.targets (cluster, database, schema, kind, tenant_id, release, fingerprint, status, error)
        values ($1, $2, $3, $4, $5, $6, $7, case when $8::text is null then 'ok' else 'failed' end, $8)
        on conflict (cluster, database, schema) do update set
            kind = excluded.kind, tenant_id = excluded.tenant_id, release = excluded.release,
            fingerprint = excluded.fingerprint, status = excluded.status, error = excluded.error, migrated_at = now()";
    let Location { cluster, database, schema } = &target.location;
    let values = params![
        &**cluster,
        &**database,
        &**schema,
        target.kind.as_str(),
        target.tenant,
        target.release.as_str(),
        target.fingerprint.as_str(),
        target.error.as_deref()
    ];
    connection.query(PUT, values).await.map(drop)
}

/// Forgets a target that is gone.
pub(crate) async fn target_delete(connection: &SystemConnection, location: &Location) -> DatabaseResult<()> {
    const DELETE: &str = "delete from control.targets where cluster = $1 and database = $2 and schema = $3";
    let Location { cluster, database, schema } = location;
    connection.query(DELETE, params![&**cluster, &**database, &**schema]).await.map(drop)
}

/// Takes a prepared target of this release for a tenant, within the caller's transaction.
pub(crate) async fn target_claim(
    connection: &SystemConnection,
    prepared: TargetKind,
    kind: TargetKind,
    tenant: TenantId,
    release: &str,
) -> DatabaseResult<Option<Location>> {
    const CLAIM: &str = "
        update control.targets set kind = $3, tenant_id = $4
        where (cluster, database, schema) = (
            select cluster, database, schema from control.targets
            where kind = $1 and release = $2 and status = 'ok' limit 1 for update skip locked)
        returning cluster, database, schema";
    let row = connection.query_opt(CLAIM, params![prepared.as_str(), release, kind.as_str(), tenant]).await?;
    Ok(row.map(|row| {
        let (cluster, database, schema): (String, String, String) = (row.get(0), row.get(1), row.get(2));
        Location::new(&cluster, &database, &schema)
    }))
}
