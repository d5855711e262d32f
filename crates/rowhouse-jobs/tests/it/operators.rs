//! What operators do with sagas: queue, watch, cancel, retry.

use std::sync::atomic::Ordering;

use rowhouse_jobs::{Failpoint, ListSagas, SagaFailure, SagaStatus, set_failpoint};
use rowhouse_types::{ErrorCode, SagaId};
use tokio::sync::oneshot;

use crate::voyage::Harbour;

#[tokio::test]
async fn a_queued_saga_is_driven_by_a_worker_which_ends_in_order() {
    let harbour = Harbour::start().await;
    let engine = harbour.engine();
    let id =
        engine.enqueue(&harbour.control().await, &*harbour.voyage, "argo", None, harbour.state("argo")).await.unwrap();
    assert_eq!(engine.get(id).await.unwrap().unwrap().status, SagaStatus::Queued);
    let permit = harbour.voyage.gate.acquire().await.unwrap();
    let (stop, stopped) = oneshot::channel::<()>();
    let work = engine.run_worker(async { drop(stopped.await) });
    let watch = async {
        while harbour.seen("argo").await.0.is_none() {
            tokio::task::yield_now().await;
        }
        // Told to stop in the middle of a step, the worker brings the saga to its end first.
        stop.send(()).unwrap();
        drop(permit);
    };
    tokio::join!(work, watch);
    harbour.assert_arrived("argo", "").await;
}

#[tokio::test]
async fn a_cancelled_saga_is_taken_back() {
    let harbour = Harbour::start().await;
    set_failpoint("voyage-look-before", "argo", Failpoint::Crash);
    let crashed = harbour.engine().run(&*harbour.voyage, "argo", None, harbour.state("argo")).await;
    assert!(matches!(crashed, Err(SagaFailure::Crashed)));
    let id = harbour.sagas().await[0].id;
    harbour.engine().cancel(id).await.unwrap();
    harbour.expire_leases().await;
    harbour.engine().take_over().await.unwrap();
    assert_eq!(harbour.seen("argo").await, (None, 0));
    assert_eq!(harbour.sagas().await[0].status, SagaStatus::Cancelled);
    let again = harbour.engine().cancel(id).await.unwrap_err();
    assert_eq!(again.code, ErrorCode::Conflict);
    let unknown = harbour.engine().cancel(SagaId::generate()).await.unwrap_err();
    assert_eq!(unknown.code, ErrorCode::NotFound);
}

#[tokio::test]
async fn cancelling_a_saga_that_is_driven_turns_it_round_at_its_next_step() {
    let harbour = Harbour::start().await;
    let permit = harbour.voyage.gate.acquire().await.unwrap();
    let engine = harbour.engine();
    let driven = engine.run(&*harbour.voyage, "argo", None, harbour.state("argo"));
    let watch = async {
        while harbour.sagas().await.is_empty() {
            tokio::task::yield_now().await;
        }
        harbour.engine().cancel(harbour.sagas().await[0].id).await.unwrap();
        drop(permit);
    };
    let (outcome, ()) = tokio::join!(driven, watch);
    assert!(matches!(outcome, Err(SagaFailure::Cancelled)), "{outcome:?}");
    assert_eq!(harbour.seen("argo").await, (None, 0));
}

#[tokio::test]
async fn a_step_that_cannot_be_taken_back_stands_as_failed_until_it_is_retried() {
    let harbour = Harbour::start().await;
    *harbour.voyage.weather.refused.lock().unwrap() = Some("The harbour is closed.");
    harbour.voyage.weather.stuck.store(1, Ordering::SeqCst);
    let failed = harbour.engine().run(&*harbour.voyage, "argo", None, harbour.state("argo")).await;
    assert!(matches!(failed, Err(SagaFailure::Unfinished(_))), "{failed:?}");
    let saga = &harbour.sagas().await[0];
    assert_eq!(saga.status, SagaStatus::Failed);
    assert_eq!(saga.error.as_ref().unwrap()["message"], "conflict: The crane is broken.");
    assert_eq!(harbour.engine().take_over().await.unwrap(), 0, "nobody drives it by himself");
    harbour.engine().retry(saga.id).await.unwrap();
    assert_eq!(harbour.engine().take_over().await.unwrap(), 1);
    harbour.assert_clean("argo", "after the retry").await;
    assert_eq!(harbour.engine().retry(saga.id).await.unwrap_err().code, ErrorCode::Conflict);
}

#[tokio::test]
async fn what_only_goes_forward_waits_fails_and_is_retried_but_never_taken_back() {
    let harbour = Harbour::start().await.one_way();
    harbour.voyage.weather.collisions.store(4, Ordering::SeqCst);
    let waiting = harbour.engine().run(&*harbour.voyage, "argo", None, harbour.state("argo")).await;
    assert!(matches!(waiting, Err(SagaFailure::Unfinished(_))), "{waiting:?}");
    assert_eq!(harbour.sagas().await[0].status, SagaStatus::Waiting);
    *harbour.voyage.weather.refused.lock().unwrap() = Some("The harbour is closed.");
    harbour.expire_leases().await;
    harbour.engine().take_over().await.unwrap();
    let saga = &harbour.sagas().await[0];
    assert_eq!(saga.status, SagaStatus::Failed);
    assert_eq!(harbour.seen("argo").await, (Some("booked".into()), 1));
    assert_eq!(harbour.engine().cancel(saga.id).await.unwrap_err().code, ErrorCode::Conflict);
    *harbour.voyage.weather.refused.lock().unwrap() = None;
    harbour.engine().retry(saga.id).await.unwrap();
    harbour.engine().take_over().await.unwrap();
    harbour.assert_arrived("argo", "after the retry").await;
}

#[tokio::test]
async fn a_panicking_step_ends_neither_the_worker_nor_is_it_tried_for_ever() {
    let harbour = Harbour::start().await;
    let engine = harbour.engine();
    for ship in ["argo", "bark"] {
        engine.enqueue(&harbour.control().await, &*harbour.voyage, ship, None, harbour.state(ship)).await.unwrap();
    }
    harbour.voyage.weather.panics.store(1, Ordering::SeqCst);
    assert_eq!(engine.take_over().await.unwrap(), 2);
    let mut found: Vec<_> = harbour.sagas().await.into_iter().map(|saga| saga.status.as_str()).collect();
    found.sort_unstable();
    assert_eq!(found, ["failed", "succeeded"]);
}

#[tokio::test]
async fn a_state_that_cannot_be_read_is_named_and_a_definition_nobody_knows_waits() {
    let harbour = Harbour::start().await;
    let engine = harbour.engine();
    for ship in ["argo", "bark"] {
        engine.enqueue(&harbour.control().await, &*harbour.voyage, ship, None, harbour.state(ship)).await.unwrap();
    }
    let spoil = "update control.sagas set state = '{}' where subject = 'argo'";
    harbour.control().await.query(spoil, &[]).await.unwrap();
    let rename = "update control.sagas set definition = 'flight' where subject = 'bark'";
    harbour.control().await.query(rename, &[]).await.unwrap();
    assert_eq!(engine.take_over().await.unwrap(), 1);
    let failed = engine.list(&ListSagas { status: Some(SagaStatus::Failed), ..ListSagas::default() }).await.unwrap();
    assert_eq!(failed.len(), 1);
    assert_eq!(failed[0].error.as_ref().unwrap()["code"], "state");
    let queued = engine.list(&ListSagas { status: Some(SagaStatus::Queued), ..ListSagas::default() }).await.unwrap();
    assert_eq!(queued[0].kind, "flight");
}
