//! Each layer of the isolation alone: what stands between two tenants when the other layers are
//! taken away.

use crate::isolation::{attack_everything, sees_its_own_rows_only};
use crate::service::{ACME, DEMOS, NEIGHBOUR, Place, Service};

/// What the service role can do to every table with a `tenant_id` when a statement forgets its
/// tenant, or names another. Fails on the first row that is seen, changed or accepted. A view of more
/// than one table takes no changes, whoever asks.
const ASSAULT: &str = "
do $$
declare
    target regclass;
    found bigint;
    tables integer := 0;
begin
    for target in
        select a.attrelid from pg_attribute a join pg_class c on c.oid = a.attrelid
        where a.attname = 'tenant_id' and c.relkind in ('r', 'p', 'v') and not a.attisdropped
          and has_schema_privilege(c.relnamespace, 'usage') and has_table_privilege(c.oid, 'select')
    loop
        tables := tables + 1;
        perform set_config('rowhouse.tenant_id', '', true);
        execute format('select count(*) from %s', target) into found;
        if found > 0 then raise exception '% shows % rows to nobody', target, found; end if;
        perform set_config('rowhouse.tenant_id', '{tenant}', true);
        execute format('select count(*) from %s where tenant_id <> %L', target, '{tenant}') into found;
        if found > 0 then raise exception '% shows % rows of others', target, found; end if;
        begin
            execute format('delete from %s where tenant_id = %L', target, '{victim}');
            get diagnostics found = row_count;
        exception when insufficient_privilege or object_not_in_prerequisite_state then found := 0;
        end;
        if found > 0 then raise exception '% lets others be deleted', target; end if;
        begin
            execute format('update %s set tenant_id = tenant_id where tenant_id = %L', target, '{victim}');
            get diagnostics found = row_count;
        exception when insufficient_privilege or object_not_in_prerequisite_state then found := 0;
        end;
        if found > 0 then raise exception '% lets others be changed', target; end if;
        begin
            execute format('insert into %s (tenant_id) values (%L)', target, '{victim}');
            raise exception '% takes rows for others', target;
        exception when insufficient_privilege or object_not_in_prerequisite_state then null;
        end;
    end loop;
    perform set_config('test.tables', tables::text, false);
end $$;
select current_setting('test.tables')";

fn assault(service: &Service, place: &Place, victim: &Place) -> usize {
    let sql = ASSAULT.replace("{tenant}", &place.tenant).replace("{victim}", &victim.tenant);
    let outcome = service.sql_as("rowhouse_service", &place.database, &sql);
    outcome.unwrap_or_else(|error| panic!("{}: {error}", place.database)).parse().unwrap()
}

/// Takes the predicates away: plain SQL in the role of the service, in every database.
#[tokio::test]
async fn the_policies_alone_keep_tenants_apart_on_every_table_of_every_database() {
    let service = Service::shared();
    for demo in &DEMOS {
        for victim in DEMOS.iter().filter(|victim| victim.slug != demo.slug) {
            let (place, victim) = (service.place(demo), service.place(victim));
            assert!(assault(service, &place, &victim) >= 16, "the app's tables and those of the platform");
            let control = Place { database: "rowhouse_control".into(), ..place };
            assert!(assault(service, &control, &victim) >= 1, "memberships");
        }
    }
}

/// Takes the policies away: a service whose tables have no row-level security any more.
#[tokio::test]
async fn the_predicates_alone_keep_tenants_apart_in_shared_tables() {
    const SWITCH_OFF: &str = "
        do $$
        declare target regclass;
        begin
            for target in
                select oid from pg_class
                where relrowsecurity and relnamespace in ('app'::regnamespace, 'rowhouse'::regnamespace)
            loop
                execute format('alter table %s disable row level security', target);
            end loop;
        end $$";
    let service = Service::start("solar");
    service.seed_neighbour();
    service.sql("rowhouse_data", SWITCH_OFF);
    // Schemas that are prepared meanwhile have theirs.
    let left = "select count(*) from pg_class where relrowsecurity and relnamespace = 'app'::regnamespace";
    assert_eq!(service.sql_as("rowhouse_owner", "rowhouse_data", left).unwrap(), "0");
    for demo in [&ACME, &NEIGHBOUR] {
        sees_its_own_rows_only(&service, demo).await;
    }
    attack_everything(&service, &ACME, &NEIGHBOUR).await;
    sees_its_own_rows_only(&service, &NEIGHBOUR).await;
}
