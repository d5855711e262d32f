//! The rules. Holes and proofs: `docs/isolation-rules.md`.

use super::Rule;
use crate::finding::Severity::{Error, Warning};

/// Every rule over the catalog. Rules run after completion, so what completion mends is only
/// found where somebody has undone it.
pub const RULES: &[Rule] = &[
    Rule {
        name: "tenant-id-missing",
        severity: Error,
        message: "has no tenant_id: nothing tells whose rows it holds",
        fix: "add tenant_id uuid not null default rowhouse.tenant_id(); or, if every tenant may read it, move it to migrations/shared",
        query: "select c.relname::text from a, pg_class c join pg_namespace n on n.oid = c.relnamespace
            where n.nspname = a.schema and c.relkind in ('r', 'p', 'f')
              and not exists (select 1 from pg_attribute t where t.attrelid = c.oid and t.attname = 'tenant_id' and not t.attisdropped)
            order by 1",
    },
    Rule {
        name: "tenant-id-type",
        severity: Error,
        message: "must be of type uuid",
        fix: "declare it as tenant_id uuid not null default rowhouse.tenant_id()",
        query: "select c.relname || '.tenant_id' from a, pg_class c join pg_namespace n on n.oid = c.relnamespace
            join pg_attribute t on t.attrelid = c.oid and t.attname = 'tenant_id' and not t.attisdropped
            where n.nspname = a.schema and c.relkind in ('r', 'p') and t.atttypid <> 'uuid'::regtype order by 1",
    },
    Rule {
        name: "tenant-id-nullable",
        severity: Error,
        message: "may be null: such a row belongs to nobody and escapes every key",
        fix: "alter table … alter column tenant_id set not null",
        query: "select c.relname || '.tenant_id' from a, pg_class c join pg_namespace n on n.oid = c.relnamespace
            join pg_attribute t on t.attrelid = c.oid and t.attname = 'tenant_id' and not t.attisdropped
            where n.nspname = a.schema and c.relkind in ('r', 'p') and not t.attnotnull order by 1",
    },
    Rule {
        name: "tenant-id-default",
        severity: Error,
        message: "must have the default rowhouse.tenant_id(), so that inserts land in the running tenant",
        fix: "alter table … alter column tenant_id set default rowhouse.tenant_id()",
        query: "select c.relname || '.tenant_id' from a, pg_class c join pg_namespace n on n.oid = c.relnamespace
            join pg_attribute t on t.attrelid = c.oid and t.attname = 'tenant_id' and not t.attisdropped
            left join pg_attrdef d on d.adrelid = c.oid and d.adnum = t.attnum
            where n.nspname = a.schema and c.relkind in ('r', 'p')
              and coalesce(pg_get_expr(d.adbin, d.adrelid), '') <> 'rowhouse.tenant_id()' order by 1",
    },
    Rule {
        name: "id-missing",
        severity: Error,
        message: "has no id uuid not null: records need an identifier that cannot be guessed",
        fix: "add id uuid not null default rowhouse.new_id() and make (tenant_id, id) the primary key",
        query: "select c.relname::text from a, pg_class c join pg_namespace n on n.oid = c.relnamespace
            where n.nspname = a.schema and c.relkind in ('r', 'p')
              and not exists (select 1 from pg_attribute t where t.attrelid = c.oid and t.attname = 'id'
                              and t.atttypid = 'uuid'::regtype and t.attnotnull and not t.attisdropped) order by 1",
    },
    Rule {
        name: "primary-key-missing",
        severity: Error,
        message: "has no primary key",
        fix: "add primary key (tenant_id, id)",
        query: "select c.relname::text from a, pg_class c join pg_namespace n on n.oid = c.relnamespace
            where n.nspname = a.schema and c.relkind in ('r', 'p')
              and not exists (select 1 from pg_constraint k where k.conrelid = c.oid and k.contype = 'p') order by 1",
    },
    Rule {
        name: "unique-without-tenant",
        severity: Error,
        message: "is unique across tenants: the duplicate-key error tells one tenant that another has the value",
        fix: "put tenant_id first: primary key (tenant_id, id), unique (tenant_id, email)",
        query: "select k.conname::text from a, pg_constraint k join pg_class c on c.oid = k.conrelid
            join pg_namespace n on n.oid = c.relnamespace
            where n.nspname = a.schema and k.contype in ('p', 'u')
              and not exists (select 1 from pg_attribute t where t.attrelid = c.oid and t.attname = 'tenant_id' and t.attnum = any(k.conkey))
            order by 1",
    },
    Rule {
        name: "exclusion-without-tenant",
        severity: Error,
        message: "excludes across tenants: its error tells one tenant of another's rows",
        fix: "begin the constraint with tenant_id with =",
        query: "select k.conname::text from a, pg_constraint k join pg_class c on c.oid = k.conrelid
            join pg_namespace n on n.oid = c.relnamespace
            where n.nspname = a.schema and k.contype = 'x'
              and not exists (select 1 from pg_attribute t
                              join unnest(k.conkey, k.conexclop) u(num, op) on u.num = t.attnum
                              join pg_operator o on o.oid = u.op
                              where t.attrelid = c.oid and t.attname = 'tenant_id' and o.oprname = '=') order by 1",
    },
    Rule {
        name: "index-unique-without-tenant",
        severity: Error,
        message: "is unique across tenants: the duplicate-key error tells one tenant that another has the value",
        fix: "create unique index on … (tenant_id, …)",
        query: "select i.relname::text from a, pg_index x join pg_class c on c.oid = x.indrelid
            join pg_class i on i.oid = x.indexrelid join pg_namespace n on n.oid = c.relnamespace
            where n.nspname = a.schema and x.indisunique and c.relkind in ('r', 'p')
              and not exists (select 1 from pg_constraint k where k.conindid = x.indexrelid and k.contype in ('p', 'u', 'x'))
              and not exists (select 1 from pg_attribute t where t.attrelid = c.oid and t.attname = 'tenant_id'
                              and t.attnum = any(x.indkey::int2[])) order by 1",
    },
    Rule {
        name: "foreign-key-without-tenant",
        severity: Error,
        message: "does not pair tenant_id with tenant_id: a row could point at another tenant's, and the error tells whether it exists",
        fix: "foreign key (tenant_id, x_id) references xs (tenant_id, id)",
        query: "select k.conname::text from a, pg_constraint k join pg_class c on c.oid = k.conrelid
            join pg_namespace n on n.oid = c.relnamespace
            join pg_attribute ft on ft.attrelid = k.confrelid and ft.attname = 'tenant_id' and not ft.attisdropped
            where n.nspname = a.schema and k.contype = 'f'
              and not exists (select 1 from unnest(k.conkey, k.confkey) u(num, other)
                              join pg_attribute t on t.attrelid = c.oid and t.attnum = u.num
                              where t.attname = 'tenant_id' and u.other = ft.attnum) order by 1",
    },
    Rule {
        name: "foreign-key-to-unscoped",
        severity: Error,
        message: "points at a table that is neither a tenant's nor declared shared",
        fix: "give the other table tenant_id, or move it to migrations/shared",
        query: "select k.conname::text from a, pg_constraint k join pg_class c on c.oid = k.conrelid
            join pg_namespace n on n.oid = c.relnamespace
            join pg_class f on f.oid = k.confrelid join pg_namespace fn on fn.oid = f.relnamespace
            where n.nspname = a.schema and k.contype = 'f' and fn.nspname <> 'shared'
              and not exists (select 1 from pg_attribute t where t.attrelid = f.oid and t.attname = 'tenant_id' and not t.attisdropped)
            order by 1",
    },
    Rule {
        name: "foreign-key-nulls-tenant",
        severity: Error,
        message: "would set tenant_id itself when the other row goes",
        fix: "name the column: on delete set null (x_id)",
        query: "select k.conname::text from a, pg_constraint k join pg_class c on c.oid = k.conrelid
            join pg_namespace n on n.oid = c.relnamespace
            join pg_attribute t on t.attrelid = c.oid and t.attname = 'tenant_id'
            where n.nspname = a.schema and k.contype = 'f' and t.attnum = any(k.conkey)
              and ((k.confdeltype in ('n', 'd') and (k.confdelsetcols is null or t.attnum = any(k.confdelsetcols)))
                   or k.confupdtype in ('n', 'd')) order by 1",
    },
    Rule {
        name: "rls-disabled",
        severity: Error,
        message: "has row-level security switched off",
        fix: "alter table … enable row level security; find out who switched it off",
        query: "select c.relname::text from a, pg_class c join pg_namespace n on n.oid = c.relnamespace
            where n.nspname = a.schema and c.relkind in ('r', 'p') and not c.relrowsecurity
              and exists (select 1 from pg_attribute t where t.attrelid = c.oid and t.attname = 'tenant_id' and not t.attisdropped)
            order by 1",
    },
    Rule {
        name: "policy-missing",
        severity: Error,
        message: "lacks the platform's policy, or it was changed",
        fix: "run rowhouse migrate up; find out who changed it",
        query: "select c.relname::text from a, pg_class c join pg_namespace n on n.oid = c.relnamespace
            where n.nspname = a.schema and c.relkind in ('r', 'p')
              and exists (select 1 from pg_attribute t where t.attrelid = c.oid and t.attname = 'tenant_id' and not t.attisdropped)
              and not exists (select 1 from pg_policy p where p.polrelid = c.oid and p.polname = 'rowhouse_tenant'
                              and p.polpermissive and p.polcmd = '*' and p.polroles = '{0}'::oid[]
                              and pg_get_expr(p.polqual, p.polrelid) = a.policy
                              and pg_get_expr(p.polwithcheck, p.polrelid) = a.policy) order by 1",
    },
    Rule {
        name: "foreign-policy",
        severity: Error,
        message: "is a policy beside the platform's: two permissive policies are OR-ed, and a restrictive one turns permissive on Citus",
        fix: "drop the policy",
        query: "select c.relname || '.' || p.polname from a, pg_policy p join pg_class c on c.oid = p.polrelid
            join pg_namespace n on n.oid = c.relnamespace
            where n.nspname = a.schema and p.polname <> 'rowhouse_tenant' order by 1",
    },
    Rule {
        name: "child-without-policy",
        severity: Error,
        message: "is a partition or child that can be read directly, without the policy of its parent",
        fix: "make it in the app's schema, with tenant_id, so that completion gives it the policy",
        query: "select c.oid::regclass::text from a, pg_inherits h join pg_class p on p.oid = h.inhparent
            join pg_namespace n on n.oid = p.relnamespace join pg_class c on c.oid = h.inhrelid
            where n.nspname = a.schema and c.relkind in ('r', 'p', 'f')
              and not (c.relrowsecurity and exists (select 1 from pg_policy y where y.polrelid = c.oid and y.polname = 'rowhouse_tenant'))
            order by 1",
    },
    Rule {
        name: "view-without-security-invoker",
        severity: Error,
        message: "reads its tables with its owner's rights: every tenant's rows",
        fix: "create view … with (security_invoker = true)",
        query: "select c.relname::text from a, pg_class c join pg_namespace n on n.oid = c.relnamespace
            where n.nspname = a.schema and c.relkind = 'v' and not starts_with(c.relname, 'rowhouse_scoped_')
              and not coalesce(c.reloptions && array['security_invoker=true', 'security_invoker=on', 'security_invoker=1'], false)
            order by 1",
    },
    Rule {
        name: "scoped-view-changed",
        severity: Error,
        message: "carries the platform's prefix rowhouse_scoped_ but not the tenant's predicate",
        fix: "drop it; the platform makes these views itself",
        query: "select c.relname::text from a, pg_class c join pg_namespace n on n.oid = c.relnamespace
            where n.nspname = a.schema and c.relkind in ('v', 'm', 'r', 'p') and starts_with(c.relname, 'rowhouse_scoped_')
              and (c.relkind <> 'v' or rtrim(pg_get_viewdef(c.oid), E'; \\n') !~ 'WHERE \\(?[a-z_.\"]*tenant_id = rowhouse\\.tenant_id\\(\\)\\)?$')
            order by 1",
    },
    Rule {
        name: "materialized-view",
        severity: Error,
        message: "is a materialised view: it holds every tenant's rows and knows no policies",
        fix: "make a table with tenant_id that is refreshed per tenant",
        query: "select c.relname::text from a, pg_class c join pg_namespace n on n.oid = c.relnamespace
            where n.nspname = a.schema and c.relkind = 'm' order by 1",
    },
    Rule {
        name: "foreign-table",
        severity: Error,
        message: "is a foreign table: the other server knows neither tenant nor policy",
        fix: "drop it; bring the rows in through the API or a migration",
        query: "select c.relname::text from a, pg_class c join pg_namespace n on n.oid = c.relnamespace
            where n.nspname = a.schema and c.relkind = 'f' order by 1",
    },
    Rule {
        name: "security-definer-function",
        severity: Error,
        message: "runs with its owner's rights, which see every tenant's rows",
        fix: "declare it security invoker (the default)",
        query: "select p.oid::regprocedure::text from a, pg_proc p join pg_namespace n on n.oid = p.pronamespace
            where n.nspname = a.schema and p.prosecdef order by 1",
    },
    Rule {
        name: "untrusted-language",
        severity: Error,
        message: "is written in a language other than SQL and PL/pgSQL, whose code PostgreSQL does not confine",
        fix: "write it in SQL or PL/pgSQL",
        query: "select p.oid::regprocedure::text from a, pg_proc p join pg_namespace n on n.oid = p.pronamespace
            join pg_language l on l.oid = p.prolang
            where n.nspname = a.schema and l.lanname not in ('sql', 'plpgsql') order by 1",
    },
    Rule {
        name: "function-changes-tenant",
        severity: Error,
        message: "changes the tenant, the role or the session: the ground that every policy stands on",
        fix: "leave set_config, set role, session_replication_role and row_security to the platform",
        query: "select p.oid::regprocedure::text from a, pg_proc p join pg_namespace n on n.oid = p.pronamespace
            where n.nspname = a.schema
              and (coalesce(p.prosrc, '') ~* 'set_config|set\\s+(local\\s+|session\\s+)?(rowhouse\\.|role\\M|session)|row_security|session_replication_role'
                   or exists (select 1 from unnest(p.proconfig) g where g ~* '^(rowhouse\\.|role|row_security|session_replication_role)'))
            order by 1",
    },
    Rule {
        name: "dynamic-sql-in-function",
        severity: Warning,
        message: "runs SQL that is put together at run time; nobody can check what it touches",
        fix: "write the statement out, or quote with format('%I', …) and review it",
        query: "select p.oid::regprocedure::text from a, pg_proc p join pg_namespace n on n.oid = p.pronamespace
            join pg_language l on l.oid = p.prolang
            where n.nspname = a.schema and l.lanname = 'plpgsql' and p.prosrc ~* '\\mexecute\\M' order by 1",
    },
    Rule {
        name: "session-channel",
        severity: Warning,
        message: "uses a thing that all tenants of a database share: NOTIFY channels, advisory locks or large objects",
        fix: "use the change feed instead of NOTIFY; key advisory locks by tenant",
        query: "select p.oid::regprocedure::text from a, pg_proc p join pg_namespace n on n.oid = p.pronamespace
            where n.nspname = a.schema and p.prosrc ~* '\\mpg_notify\\M|\\mnotify\\M|pg_advisory|\\mlo_' order by 1",
    },
    Rule {
        name: "large-object",
        severity: Error,
        message: "refers to a large object, which has no policy and a number that can be guessed",
        fix: "use bytea, or the platform's files",
        query: "select c.relname || '.' || t.attname from a, pg_class c join pg_namespace n on n.oid = c.relnamespace
            join pg_attribute t on t.attrelid = c.oid and t.attnum > 0 and not t.attisdropped
            where n.nspname = a.schema and c.relkind in ('r', 'p') and t.atttypid = 'oid'::regtype order by 1",
    },
    Rule {
        name: "sequence-id",
        severity: Error,
        message: "takes its value from a sequence, which all tenants share: its gaps count the others' rows",
        fix: "use uuid default rowhouse.new_id(); number per tenant in the app if people need numbers",
        query: "select c.relname || '.' || t.attname from a, pg_class c join pg_namespace n on n.oid = c.relnamespace
            join pg_attribute t on t.attrelid = c.oid and t.attnum > 0 and not t.attisdropped
            left join pg_attrdef d on d.adrelid = c.oid and d.adnum = t.attnum
            where n.nspname = a.schema and c.relkind in ('r', 'p')
              and (t.attidentity <> '' or pg_get_expr(d.adbin, d.adrelid) ~ 'nextval\\(') order by 1",
    },
    Rule {
        name: "tenant-index-missing",
        severity: Error,
        message: "is a foreign key without an index that starts with tenant_id: deletes and joins read other tenants' pages",
        fix: "create index on … (tenant_id, x_id), or run rowhouse migrate up",
        query: "select k.conname::text from a, pg_constraint k join pg_class c on c.oid = k.conrelid
            join pg_namespace n on n.oid = c.relnamespace
            join pg_attribute t on t.attrelid = c.oid and t.attname = 'tenant_id'
            where n.nspname = a.schema and k.contype = 'f' and t.attnum = any(k.conkey)
              and not exists (select 1 from pg_index x where x.indrelid = c.oid and x.indkey[0] = t.attnum
                              and x.indpred is null and x.indkey::int2[] @> k.conkey) order by 1",
    },
    Rule {
        name: "grant-beyond-need",
        severity: Error,
        message: "is granted more than select, insert, update and delete to the service role (TRUNCATE ignores policies; REFERENCES and TRIGGER let others reach in), or anything to public or to another role",
        fix: "revoke it; completion grants what is needed",
        query: "select distinct c.relname || ' to ' || case when x.grantee = 0 then 'public' else pg_get_userbyid(x.grantee)::text end || ': ' || lower(x.privilege_type)
            from a, pg_class c join pg_namespace n on n.oid = c.relnamespace
            cross join lateral (
                select * from aclexplode(c.relacl)
                union all
                select y.* from pg_attribute t cross join lateral aclexplode(t.attacl) y where t.attrelid = c.oid
            ) x
            where n.nspname = a.schema and c.relkind in ('r', 'p', 'v', 'm', 'S') and x.grantee <> c.relowner
              and not (x.grantee <> 0 and pg_get_userbyid(x.grantee) = a.service and x.privilege_type in ('SELECT', 'INSERT', 'UPDATE', 'DELETE') and c.relkind in ('r', 'p'))
              and not (x.grantee <> 0 and pg_get_userbyid(x.grantee) in (a.service, a.reader) and x.privilege_type = 'SELECT')
            order by 1",
    },
    Rule {
        name: "role-powerful",
        severity: Error,
        message: "must own nothing, be a member of nothing, and have no attribute beyond LOGIN: such a role is not subject to policies",
        fix: "alter role … nosuperuser nobypassrls nocreaterole nocreatedb noreplication; revoke its memberships",
        query: "select r.rolname::text from a, pg_roles r
            where r.rolname in (a.service, a.reader)
              and (r.rolsuper or r.rolbypassrls or r.rolcreaterole or r.rolcreatedb or r.rolreplication
                   or exists (select 1 from pg_auth_members m where m.member = r.oid)
                   or exists (select 1 from pg_class c where c.relowner = r.oid)) order by 1",
    },
    Rule {
        name: "rule",
        severity: Error,
        message: "is a rewrite rule: it changes statements behind the policies' back",
        fix: "use a trigger",
        query: "select c.relname || '.' || r.rulename from a, pg_rewrite r join pg_class c on c.oid = r.ev_class
            join pg_namespace n on n.oid = c.relnamespace
            where n.nspname = a.schema and r.rulename <> '_RETURN' order by 1",
    },
    Rule {
        name: "event-trigger",
        severity: Error,
        message: "is an event trigger: it runs in everybody's DDL, the platform's too",
        fix: "drop it",
        query: "select e.evtname::text from a, pg_event_trigger e order by 1",
    },
    Rule {
        name: "publication",
        severity: Error,
        message: "publishes rows past every policy to whoever subscribes",
        fix: "drop it; use the change feed",
        query: "select p.pubname::text from a, pg_publication p where not starts_with(p.pubname, 'rowhouse_') order by 1",
    },
    Rule {
        name: "extension-unsafe",
        severity: Error,
        message: "is an extension that opens connections or files past every policy",
        fix: "drop extension …",
        query: "select e.extname::text from a, pg_extension e
            where e.extname in ('dblink', 'postgres_fdw', 'file_fdw', 'adminpack', 'pg_read_file', 'lo', 'plpython3u', 'plperlu', 'pltclu', 'pg_cron', 'http')
            order by 1",
    },
    Rule {
        name: "object-outside-schema",
        severity: Error,
        message: "lies outside the app's schema, where nothing is completed or checked",
        fix: "name tables and functions without a schema in migrations; shared reference tables go to migrations/shared",
        query: "select n.nspname || '.' || o.name from a, pg_namespace n join (
                select relnamespace as ns, relname::text as name, oid, 'pg_class'::regclass as class from pg_class where relkind in ('r', 'p', 'v', 'm', 'S', 'f')
                union all select pronamespace, proname::text || '()', oid, 'pg_proc'::regclass from pg_proc
            ) o on o.ns = n.oid
            where n.nspname not in (a.schema, 'app', 'shared', 'pg_catalog', 'information_schema', 'pg_toast')
              and n.nspname !~ '^(s_[0-9a-f]{8,}|pg_temp_.*|pg_toast_temp_.*)$'
              and not exists (select 1 from pg_depend d where d.classid = o.class and d.objid = o.oid and d.deptype = 'e')
              and not (n.nspname = 'rowhouse' and o.name in ('members', '_migrations', '_probe', 'tenant_id()', 'new_id()', 'demo_rows()', 'demo_id()', 'demo_number()', 'demo_pick()'))
            order by 1",
    },
    Rule {
        name: "shared-table-scoped",
        severity: Error,
        message: "lies in schema shared but has tenant_id: every tenant reads it",
        fix: "move it to the app's migrations",
        query: "select 'shared.' || c.relname from a, pg_class c join pg_namespace n on n.oid = c.relnamespace
            join pg_attribute t on t.attrelid = c.oid and t.attname = 'tenant_id' and not t.attisdropped
            where n.nspname = 'shared' order by 1",
    },
    Rule {
        name: "unlogged-table",
        severity: Warning,
        message: "is unlogged: it is emptied by a crash and absent from backups and moves",
        fix: "alter table … set logged",
        query: "select c.relname::text from a, pg_class c join pg_namespace n on n.oid = c.relnamespace
            where n.nspname = a.schema and c.relkind in ('r', 'p') and c.relpersistence = 'u' order by 1",
    },
];
