//! Limits on attempts: counted together by all processes, forgiven and forgotten; who fails is shut
//! out, and not whose account it is.

use rowhouse_audit::Actor;
use rowhouse_identity::{
    Device, Identity, IdentityError, IdentitySettings, Invite, LimitSettings, LimitedRoute, LinkSignIn, Manager, SignIn,
};
use rowhouse_postgres::params;
use rowhouse_types::{Grants, RoleKey};

use crate::{Ground, device, email, refusal, sign_in};

fn wrong(address: &str) -> SignIn {
    SignIn { password: "wrong horse battery".into(), ..sign_in(address) }
}

/// A process whose limits are reached soon.
async fn strict(ground: &Ground, limits: LimitSettings) -> Identity {
    ground.open(ground.master.clone(), IdentitySettings { limits, ..IdentitySettings::default() }).await.unwrap()
}

fn retry_after<T>(outcome: Result<T, IdentityError>) -> u32 {
    match outcome.err() {
        Some(IdentityError::TooManyAttempts { retry_after_seconds }) => retry_after_seconds,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn several_processes_count_together_and_at_once() {
    let ground = Ground::start().await;
    let limits = || LimitSettings { attempts_max: 10, ..LimitSettings::default() };
    let (one, other) = (strict(&ground, limits()).await, strict(&ground, limits()).await);
    let device = device();
    let attempts = (0..30).map(async |number| {
        let process = if number % 2 == 0 { &one } else { &other };
        process.count_attempt(LimitedRoute::SIGN_UP, Some("ann@example.com"), &device).await
    });
    let mut admitted = 0;
    for outcome in futures_util::future::join_all(attempts).await {
        match outcome {
            Ok(()) => admitted += 1,
            refused => assert!((1..=900).contains(&retry_after(refused))),
        }
    }
    assert_eq!(admitted, 10);
    let elsewhere = Device { ip: Some("192.0.2.8".parse().unwrap()), user_agent: None };
    let by_account = other.count_attempt(LimitedRoute::SIGN_UP, Some("ann@example.com"), &elsewhere).await;
    assert_eq!(refusal(by_account), "too many attempts");
    let by_address = one.count_attempt(LimitedRoute::SIGN_UP, Some("bob@example.com"), &device).await;
    assert_eq!(refusal(by_address), "too many attempts");
    one.count_attempt(LimitedRoute::SIGN_UP, Some("bob@example.com"), &elsewhere).await.unwrap();
    one.count_attempt(LimitedRoute::SIGN_IN, Some("ann@example.com"), &device).await.unwrap();
}

#[tokio::test]
async fn a_success_forgives_the_failures_before_it() {
    let ground = Ground::start().await;
    ground.ann_of_acme().await;
    let limits = LimitSettings { delay_from: 3, lock_from: 3, ..LimitSettings::default() };
    let identity = strict(&ground, limits).await;
    for _ in 0..3 {
        for _ in 0..2 {
            assert_eq!(refusal(identity.sign_in(wrong("ann@example.com")).await), "wrong credentials");
        }
        identity.sign_in(sign_in("ann@example.com")).await.unwrap();
    }
    for _ in 0..3 {
        assert_eq!(refusal(identity.sign_in(wrong("ann@example.com")).await), "wrong credentials");
    }
    assert!((1..=900).contains(&retry_after(identity.sign_in(sign_in("ann@example.com")).await)));
}

#[tokio::test]
async fn a_lock_is_told_once_for_each_failure_that_makes_one() {
    let ground = Ground::start().await;
    let (ann, _) = ground.ann_of_acme().await;
    let limits = LimitSettings { delay_from: 2, lock_from: 2, lock_seconds: 600, ..LimitSettings::default() };
    let identity = strict(&ground, limits).await;
    for _ in 0..2 {
        assert_eq!(refusal(identity.sign_in(wrong("ann@example.com")).await), "wrong credentials");
    }
    for _ in 0..3 {
        assert!((1..=600).contains(&retry_after(identity.sign_in(sign_in("ann@example.com")).await)));
    }
    let events = ground.recorded().await;
    let locks: Vec<_> = events.iter().filter(|event| event.kind == "account_locked").collect();
    assert_eq!(locks.len(), 1, "{events:?}");
    assert_eq!((locks[0].user_id, locks[0].ip.as_deref()), (Some(ann.uuid()), Some("192.0.2.7")));
    assert_eq!(
        locks[0].details,
        Some(serde_json::json!({ "route": "sign_in", "failures": 2, "from_everywhere": false }))
    );
}

#[tokio::test]
async fn a_session_may_be_refreshed_so_often_and_bad_tokens_count_for_their_address() {
    let ground = Ground::start().await;
    ground.ann_of_acme().await;
    let limits = LimitSettings { attempts_max: 5, ..LimitSettings::default() };
    let identity = strict(&ground, limits).await;
    let mut token = ground.sign_in("ann@example.com").await.refresh_token;
    for _ in 0..5 {
        token = identity.refresh(&token, device()).await.unwrap().refresh_token;
    }
    assert_eq!(refusal(identity.refresh(&token, device()).await), "too many attempts");
    let other = ground.sign_in("ann@example.com").await.refresh_token;
    for _ in 0..5 {
        assert_eq!(refusal(identity.refresh("rh_rt_AAAA", device()).await), "invalid token");
    }
    assert_eq!(refusal(identity.refresh("rh_rt_AAAA", device()).await), "too many attempts");
    identity.refresh(&other, device()).await.expect("a good token is no guess");
    ground.batch("update control.attempts set window_ends_at = now()").await;
    identity.refresh(&token, device()).await.expect("it was not used up while it had to wait");
}

#[tokio::test]
async fn what_is_counted_no_more_is_forgotten_and_names_nobody_before() {
    let ground = Ground::start().await;
    ground.ann_of_acme().await;
    assert_eq!(refusal(ground.identity.sign_in(wrong("ann@example.com")).await), "wrong credentials");
    ground.identity.sign_in(sign_in("ann@example.com")).await.unwrap();
    assert_eq!(refusal(ground.identity.sign_in(wrong("bob@example.com")).await), "wrong credentials");
    let connection = ground.control().await;
    let rows = connection.query("select a::text from control.attempts a", params![]).await.unwrap();
    let text: String = rows.iter().map(|row| row.get::<_, String>(0)).collect();
    assert_eq!(rows.len(), 5, "two accounts, from everywhere and from here, and a network: {text}");
    assert!(!text.contains("example.com") && !text.contains("192.0.2"), "{text}");
    assert_eq!(ground.identity.forget_attempts().await.unwrap(), 0);
    ground.batch("update control.attempts set window_ends_at = now() - interval '1 second'").await;
    assert_eq!(ground.identity.forget_attempts().await.unwrap(), 1, "a failure counts for a day");
    ground.batch("update control.attempts set failed_at = failed_at - interval '2 days'").await;
    assert_eq!(ground.identity.forget_attempts().await.unwrap(), 3, "all but from where Ann has signed in");
    ground.batch("update control.attempts set known_until = now() - interval '1 second'").await;
    assert_eq!(ground.identity.forget_attempts().await.unwrap(), 1);
}

/// A device in a network of its own.
fn device_in(network: u8) -> Device {
    Device { ip: Some([198, 51, 100, network].into()), ..device() }
}

fn from(network: u8, sign_in: SignIn) -> SignIn {
    SignIn { device: device_in(network), ..sign_in }
}

/// Failures of so many networks at an account, one of each.
async fn fail_from_everywhere(ground: &Ground, address: &str, networks: u8) {
    for network in 100..100 + networks {
        // Nobody waits in a test.
        ground.batch("update control.attempts set blocked_until = null").await;
        assert_eq!(refusal(ground.identity.sign_in(from(network, wrong(address))).await), "wrong credentials");
    }
}

#[tokio::test]
async fn whoever_fails_at_an_account_shuts_out_nobody_else() {
    let ground = Ground::start().await;
    ground.ann_of_acme().await;
    let limits = LimitSettings { delay_from: 3, lock_from: 3, attempts_max: 5, ..LimitSettings::default() };
    let identity = strict(&ground, limits).await;
    for _ in 0..3 {
        assert_eq!(refusal(identity.sign_in(from(1, wrong("ann@example.com"))).await), "wrong credentials");
    }
    // However often they try.
    for _ in 0..10 {
        assert!((1..=900).contains(&retry_after(identity.sign_in(from(1, sign_in("ann@example.com"))).await)));
    }
    identity.sign_in(from(2, sign_in("ann@example.com"))).await.unwrap();
    assert!(retry_after(identity.sign_in(from(1, sign_in("ann@example.com"))).await) <= 900, "not forgiven by it");
}

#[tokio::test]
async fn failures_from_everywhere_slow_down_networks_that_the_account_does_not_know() {
    let ground = Ground::start().await;
    ground.ann_of_acme().await;
    ground.identity.sign_in(from(1, sign_in("ann@example.com"))).await.unwrap();
    let mut waits = Vec::new();
    for address in ["ann@example.com", "nobody@example.com"] {
        fail_from_everywhere(&ground, address, 19).await;
        for network in 0..12 {
            ground.batch("update control.attempts set blocked_until = null").await;
            let failed = ground.identity.sign_in(from(200 + network, wrong(address))).await;
            assert_eq!(refusal(failed), "wrong credentials");
            // Further away, so that the test may take its time.
            ground.batch("update control.attempts set blocked_until = blocked_until + interval '10 minutes'").await;
            waits.push(retry_after(ground.identity.sign_in(from(2, sign_in(address))).await));
        }
    }
    let (ann, nobody) = waits.split_at(12);
    for waits in [ann, nobody] {
        for (number, wait) in waits.iter().enumerate() {
            let most = 600 + 2_u32.pow(u32::try_from(number).unwrap()).min(900);
            assert!((most - 60..=most).contains(wait), "failure {number}: {waits:?}");
        }
    }
    ground.identity.sign_in(from(1, sign_in("ann@example.com"))).await.expect("she has signed in from there before");
    let locks: Vec<_> = ground.recorded().await.into_iter().filter(|event| event.kind == "account_locked").collect();
    assert_eq!(locks.len(), 4, "twice each");
    let told = |event: &rowhouse_audit::RecordedEvent| event.details.as_ref().unwrap()["from_everywhere"] == true;
    assert!(locks.iter().all(told), "{locks:?}");
}

#[tokio::test]
async fn whoever_reads_the_accounts_mails_gets_in_whatever_others_have_tried() {
    let ground = Ground::start().await;
    ground.ann_of_acme().await;
    fail_from_everywhere(&ground, "ann@example.com", 30).await;
    assert!(retry_after(ground.identity.sign_in(from(1, sign_in("ann@example.com"))).await) <= 900);
    ground.identity.forgot_password(&email("ann@example.com"), device_in(1)).await.unwrap();
    let token = ground.mailed_token("ann@example.com", "reset_password").await;
    let by = Actor::visitor();
    ground.identity.reset_password(&token, crate::PASSWORD.into(), &by, device_in(1)).await.unwrap();
    ground.identity.sign_in(from(1, sign_in("ann@example.com"))).await.unwrap();
    assert!(retry_after(ground.identity.sign_in(from(2, sign_in("ann@example.com"))).await) <= 900);
    ground.identity.ask_for_magic_link(&email("ann@example.com"), device_in(2)).await.unwrap();
    let token = ground.mailed_token("ann@example.com", "magic_link").await;
    let by_link = LinkSignIn { token, code: None, tenant: None, device: device_in(2) };
    ground.identity.sign_in_by_link(by_link, &by).await.unwrap();
    ground.identity.sign_in(from(2, sign_in("ann@example.com"))).await.unwrap();
}

#[tokio::test]
async fn an_owner_is_written_to_of_a_lock_once_a_day_and_nobody_of_nobodys() {
    let ground = Ground::start().await;
    ground.ann_of_acme().await;
    let limits = LimitSettings { delay_from: 2, lock_from: 2, ..LimitSettings::default() };
    let identity = strict(&ground, limits).await;
    let lock = async |network, address| {
        for _ in 0..2 {
            assert_eq!(refusal(identity.sign_in(from(network, wrong(address))).await), "wrong credentials");
        }
    };
    for network in 1..=3 {
        lock(network, "ann@example.com").await;
        lock(network, "nobody@example.com").await;
    }
    let letters = ground.letters("ann@example.com").await;
    assert_eq!(letters.iter().map(|letter| letter.kind.as_str()).collect::<Vec<_>>(), ["account_locked"]);
    assert!(letters[0].text.contains("From:   198.51.100.1"), "{}", letters[0].text);
    assert!(ground.letters("nobody@example.com").await.is_empty());
    ground.batch("update control.attempts set told_at = told_at - interval '25 hours'").await;
    lock(4, "ann@example.com").await;
    assert_eq!(ground.letters("ann@example.com").await.len(), 2);
}

#[tokio::test]
async fn who_is_signed_in_cannot_guess_the_password_either() {
    let ground = Ground::start().await;
    ground.ann_of_acme().await;
    let tokens = ground.sign_in("ann@example.com").await;
    let claims = ground.claims(&tokens).await;
    let limits = LimitSettings { delay_from: 3, lock_from: 3, ..LimitSettings::default() };
    let identity = strict(&ground, limits).await;
    let by = rowhouse_audit::Actor::user(claims.user);
    let change = async |current: &str, network| {
        let new = "another horse battery".into();
        identity.change_password(&claims, current.into(), new, &by, device_in(network)).await
    };
    for network in 1..=3 {
        assert_eq!(refusal(change("wrong horse battery", network).await), "wrong password");
    }
    assert!(retry_after(change(crate::PASSWORD, 4).await) <= 900);
    let asked =
        identity.ask_to_change_email(&claims, &email("eve@example.com"), crate::PASSWORD.into(), &by, device()).await;
    assert!(retry_after(asked) <= 900);
    assert_eq!(ground.kinds("ann@example.com").await, ["account_locked"]);
    ground.sign_in("ann@example.com").await;
}

#[tokio::test]
async fn keys_that_are_refused_count_for_their_network() {
    let ground = Ground::start().await;
    let identity = strict(&ground, LimitSettings { attempts_max: 3, ..LimitSettings::default() }).await;
    let bad = async || identity.verify_api_key("rh_live_nothing", || device_in(1)).await;
    for _ in 0..3 {
        assert_eq!(refusal(bad().await), "invalid key");
    }
    assert_eq!(refusal(bad().await), "too many attempts");
    let elsewhere = identity.verify_api_key("rh_live_nothing", || device_in(2)).await;
    assert_eq!(refusal(elsewhere), "invalid key");
}

/// Who may begin a list may end it, so that a long one can be sent at all.
#[tokio::test]
async fn every_address_that_somebody_invites_counts_also_those_of_a_list_and_again() {
    let ground = Ground::start().await;
    let (ann, acme) = ground.ann_of_acme().await;
    ground.batch("update control.users set email_verified_at = now()").await;
    let identity = strict(&ground, LimitSettings { attempts_max: 5, ..LimitSettings::default() }).await;
    let (actor, grants) = (Actor::user(ann), Grants::built_in("owner").unwrap());
    let by = Manager { tenant: acme, user: ann, actor: &actor, grants: &grants };
    let to = |number| Invite { email: email(&format!("p{number}@example.com")), role: RoleKey::new("viewer") };
    let list: Vec<Invite> = (0..10).map(to).collect();
    let first = identity.invite(by, to(0), &device()).await.unwrap();
    for _ in 0..3 {
        identity.resend_invitation(by, first.id, &device()).await.unwrap();
    }
    assert!(identity.invite_many(by, &list, &device()).await.unwrap().iter().all(Result::is_ok));
    assert!((1..=900).contains(&retry_after(identity.invite(by, to(11), &device()).await)));
    let elsewhere = device_in(2);
    assert!((1..=900).contains(&retry_after(identity.invite_many(by, &list[..1], &elsewhere).await)));
    assert!((1..=900).contains(&retry_after(identity.resend_invitation(by, first.id, &elsewhere).await)));
    assert_eq!(ground.kinds("p0@example.com").await.len(), 5);
    assert_eq!(ground.kinds("p11@example.com").await.len(), 0);
}

#[tokio::test]
async fn links_that_nobody_was_sent_count_for_their_network() {
    let ground = Ground::start().await;
    let identity = strict(&ground, LimitSettings { attempts_max: 3, ..LimitSettings::default() }).await;
    let (by, token) = (Actor::visitor(), || secrecy::SecretString::from("rh_link_AAAA"));
    let by_link = || LinkSignIn { token: token(), code: None, tenant: None, device: device() };
    let accept = || rowhouse_identity::AcceptInvitation {
        token: token(),
        password: crate::PASSWORD.into(),
        code: None,
        first_name: String::new(),
        last_name: String::new(),
        device: device(),
    };
    for number in 0..5 {
        let outcomes = [
            refusal(identity.sign_in_by_link(by_link(), &by).await),
            refusal(identity.reset_password(&token(), crate::PASSWORD.into(), &by, device()).await),
            refusal(identity.verify_email(&token(), &by, device()).await),
            refusal(identity.accept_invitation(accept()).await),
        ];
        let refused = ["invalid link", "invalid link", "invalid link", "invalid invitation"];
        let expected = if number < 3 { refused } else { ["too many attempts"; 4] };
        assert_eq!(outcomes, expected, "{number}");
    }
}
