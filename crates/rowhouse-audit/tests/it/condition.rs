//! Alerts of conditions: what a look finds again and again.

use rowhouse_audit::{Actor, Alert, AlertFilter, Condition, Severity, conditions_record};
use rowhouse_types::UserId;

use crate::Ground;

const KIND: &str = "schema_drift";

/// Subjects with their states.
type Found<'a> = &'a [(&'a str, &'a str)];

impl Ground {
    /// What a look found, and whose alerts are new.
    async fn look(&self, found: Found<'_>) -> Vec<String> {
        let condition = |&(subject, state): &(&str, &str)| Condition {
            subject: subject.to_owned(),
            state: state.to_owned(),
            title: format!("{subject} is {state}"),
        };
        let found: Vec<Condition> = found.iter().map(condition).collect();
        let mut control = self.control().await;
        control.begin().await.unwrap();
        let mut raised = conditions_record(&control, KIND, Severity::High, &found).await.unwrap();
        control.commit().await.unwrap();
        raised.sort();
        raised
    }

    /// The newest first.
    async fn conditions(&self) -> Vec<Alert> {
        self.audit.alerts(&AlertFilter::default()).await.unwrap()
    }

    async fn take_note(&self) {
        let by = Actor::operator(UserId::generate());
        assert!(self.audit.acknowledge_alert(self.conditions().await[0].id, &by).await.unwrap());
    }
}

#[tokio::test]
async fn each_subject_has_one_alert_as_long_as_it_is_open() {
    let ground = Ground::start().await;
    assert_eq!(ground.look(&[]).await, [""; 0]);
    assert_eq!(ground.look(&[("b", "red"), ("a", "red")]).await, ["a", "b"]);
    assert_eq!(ground.look(&[("b", "red"), ("a", "blue")]).await, [""; 0], "another state is still the open one");
    let alerts = ground.conditions().await;
    let mut told: Vec<_> = alerts.iter().map(|alert| (alert.title.as_str(), alert.count)).collect();
    told.sort_unstable();
    assert_eq!(told, [("a is blue", 2), ("b is red", 2)]);
    let Alert { kind, severity, tenant_id, user_id, .. } = &alerts[0];
    assert_eq!((kind.as_str(), severity.as_str(), *tenant_id, *user_id), (KIND, "high", None, None));
    assert!(alerts.iter().all(|alert| alert.ended_at.is_none()));
    ground.look(&[("a", "blue")]).await;
    let ended: Vec<_> = ground.conditions().await.into_iter().filter(|alert| alert.ended_at.is_some()).collect();
    assert_eq!(ended.iter().map(|alert| alert.subject.as_str()).collect::<Vec<_>>(), ["b"]);
    assert_eq!(ground.look(&[("a", "blue"), ("b", "red")]).await, [""; 0], "it is back, and nobody has taken note yet");
    let alerts = ground.conditions().await;
    assert!(alerts.len() == 2 && alerts.iter().all(|alert| alert.ended_at.is_none()), "{alerts:?}");
}

#[tokio::test]
async fn what_was_taken_note_of_is_raised_again_only_when_it_has_changed_or_is_back() {
    let ground = Ground::start().await;
    ground.look(&[("a", "red")]).await;
    ground.take_note().await;
    for _ in 0..2 {
        assert_eq!(ground.look(&[("a", "red")]).await, [""; 0], "it lasts");
    }
    assert_eq!(ground.look(&[("a", "blue")]).await, ["a"], "it has changed");
    ground.take_note().await;
    assert_eq!(ground.look(&[("a", "blue")]).await, [""; 0]);
    assert_eq!(ground.look(&[("a", "red")]).await, ["a"], "it has changed back");
    ground.take_note().await;
    assert_eq!(ground.look(&[]).await, [""; 0]);
    assert!(ground.conditions().await.iter().all(|alert| alert.ended_at.is_some()));
    assert_eq!(ground.look(&[("a", "red")]).await, ["a"], "it is back");
    assert_eq!(ground.conditions().await.len(), 4);
}
