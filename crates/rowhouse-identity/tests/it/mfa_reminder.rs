//! Reminders of a second factor that will be demanded, and the way back for who has lost theirs.

use rowhouse_audit::{Actor, EntryFilter};
use rowhouse_identity::{DemandedOf, Holder, IdentitySettings};
use rowhouse_types::UserId;

use crate::{Ground, email, refusal, sign_in};

impl Ground {
    /// Reminds, in as many processes at once. Gives how many mails were queued.
    async fn remind(&self, processes: usize) -> usize {
        let others: Vec<_> =
            futures_util::future::join_all((0..processes).map(|_| self.other_process())).await.into_iter().collect();
        let queued = futures_util::future::join_all(others.iter().map(|process| process.remind_of_mfa())).await;
        queued.into_iter().map(Result::unwrap).sum()
    }
}

#[tokio::test]
async fn whoever_must_have_a_factor_is_reminded_three_days_before_and_one_day_before() {
    let ground = Ground::start().await;
    let (ann, acme) = ground.ann_of_acme().await;
    let viewer = ground.person("viewer@example.com").await;
    ground.join(acme, viewer, "viewer").await;
    assert_eq!(ground.remind(1).await, 0);
    ground.were_asked("3 days 23 hours").await;
    assert_eq!(ground.remind(1).await, 0);
    ground.were_asked("2 hours").await;
    assert_eq!(ground.remind(3).await, 1, "once over all processes");
    assert_eq!(ground.remind(1).await, 0);
    let letters = ground.letters("ann@example.com").await;
    assert_eq!(letters[0].kind, "mfa_reminder");
    assert!(letters[0].text.contains("In 2 days") && letters[0].text.contains("Acme"), "{}", letters[0].text);
    assert!(letters[0].text.contains("http://localhost:8080/account/security"), "{}", letters[0].text);
    ground.were_asked("1 day 20 hours").await;
    ground.batch("update control.memberships set mfa_reminded_at = mfa_reminded_at - interval '1 day 20 hours'").await;
    assert_eq!(ground.remind(1).await, 0);
    ground.were_asked("6 hours").await;
    ground.batch("update control.memberships set mfa_reminded_at = mfa_reminded_at - interval '6 hours'").await;
    assert_eq!(ground.remind(2).await, 1);
    assert_eq!(ground.remind(1).await, 0);
    ground.were_asked("1 day").await;
    assert_eq!(ground.remind(1).await, 0, "it is too late");
    assert_eq!(ground.kinds("ann@example.com").await, ["mfa_reminder"; 2]);
    assert!(ground.letters("viewer@example.com").await.is_empty());
    let _ = ann;
}

#[tokio::test]
async fn nobody_is_reminded_who_has_one_or_is_not_asked() {
    let ground = Ground::start().await;
    let (ann, acme) = ground.ann_of_acme().await;
    ground.were_asked("6 days 12 hours").await;
    let settings = IdentitySettings { mfa_demanded: false, ..IdentitySettings::default() };
    assert_eq!(ground.open(ground.master.clone(), settings).await.unwrap().remind_of_mfa().await.unwrap(), 0);
    ground.demand(acme, DemandedOf::Nobody, 7).await;
    assert_eq!(ground.remind(1).await, 0);
    // A short grace: who has just been told is not reminded in the same breath.
    ground.demand(acme, DemandedOf::Everybody, 2).await;
    assert_eq!(ground.remind(1).await, 0);
    ground.were_asked("1 day 1 hour").await;
    ground.secure(ann).await;
    assert_eq!(ground.remind(1).await, 0);
    ground.identity.reset_user_factor(&Actor::system(), ann).await.unwrap();
    assert_eq!(ground.remind(1).await, 1);
}

#[tokio::test]
async fn many_are_reminded_in_one_go() {
    let ground = Ground::start().await;
    let (_, acme) = ground.ann_of_acme().await;
    ground
        .batch(&format!(
            "insert into control.users (id, email)
             select rowhouse.new_id(), 'p' || n || '@example.com' from generate_series(1, 450) n;
             insert into control.memberships (tenant_id, user_id, role)
             select '{acme}', id, case when email < 'p3' then 'viewer' else 'admin' end from control.users
             where email like 'p%'"
        ))
        .await;
    ground.were_asked("5 days").await;
    let admins = "select count(*) from control.memberships where role in ('owner', 'admin')";
    let admins: i64 = ground.control().await.query_opt(admins, &[]).await.unwrap().unwrap().get(0);
    assert_eq!(ground.remind(1).await, usize::try_from(admins).unwrap());
}

#[tokio::test]
async fn an_operator_takes_a_lost_factor_away_and_its_person_is_told() {
    let ground = Ground::start().await;
    let (ann, _) = ground.ann_of_acme().await;
    let operator = Actor::operator(UserId::generate());
    assert!(!ground.identity.reset_user_factor(&operator, ann).await.unwrap(), "there is none");
    let tokens = ground.sign_in("ann@example.com").await;
    ground.secure(ann).await;
    assert!(ground.identity.reset_user_factor(&operator, ann).await.unwrap());
    assert!(ground.identity.verify_access_token(&tokens.access_token).await.is_err(), "its sessions have ended");
    ground.identity.sign_in(sign_in("ann@example.com")).await.unwrap();
    assert!(!ground.identity.second_factor(Holder::User(ann)).await.unwrap().enabled);
    assert_eq!(ground.kinds("ann@example.com").await, ["second_factor_reset"]);
    let entries = ground.audit.entries(&EntryFilter::default()).await.unwrap();
    assert_eq!((entries[0].action.as_str(), entries[0].actor_kind.as_str()), ("reset_mfa", "operator"));
    assert!(ground.events().await.contains(&"mfa_disabled".to_owned()));
    let nobody = ground.identity.reset_user_factor(&operator, UserId::generate()).await;
    assert_eq!(refusal(nobody), "not found");
    let nobody = ground.identity.reset_user_factor_of(&operator, &email("nobody@example.com")).await;
    assert_eq!(refusal(nobody), "not found");
}
