//! The saga that the tests drive: a voyage, with effects in the control database and outside it.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};

use rowhouse_jobs::{CONTROL_MIGRATIONS, Engine, ListSagas, Saga, SagaOut, SagaStatus, StepError, StepOutcome};
use rowhouse_postgres::{DatabaseError, Databases, SystemAuthority, SystemConnection, params};
use rowhouse_testkit::TestDatabases;
use rowhouse_types::ApiError;
use serde::{Deserialize, Serialize};
use serde_json::json;
use tokio::sync::Semaphore;

const TABLES: &str = "create table control.trips (ship text primary key, status text not null)";
const CARGO: &str = "create table app.cargo (ship text not null, box text not null, primary key (ship, box))";

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct State {
    pub(crate) ship: String,
    pub(crate) boxes: u32,
}

/// What a test makes go wrong.
#[derive(Default)]
pub(crate) struct Weather {
    /// The step "pack" collides so many times.
    pub(crate) collisions: AtomicU32,
    /// The step "arrive" is refused while this holds a word.
    pub(crate) refused: Mutex<Option<&'static str>>,
    /// Taking "pack" back is refused so many times.
    pub(crate) stuck: AtomicU32,
    /// The step "pack" panics so many times.
    pub(crate) panics: AtomicU32,
}

pub(crate) struct Voyage {
    databases: Arc<Databases>,
    authority: SystemAuthority,
    pub(crate) weather: Weather,
    /// The step "pack" waits for a permit; there are plenty unless a test takes them.
    pub(crate) gate: Semaphore,
    /// How often "pack" came to the gate.
    pub(crate) at_gate: AtomicU32,
    pub(crate) reversible: bool,
}

fn take_one(count: &AtomicU32) -> bool {
    count.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1)).is_ok()
}

impl Voyage {
    async fn cargo(&self) -> SystemConnection {
        self.databases.system(&self.authority.scope("test"), &self.databases.pool_location()).await.unwrap()
    }
}

impl Saga for Voyage {
    type State = State;

    fn name(&self) -> &'static str {
        "voyage"
    }

    fn steps(&self) -> &'static [&'static str] {
        &["book", "pack", "look", "arrive"]
    }

    fn is_reversible(&self) -> bool {
        self.reversible
    }

    async fn run(
        &self,
        step: &'static str,
        state: &mut State,
        control: &SystemConnection,
    ) -> Result<StepOutcome, StepError> {
        let ship = state.ship.as_str();
        match step {
            "book" => {
                let insert =
                    "insert into control.trips (ship, status) values ($1, 'booked') on conflict do nothing returning 1";
                if control.query_opt(insert, params![ship]).await?.is_none() {
                    return Err(StepError::Refused(ApiError::conflict("The ship is booked.")));
                }
                Ok(StepOutcome::Done)
            }
            "pack" => {
                self.at_gate.fetch_add(1, Ordering::SeqCst);
                drop(self.gate.acquire().await.unwrap());
                assert!(!take_one(&self.weather.panics), "the test asked for a panic");
                self.cargo()
                    .await
                    .query("insert into app.cargo values ($1, 'tea') on conflict do nothing", params![ship])
                    .await?;
                if take_one(&self.weather.collisions) {
                    return Err(DatabaseError::Collision.into());
                }
                state.boxes += 1;
                Ok(StepOutcome::DoneWith(json!({ "boxes": state.boxes })))
            }
            "look" => Ok(StepOutcome::Nothing),
            _ => {
                if let Some(word) = *self.weather.refused.lock().unwrap() {
                    return Err(StepError::Refused(ApiError::conflict(word)));
                }
                control.query("update control.trips set status = 'arrived' where ship = $1", params![ship]).await?;
                Ok(StepOutcome::Done)
            }
        }
    }

    async fn undo(&self, step: &'static str, state: &mut State, control: &SystemConnection) -> Result<(), StepError> {
        let ship = state.ship.as_str();
        match step {
            "book" => drop(control.query("delete from control.trips where ship = $1", params![ship]).await?),
            "pack" if take_one(&self.weather.stuck) => {
                return Err(StepError::Refused(ApiError::conflict("The crane is broken.")));
            }
            "pack" => drop(self.cargo().await.query("delete from app.cargo where ship = $1", params![ship]).await?),
            _ => {}
        }
        Ok(())
    }
}

/// Databases, a definition, and engines as different processes would have them.
pub(crate) struct Harbour {
    pub(crate) test: TestDatabases,
    pub(crate) voyage: Arc<Voyage>,
}

impl Harbour {
    pub(crate) async fn start() -> Self {
        let test = TestDatabases::start(&[CONTROL_MIGRATIONS]).await;
        let harbour = Self::beside(test.databases.clone(), test.authorities.system.clone());
        let harbour = Self { test, voyage: harbour };
        harbour.control().await.batch(TABLES).await.unwrap();
        harbour.voyage.cargo().await.batch(CARGO).await.unwrap();
        harbour
    }

    /// A definition for databases that exist.
    pub(crate) fn beside(databases: Arc<Databases>, authority: SystemAuthority) -> Arc<Voyage> {
        let (weather, gate, at_gate) = (Weather::default(), Semaphore::new(1), AtomicU32::new(0));
        Arc::new(Voyage { databases, authority, weather, gate, at_gate, reversible: true })
    }

    /// The same harbour with a saga that only goes forward.
    pub(crate) fn one_way(mut self) -> Self {
        Arc::get_mut(&mut self.voyage).unwrap().reversible = false;
        self
    }

    /// An engine, as another process has it.
    pub(crate) fn engine(&self) -> Engine {
        let engine = Engine::new(self.test.databases.clone(), self.test.authorities.system.clone());
        engine.register(self.voyage.clone());
        engine
    }

    pub(crate) async fn control(&self) -> SystemConnection {
        self.test.databases.control(&self.test.authorities.system.scope("test")).await.unwrap()
    }

    /// Lets every lease run out, as time would, and every wait end.
    pub(crate) async fn expire_leases(&self) {
        let expire = "update control.sagas set lease_until = now() - interval '1 second'
                      where status in ('running', 'waiting', 'compensating')";
        self.control().await.query(expire, &[]).await.unwrap();
    }

    pub(crate) fn state(&self, ship: &str) -> State {
        State { ship: ship.to_owned(), boxes: 0 }
    }

    /// The trip's status and the boxes there are.
    pub(crate) async fn seen(&self, ship: &str) -> (Option<String>, i64) {
        let trip =
            self.control().await.query_opt("select status from control.trips where ship = $1", params![ship]).await;
        let boxes =
            self.voyage.cargo().await.query("select count(*) from app.cargo where ship = $1", params![ship]).await;
        (trip.unwrap().map(|row| row.get(0)), boxes.unwrap()[0].get(0))
    }

    pub(crate) async fn sagas(&self) -> Vec<SagaOut> {
        self.engine().list(&ListSagas::default()).await.unwrap()
    }

    /// Nothing is left but, perhaps, the record of what was taken back.
    pub(crate) async fn assert_clean(&self, ship: &str, when: &str) {
        assert_eq!(self.seen(ship).await, (None, 0), "{when}");
        for saga in self.sagas().await.iter().filter(|saga| saga.subject == ship) {
            assert_eq!(saga.status, SagaStatus::Compensated, "{when}: {saga:?}");
        }
    }

    pub(crate) async fn assert_arrived(&self, ship: &str, when: &str) {
        assert_eq!(self.seen(ship).await, (Some("arrived".into()), 1), "{when}");
    }
}
