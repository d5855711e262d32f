//! Whatever happens to a saga, in the end it is done or nothing of it is left.

use std::sync::atomic::Ordering;

use rowhouse_jobs::{Failpoint, SagaFailure, SagaStatus, failpoint_names, set_failpoint};

use crate::voyage::Harbour;

#[tokio::test]
async fn a_saga_that_succeeds_records_every_step_in_order() {
    let harbour = Harbour::start().await;
    let ended = harbour.engine().run(&*harbour.voyage, "argo", None, harbour.state("argo")).await.unwrap();
    assert_eq!(ended.boxes, 1);
    harbour.assert_arrived("argo", "").await;
    let saga = harbour.engine().get(harbour.sagas().await[0].id).await.unwrap().unwrap();
    assert_eq!(saga.status, SagaStatus::Succeeded);
    assert!(saga.finished_at.is_some());
    let steps: Vec<_> = saga.steps.iter().map(|step| (step.name.as_str(), step.status.as_str())).collect();
    assert_eq!(steps, [("book", "done"), ("pack", "done"), ("look", "done"), ("arrive", "done")]);
    assert_eq!(saga.steps[1].output, Some(serde_json::json!({ "boxes": 1 })));
}

#[tokio::test]
async fn a_step_that_fails_anywhere_leaves_a_clean_slate() {
    let harbour = Harbour::start().await;
    for name in failpoint_names(&*harbour.voyage) {
        set_failpoint(&name, &name, Failpoint::Error);
        let failed = harbour.engine().run(&*harbour.voyage, &name, None, harbour.state(&name)).await;
        if name == "voyage-arrive-after" {
            assert!(failed.is_ok(), "what has succeeded cannot fail any more: {failed:?}");
            harbour.assert_arrived(&name, &name).await;
            continue;
        }
        assert!(matches!(&failed, Err(SagaFailure::Refused(error)) if error.message.contains(&name)), "{failed:?}");
        harbour.assert_clean(&name, &name).await;
    }
}

#[tokio::test]
async fn a_saga_refused_at_its_first_step_leaves_no_trace() {
    let harbour = Harbour::start().await;
    harbour.engine().run(&*harbour.voyage, "argo", None, harbour.state("argo")).await.unwrap();
    let second = harbour.engine().run(&*harbour.voyage, "argo", None, harbour.state("argo")).await;
    assert!(matches!(second, Err(SagaFailure::Refused(_))), "{second:?}");
    assert_eq!(harbour.sagas().await.len(), 1);
    harbour.assert_arrived("argo", "the first is untouched").await;
}

/// "Unrecorded" lies between the effect and its record, so this also repeats every step.
#[tokio::test]
async fn killed_at_any_failpoint_another_process_brings_the_saga_to_its_end() {
    let harbour = Harbour::start().await;
    for name in failpoint_names(&*harbour.voyage) {
        set_failpoint(&name, &name, Failpoint::Crash);
        let crashed = harbour.engine().run(&*harbour.voyage, &name, None, harbour.state(&name)).await;
        assert!(matches!(crashed, Err(SagaFailure::Crashed)), "{crashed:?}");
        assert_eq!(harbour.engine().take_over().await.unwrap(), 0, "{name}: the lease still holds");
        harbour.expire_leases().await;
        match harbour.engine().take_over().await.unwrap() {
            // It died before its first commit, and nobody knows of it, or after its last.
            0 if name == "voyage-arrive-after" => harbour.assert_arrived(&name, &name).await,
            0 => {
                assert!(["voyage-book-before", "voyage-book-unrecorded"].contains(&&*name), "{name}");
                assert_eq!(harbour.seen(&name).await, (None, 0), "{name}");
            }
            _ => harbour.assert_arrived(&name, &name).await,
        }
    }
}

#[tokio::test]
async fn killed_on_the_way_back_another_process_goes_on_taking_back() {
    let harbour = Harbour::start().await;
    for step in ["arrive", "look", "pack", "book"] {
        for place in ["undo-before", "undo-unrecorded"] {
            let name = format!("voyage-{step}-{place}");
            set_failpoint("voyage-arrive-before", &name, Failpoint::Error);
            set_failpoint(&name, &name, Failpoint::Crash);
            let crashed = harbour.engine().run(&*harbour.voyage, &name, None, harbour.state(&name)).await;
            assert!(matches!(crashed, Err(SagaFailure::Crashed)), "{name}: {crashed:?}");
            harbour.expire_leases().await;
            assert_eq!(harbour.engine().take_over().await.unwrap(), 1, "{name}");
            harbour.assert_clean(&name, &name).await;
        }
    }
}

/// A request may be dropped at any await point, and a process may die there.
#[tokio::test]
async fn dropped_at_any_poll_a_saga_is_brought_to_its_end_by_another_process() {
    let harbour = Harbour::start().await;
    // Warm connections make the number of polls a matter of the saga alone.
    harbour.engine().run(&*harbour.voyage, "first", None, harbour.state("first")).await.unwrap();
    let mut ended_by_itself = false;
    for polls in 0.. {
        let ship = format!("ship-{polls}");
        let engine = harbour.engine();
        let mut work = Box::pin(engine.run(&*harbour.voyage, &ship, None, harbour.state(&ship)));
        let mut left = polls;
        std::future::poll_fn(|context| {
            if left == 0 {
                return std::task::Poll::Ready(());
            }
            left -= 1;
            let ready = work.as_mut().poll(context).is_ready();
            ended_by_itself = ready;
            if ready { std::task::Poll::Ready(()) } else { std::task::Poll::Pending }
        })
        .await;
        drop(work);
        settle(&harbour).await;
        let (trip, boxes) = harbour.seen(&ship).await;
        match trip.as_deref() {
            None => assert_eq!(boxes, 0, "{ship}"),
            Some(status) => assert_eq!((status, boxes), ("arrived", 1), "{ship}"),
        }
        if ended_by_itself {
            return;
        }
    }
}

/// Takes over until nothing is under way: the session of a dropped step may still be ending.
async fn settle(harbour: &Harbour) {
    loop {
        harbour.expire_leases().await;
        harbour.engine().take_over().await.unwrap();
        if harbour.sagas().await.iter().all(|saga| saga.status.is_final()) {
            return;
        }
    }
}

#[tokio::test]
async fn a_step_that_collides_is_tried_again() {
    let harbour = Harbour::start().await;
    harbour.voyage.weather.collisions.store(3, Ordering::SeqCst);
    let ended = harbour.engine().run(&*harbour.voyage, "argo", None, harbour.state("argo")).await.unwrap();
    assert_eq!(ended.boxes, 1, "a failed attempt must not leave its state");
    harbour.assert_arrived("argo", "").await;
}

#[tokio::test]
async fn a_caller_is_told_soon_while_a_worker_waits_until_the_failure_passes() {
    let harbour = Harbour::start().await;
    harbour.voyage.weather.collisions.store(4, Ordering::SeqCst);
    let failed = harbour.engine().run(&*harbour.voyage, "argo", None, harbour.state("argo")).await;
    assert!(matches!(failed, Err(SagaFailure::Database(_))), "{failed:?}");
    harbour.assert_clean("argo", "a caller").await;

    set_failpoint("voyage-pack-before", "bark", Failpoint::Crash);
    let crashed = harbour.engine().run(&*harbour.voyage, "bark", None, harbour.state("bark")).await;
    assert!(matches!(crashed, Err(SagaFailure::Crashed)));
    harbour.voyage.weather.collisions.store(4, Ordering::SeqCst);
    harbour.expire_leases().await;
    harbour.engine().take_over().await.unwrap();
    let waiting = &harbour.sagas().await[0];
    assert_eq!((waiting.status, waiting.attempts), (SagaStatus::Waiting, 1));
    assert_eq!(harbour.engine().take_over().await.unwrap(), 0, "it waits");
    harbour.expire_leases().await;
    harbour.engine().take_over().await.unwrap();
    harbour.assert_arrived("bark", "a worker").await;
}

/// A process that was paused longer than its lease wakes up and must not go on.
#[tokio::test]
async fn whoever_lost_the_lease_records_nothing_more() {
    let harbour = Harbour::start().await;
    let permit = harbour.voyage.gate.acquire().await.unwrap();
    let paused = {
        let (engine, voyage, state) = (harbour.engine(), harbour.voyage.clone(), harbour.state("argo"));
        tokio::spawn(async move { engine.run(&*voyage, "argo", None, state).await })
    };
    while harbour.voyage.at_gate.load(Ordering::SeqCst) == 0 {
        tokio::task::yield_now().await;
    }
    harbour.expire_leases().await;
    // The paused step's session still holds the saga: the other engine waits for its end.
    let other = harbour.engine();
    other.take_over().await.unwrap();
    assert_eq!(harbour.sagas().await[0].status, SagaStatus::Waiting);
    drop(permit);
    let lost = paused.await.unwrap();
    assert!(matches!(lost, Err(SagaFailure::LeaseLost)), "{lost:?}");
    harbour.expire_leases().await;
    other.take_over().await.unwrap();
    harbour.assert_arrived("argo", "").await;
    let saga = other.get(harbour.sagas().await[0].id).await.unwrap().unwrap();
    assert_eq!(saga.steps.iter().filter(|step| step.name == "pack" && step.status == "done").count(), 1);
}

#[tokio::test]
async fn a_saga_started_within_a_transaction_exists_only_if_that_commits() {
    let harbour = Harbour::start().await;
    let engine = harbour.engine();
    let mut control = harbour.control().await;
    control.begin().await.unwrap();
    let lost = engine.start(&control, &*harbour.voyage, "argo", None, harbour.state("argo")).await.unwrap();
    control.rollback().await.unwrap();
    let refused = engine.drive(&*harbour.voyage, lost).await;
    assert!(matches!(refused, Err(SagaFailure::LeaseLost)), "{refused:?}");
    assert_eq!(harbour.seen("argo").await, (None, 0));

    control.begin().await.unwrap();
    let kept = engine.start(&control, &*harbour.voyage, "argo", None, harbour.state("argo")).await.unwrap();
    control.commit().await.unwrap();
    let id = kept.id();
    assert_eq!(harbour.engine().take_over().await.unwrap(), 0, "it is leased to the engine that started it");
    engine.drive(&*harbour.voyage, kept).await.unwrap();
    harbour.assert_arrived("argo", "").await;
    assert_eq!(engine.get(id).await.unwrap().unwrap().status, SagaStatus::Succeeded);
}
