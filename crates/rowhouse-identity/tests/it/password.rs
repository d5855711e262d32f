//! New passwords: by a link in a mail, and with the old one.

use rowhouse_audit::Actor;
use rowhouse_identity::{IdentitySettings, PasswordCost, SignIn, Tokens};
use rowhouse_types::MasterKey;
use secrecy::{ExposeSecret as _, SecretString};

use crate::{Ground, device, email, refusal, sign_in};

const NEW: &str = "another horse battery";

fn by() -> Actor {
    Actor::visitor().in_request("request-1")
}

fn sign_in_newly(address: &str) -> SignIn {
    SignIn { password: NEW.into(), ..sign_in(address) }
}

impl Ground {
    async fn forgot(&self, address: &str) -> SecretString {
        self.identity.forgot_password(&email(address), device()).await.unwrap();
        self.mailed_token(address, "reset_password").await
    }

    async fn reset(&self, token: &SecretString) -> Result<(), rowhouse_identity::IdentityError> {
        self.identity.reset_password(token, NEW.into(), &by(), device()).await
    }

    /// Waits until so many statements wait for another that holds a person's row.
    async fn waits_for_a_person(&self, statements: i64) {
        const WAITING: &str = "
            select count(*) from pg_stat_activity
            where datname = current_database() and wait_event_type = 'Lock' and query ilike '%update control.users%'";
        let connection = self.control().await;
        while connection.query_opt(WAITING, &[]).await.unwrap().unwrap().get::<_, i64>(0) < statements {}
    }

    async fn is_signed_out(&self, tokens: &Tokens) -> bool {
        let access = self.identity.verify_access_token(&tokens.access_token).await.is_err();
        let elsewhere = self.other_process().await.verify_access_token(&tokens.access_token).await.is_err();
        assert_eq!(access, elsewhere);
        assert_eq!(self.identity.refresh(&tokens.refresh_token, device()).await.is_err(), access);
        access
    }
}

#[tokio::test]
async fn a_link_gives_a_new_password_and_ends_every_session() {
    let ground = Ground::start().await;
    ground.ann_of_acme().await;
    let (one, two) = (ground.sign_in("ann@example.com").await, ground.sign_in("ann@example.com").await);
    // Both are remembered as alive.
    let claims = ground.claims(&one).await;
    ground.claims(&two).await;
    assert!(!ground.identity.me(&claims).await.unwrap().user.email_verified);
    let token = ground.forgot("ann@example.com").await;
    ground.reset(&token).await.unwrap();
    assert!(ground.is_signed_out(&one).await && ground.is_signed_out(&two).await);
    assert_eq!(refusal(ground.identity.sign_in(sign_in("ann@example.com")).await), "wrong credentials");
    let tokens = ground.identity.sign_in(sign_in_newly("ann@example.com")).await.unwrap();
    let me = ground.identity.me(&*ground.claims(&tokens).await).await.unwrap();
    assert!(me.user.email_verified, "who reads the address's mails has proved it");
    assert_eq!(ground.kinds("ann@example.com").await, ["password_changed", "reset_password"]);
    assert_eq!(ground.deeds().await, ["user ann@example.com reset_password"]);
    let mut events = ground.events().await;
    events.retain(|event| event.contains("password"));
    assert_eq!(events, ["password_reset", "password_reset_requested"]);
}

/// Both wait for the row of the person: the reset first, then the sign-in, whose password was right.
#[tokio::test]
async fn a_sign_in_that_a_reset_overtakes_opens_nothing() {
    let ground = Ground::start().await;
    ground.ann_of_acme().await;
    let token = ground.forgot("ann@example.com").await;
    let holder = ground.control().await;
    holder.batch("begin; select from control.users where email = 'ann@example.com' for update").await.unwrap();
    let overtaken = async {
        ground.waits_for_a_person(1).await;
        let release = async {
            ground.waits_for_a_person(2).await;
            holder.batch("commit").await.unwrap();
        };
        tokio::join!(ground.identity.sign_in(sign_in("ann@example.com")), release).0
    };
    let (reset, overtaken) = tokio::join!(ground.reset(&token), overtaken);
    reset.unwrap();
    assert_eq!(refusal(overtaken), "wrong credentials");
    let open = ground.control().await.query("select from control.sessions where revoked_at is null", &[]).await;
    assert!(open.unwrap().is_empty());
}

/// Whoever is shut out between the check of the password and the session gets none.
#[tokio::test]
async fn a_sign_in_of_somebody_who_is_shut_out_meanwhile_opens_nothing() {
    let ground = Ground::start().await;
    ground.ann_of_acme().await;
    let holder = ground.control().await;
    holder.batch("begin; update control.users set active = false").await.unwrap();
    let release = async {
        ground.waits_for_a_person(1).await;
        holder.batch("commit").await.unwrap();
    };
    let (signed_in, ()) = tokio::join!(ground.identity.sign_in(sign_in("ann@example.com")), release);
    assert_eq!(refusal(signed_in), "wrong credentials");
}

#[tokio::test]
async fn a_link_is_good_once() {
    let ground = Ground::start().await;
    ground.ann_of_acme().await;
    let token = ground.forgot("ann@example.com").await;
    let (one, two) = tokio::join!(ground.reset(&token), ground.reset(&token));
    assert_eq!([&one, &two].iter().filter(|outcome| outcome.is_ok()).count(), 1);
    assert_eq!(refusal(ground.reset(&token).await), "invalid link");
    assert!(ground.events().await.contains(&"link_refused".to_owned()));
}

#[tokio::test]
async fn a_link_ends_after_an_hour_and_with_every_other_when_one_is_used() {
    let ground = Ground::start().await;
    ground.ann_of_acme().await;
    let (first, second) = (ground.forgot("ann@example.com").await, ground.forgot("ann@example.com").await);
    ground.reset(&second).await.unwrap();
    assert_eq!(refusal(ground.reset(&first).await), "invalid link");
    let third = ground.forgot("ann@example.com").await;
    ground.links_were_made("59 minutes").await;
    ground.links_were_made("1 minute").await;
    assert_eq!(refusal(ground.reset(&third).await), "invalid link");
    let fourth = ground.forgot("ann@example.com").await;
    ground.links_were_made("59 minutes").await;
    ground.reset(&fourth).await.unwrap();
}

#[tokio::test]
async fn what_was_made_up_is_no_link() {
    let ground = Ground::start().await;
    ground.ann_of_acme().await;
    let token = ground.forgot("ann@example.com").await;
    let payload = [&[1][..], &[7; 32]].concat();
    for forged in [
        String::new(),
        "rh_link_".to_owned(),
        token.expose_secret().replace("rh_link_", ""),
        format!("rh_link_{}", MasterKey::generate().signer("mail link").sign(&payload)),
        // Signed by us, but never sent.
        format!("rh_link_{}", ground.master.signer("mail link").sign(&payload)),
        // Of another purpose.
        format!("rh_link_{}", ground.master.signer("mail link").sign(&[&[4][..], &[7; 32]].concat())),
    ] {
        assert_eq!(refusal(ground.reset(&forged.clone().into()).await), "invalid link", "{forged}");
    }
    ground.reset(&token).await.unwrap();
}

#[tokio::test]
async fn a_password_that_cannot_be_taken_leaves_the_link_good() {
    let ground = Ground::start().await;
    ground.ann_of_acme().await;
    let token = ground.forgot("ann@example.com").await;
    let short = ground.identity.reset_password(&token, "short".into(), &by(), device()).await;
    assert_eq!(refusal(short), "password");
    ground.reset(&token).await.unwrap();
}

#[tokio::test]
async fn an_address_without_an_account_leaves_the_same_behind_but_no_mail() {
    let ground = Ground::start().await;
    let (ann, _) = ground.ann_of_acme().await;
    ground.forgot("ann@example.com").await;
    for address in ["nobody@example.com", "ann@example.com"] {
        ground.identity.forgot_password(&email(address), device()).await.unwrap();
    }
    assert_eq!(ground.links("nobody@example.com").await, [false]);
    assert_eq!(ground.links("ann@example.com").await, [true, true]);
    assert!(ground.letters("nobody@example.com").await.is_empty());
    let users: Vec<_> = ground.recorded().await.into_iter().map(|event| event.user_id).collect();
    assert_eq!(users, [Some(ann.uuid()), None, Some(ann.uuid())]);
}

#[tokio::test]
async fn who_is_shut_out_gets_no_link_and_cannot_use_one() {
    let ground = Ground::start().await;
    ground.ann_of_acme().await;
    let token = ground.forgot("ann@example.com").await;
    ground.batch("update control.users set active = false").await;
    assert_eq!(refusal(ground.reset(&token).await), "invalid link");
    ground.identity.forgot_password(&email("ann@example.com"), device()).await.unwrap();
    assert_eq!(ground.letters("ann@example.com").await.len(), 1);
}

#[tokio::test]
async fn a_letter_box_cannot_be_filled_and_old_links_are_swept() {
    let ground = Ground::start().await;
    ground.ann_of_acme().await;
    for address in ["ann@example.com", "nobody@example.com"] {
        for _ in 0..7 {
            ground.identity.forgot_password(&email(address), device()).await.unwrap();
        }
        assert_eq!(ground.links(address).await.len(), 5, "{address}");
    }
    assert_eq!(ground.letters("ann@example.com").await.len(), 5);
    ground.links_were_made("61 minutes").await;
    ground.reset(&ground.forgot("ann@example.com").await).await.unwrap();
    assert!(ground.links("nobody@example.com").await.is_empty());
}

#[tokio::test]
async fn a_token_is_kept_nowhere() {
    let ground = Ground::start().await;
    ground.ann_of_acme().await;
    let token = ground.forgot("ann@example.com").await;
    let random = token.expose_secret().trim_start_matches("rh_link_");
    let rows = "
        select concat(l::text, encode(l.token_hash, 'escape')) from control.mail_links l
        union all select m::text from control.mails m union all select e::text from control.security_events e";
    ground.audit.flush().await;
    let rows = ground.control().await.query(rows, &[]).await.unwrap();
    assert_eq!(rows.len(), 3);
    assert!(rows.iter().all(|row| !row.get::<_, String>(0).contains(random)));
}

#[tokio::test]
async fn the_old_password_gives_a_new_one_and_ends_every_other_session() {
    let ground = Ground::start().await;
    ground.ann_of_acme().await;
    let (here, there) = (ground.sign_in("ann@example.com").await, ground.sign_in("ann@example.com").await);
    let claims = ground.claims(&here).await;
    ground.claims(&there).await;
    let link = ground.forgot("ann@example.com").await;
    let person = Actor::user(claims.user);
    let change =
        async |old: &str| ground.identity.change_password(&claims, old.into(), NEW.into(), &person, device()).await;
    assert_eq!(refusal(change("wrong horse battery").await), "wrong password");
    assert!(!ground.is_signed_out(&there).await);
    change(crate::PASSWORD).await.unwrap();
    ground.claims(&here).await;
    assert!(ground.is_signed_out(&there).await);
    assert_eq!(refusal(ground.identity.sign_in(sign_in("ann@example.com")).await), "wrong credentials");
    ground.identity.sign_in(sign_in_newly("ann@example.com")).await.unwrap();
    assert_eq!(refusal(ground.reset(&link).await), "invalid link", "a link that was asked for before");
    assert_eq!(ground.kinds("ann@example.com").await, ["password_changed", "reset_password"]);
    assert_eq!(ground.deeds().await, ["user ann@example.com change_password"]);
    let events = ground.events().await;
    for kind in ["password_check_failed", "password_changed"] {
        assert_eq!(events.iter().filter(|event| *event == kind).count(), 1, "{kind}");
    }
}

#[tokio::test]
async fn a_password_is_taken_as_it_is() {
    let ground = Ground::start().await;
    ground.ann_of_acme().await;
    let long: String = "ab 9-".repeat(26)[..128].to_owned();
    for password in [" Mixed CASE  and blanks ", "пароль 密码 🐎🔋 σύνθημα", &long] {
        let token = ground.forgot("ann@example.com").await;
        ground.identity.reset_password(&token, password.into(), &by(), device()).await.unwrap();
        let with = |password: &str| SignIn { password: password.into(), ..sign_in("ann@example.com") };
        ground.identity.sign_in(with(password)).await.unwrap();
        let shorter: String = password.chars().take(password.chars().count() - 1).collect();
        for other in [&*password.to_lowercase().replace('σ', "Σ"), password.trim_end_matches('-'), &shorter] {
            if other != password {
                assert_eq!(refusal(ground.identity.sign_in(with(other)).await), "wrong credentials", "{other:?}");
            }
        }
        ground.batch("delete from control.attempts").await;
    }
}

/// Wherever a password is chosen: too easy for anybody, or for who knows the person.
#[tokio::test]
async fn a_password_that_is_easy_to_guess_is_taken_nowhere() {
    let ground = Ground::start().await;
    let (ann, acme) = ground.ann_of_acme().await;
    ground.batch("update control.users set last_name = 'Quartermain'").await;
    ground.batch("update control.tenants set name = 'Wolfsburg Tiefbau'").await;
    let claims = ground.claims(&ground.sign_in("ann@example.com").await).await;
    let token = ground.forgot("ann@example.com").await;
    for weak in ["password1234", "quartermain7", "wolfsburgtiefbau"] {
        let (person, old) = (Actor::user(ann), crate::PASSWORD.into());
        let change = ground.identity.change_password(&claims, old, weak.into(), &person, device()).await;
        assert_eq!(refusal(change), "password", "{weak}");
        let reset = ground.identity.reset_password(&token, weak.into(), &by(), device()).await;
        assert_eq!(refusal(reset), "password", "{weak}");
        let id = rowhouse_types::InvitationId::generate();
        let (address, role) = (email("bo.quartermain@example.com"), rowhouse_types::RoleKey::new("member"));
        rowhouse_identity::invitation_create(&ground.control().await, id, acme, &address, &role, None).await.unwrap();
        let accept = rowhouse_identity::AcceptInvitation {
            token: ground.identity.invitation_token(acme, id).expose().into(),
            password: weak.into(),
            code: None,
            first_name: "Bo".into(),
            last_name: String::new(),
            device: device(),
        };
        assert_eq!(refusal(ground.identity.accept_invitation(accept).await), "password", "{weak}");
        ground.batch("delete from control.invitations").await;
    }
    for weak in ["password1234", "olgaoperator"] {
        let made = ground.identity.create_operator(&email("olga.operator@example.com"), weak.into()).await;
        assert_eq!(refusal(made), "password", "{weak}");
    }
    ground.identity.sign_in(sign_in("ann@example.com")).await.unwrap();
    ground.reset(&token).await.unwrap();
}

#[tokio::test]
async fn the_next_sign_in_hashes_the_password_at_todays_cost() {
    const HASHES: &str = "
        select password_hash from control.users union all select password_hash from control.operators";
    let ground = Ground::start().await;
    ground.ann_of_acme().await;
    let olga = email("olga@example.com");
    ground.identity.create_operator(&olga, crate::PASSWORD.into()).await.unwrap();
    let hashes = async || {
        let rows = ground.control().await.query(HASHES, &[]).await.unwrap();
        rows.iter().map(|row| row.get(0)).collect::<Vec<String>>()
    };
    let before = hashes().await;
    ground.sign_in("ann@example.com").await;
    assert_eq!(hashes().await, before, "at the same cost it stays");
    let password_cost = PasswordCost { memory_kib: 8 * 1024, passes: 3 };
    let dearer = IdentitySettings { password_cost, ..IdentitySettings::default() };
    let dearer = ground.open(ground.master.clone(), dearer).await.unwrap();
    let wrong = SignIn { password: "wrong horse battery".into(), ..sign_in("ann@example.com") };
    assert_eq!(refusal(dearer.sign_in(wrong).await), "wrong credentials");
    assert_eq!(hashes().await, before);
    dearer.sign_in(sign_in("ann@example.com")).await.unwrap();
    dearer.sign_in_operator(&olga, &crate::PASSWORD.into(), None, device()).await.unwrap();
    let after = hashes().await;
    assert!(after.iter().all(|hash| hash.starts_with("$argon2id$v=19$m=8192,t=3,p=1$")), "{after:?}");
    // Also a process that is still of the old cost takes it, and puts its own in its place.
    ground.sign_in("ann@example.com").await;
    assert!(hashes().await[0].starts_with("$argon2id$v=19$m=19456,t=2,p=1$"));
}
