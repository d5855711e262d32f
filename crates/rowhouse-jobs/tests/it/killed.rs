//! A process that really dies: the test runs itself again as a child, which a failpoint kills.

use std::path::PathBuf;
use std::process::Command;

use rowhouse_jobs::{Engine, failpoint_names};
use rowhouse_postgres::{Databases, ManagedServer, RoleNames};
use rowhouse_types::MasterKey;
use secrecy::ExposeSecret as _;

use crate::voyage::{Harbour, State};

const CHILD: &str = "ROWHOUSE_TEST_KILLED_CHILD";
const NAME: &str = "killed::a_killed_process_leaves_a_saga_that_another_brings_to_its_end";

#[tokio::test]
async fn a_killed_process_leaves_a_saga_that_another_brings_to_its_end() {
    if let Ok(place) = std::env::var(CHILD) {
        return be_killed(&place).await;
    }
    let harbour = Harbour::start().await;
    let home = harbour.test.databases.home();
    let prefix = home.roles.control_database().replace("_control", "");
    let directory = std::env::temp_dir().join(format!("rowhouse-test-{}", std::process::id()));
    for name in failpoint_names(&*harbour.voyage) {
        let key = home.master_key.to_base64();
        let place = [directory.to_str().unwrap(), &prefix, key.expose_secret(), &name].join("\n");
        let child = std::env::current_exe().unwrap();
        let (status, failpoint) = tokio::task::spawn_blocking({
            let name = name.clone();
            move || {
                let failpoint = format!("{name}=kill");
                let mut command = Command::new(child);
                command.args(["--exact", NAME]).env(CHILD, place).env("ROWHOUSE_FAILPOINTS", &failpoint);
                (command.output().unwrap().status, failpoint)
            }
        })
        .await
        .unwrap();
        assert!(!status.success(), "{failpoint} did not kill the child");
        harbour.expire_leases().await;
        let taken = harbour.engine().take_over().await.unwrap();
        let expected = match name.as_str() {
            // Before its first commit nobody knows of it; after its last there is nothing to do.
            "voyage-book-before" | "voyage-book-unrecorded" => {
                assert_eq!(harbour.seen(&name).await, (None, 0), "{name}");
                0
            }
            "voyage-arrive-after" => 0,
            _ => 1,
        };
        assert_eq!(taken, expected, "{name}");
        if !name.contains("-book-") {
            harbour.assert_arrived(&name, &name).await;
        }
    }
}

/// The child: opens the parent's databases and drives a saga until the failpoint aborts it.
async fn be_killed(place: &str) {
    let [directory, prefix, key, ship] = place.split('\n').collect::<Vec<_>>()[..] else { panic!("four lines") };
    let roles = RoleNames::new("test").with_databases(prefix);
    let key = MasterKey::from_base64(key).unwrap();
    let settings = ManagedServer::settings(&PathBuf::from(directory), roles, key).unwrap();
    let (databases, authorities) = Databases::open(settings);
    let voyage = Harbour::beside(databases.clone(), authorities.system.clone());
    let engine = Engine::new(databases, authorities.system);
    let state = State { ship: ship.to_owned(), boxes: 0 };
    drop(engine.run(&*voyage, ship, None, state).await);
}
