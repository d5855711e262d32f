//! Second factors: set up, demanded, used once, renewed, taken away.

use rowhouse_audit::{Actor, EntryFilter};
use rowhouse_identity::{
    Enrolment, FactorChange, Holder, Identity, IdentityError, IdentitySettings, LimitSettings, SignIn, Tokens,
};
use rowhouse_types::UserId;
use secrecy::{ExposeSecret as _, SecretString};
use totp_rs::{Builder, Secret, Totp};

use crate::{Ground, PASSWORD, device, email, refusal, sign_in};

/// Somebody's authenticator app.
pub(crate) struct App(Totp);

impl App {
    fn of(enrolment: &Enrolment) -> Self {
        let secret = Secret::try_from_base32(&enrolment.secret).unwrap();
        Self(Builder::new().with_secret(secret).with_account_name("x").build().unwrap())
    }

    /// The code of the step before: always one of a step that was used, or of none that is left.
    pub(crate) fn last_code(&self) -> SecretString {
        let step_ago = self.0.next_step_current() - 60;
        self.0.generate(step_ago).to_string().into()
    }

    pub(crate) fn code(&self) -> SecretString {
        self.0.generate_current().to_string().into()
    }
}

impl Ground {
    /// Lets the codes of this moment be used again, as if a minute had passed.
    pub(crate) async fn a_minute_later(&self) {
        self.batch("update control.second_factors set last_step = last_step - 3").await;
    }

    /// Sets a person's second factor up.
    pub(crate) async fn secure(&self, user: UserId) -> (App, Vec<SecretString>) {
        secure(&self.identity, &of_user(user)).await
    }

    async fn sign_in_with(&self, address: &str, code: SecretString) -> Result<Tokens, IdentityError> {
        self.identity.sign_in(SignIn { code: Some(code), ..sign_in(address) }).await
    }
}

async fn secure(identity: &Identity, change: &FactorChange) -> (App, Vec<SecretString>) {
    let app = App::of(&identity.enrol_second_factor(change.holder, "ann@example.com").await.unwrap());
    let codes = identity.confirm_second_factor(change, &app.code(), None).await.unwrap();
    (app, codes)
}

pub(crate) fn of_user(user: UserId) -> FactorChange {
    FactorChange { holder: Holder::User(user), actor: Actor::user(user), device: device() }
}

#[tokio::test]
async fn signing_in_takes_a_code_once_a_factor_is_confirmed() {
    let ground = Ground::start().await;
    let (ann, _) = ground.ann_of_acme().await;
    let enrolment = ground.identity.enrol_second_factor(Holder::User(ann), "ann@example.com").await.unwrap();
    assert!(
        enrolment.otpauth_uri.starts_with("otpauth://totp/Rowhouse:ann%40example.com?"),
        "{}",
        enrolment.otpauth_uri
    );
    assert!(enrolment.otpauth_uri.contains(&enrolment.secret));
    ground.sign_in("ann@example.com").await;
    let app = App::of(&enrolment);
    let wrong = ground.identity.confirm_second_factor(&of_user(ann), &"000000".into(), None).await;
    assert_eq!(refusal(wrong), "wrong code");
    let codes = ground.identity.confirm_second_factor(&of_user(ann), &app.code(), None).await.unwrap();
    assert_eq!(codes.len(), 10);
    assert_eq!(refusal(ground.identity.sign_in(sign_in("ann@example.com")).await), "mfa required");
    let wrong_password = SignIn { password: "wrong horse battery".into(), ..sign_in("ann@example.com") };
    assert_eq!(refusal(ground.identity.sign_in(wrong_password).await), "wrong credentials");
    ground.a_minute_later().await;
    let tokens = ground.sign_in_with("ann@example.com", app.code()).await.unwrap();
    assert!(ground.identity.me(&*ground.claims(&tokens).await).await.unwrap().user.mfa_enabled);
    assert_eq!(refusal(ground.identity.enrol_second_factor(Holder::User(ann), "x").await), "factor exists");
}

#[tokio::test]
async fn no_code_is_accepted_twice_not_even_at_once() {
    let ground = Ground::start().await;
    let (ann, _) = ground.ann_of_acme().await;
    let (app, codes) = ground.secure(ann).await;
    assert_eq!(
        refusal(ground.sign_in_with("ann@example.com", app.last_code()).await),
        "wrong code",
        "a later one was used"
    );
    ground.a_minute_later().await;
    for code in [app.code(), codes[0].clone()] {
        let (one, other) = tokio::join!(
            ground.sign_in_with("ann@example.com", code.clone()),
            ground.sign_in_with("ann@example.com", code)
        );
        assert!(one.is_ok() != other.is_ok(), "{one:?} {other:?}");
    }
    let carelessly = codes[1].expose_secret().to_uppercase().replace('-', " ");
    ground.sign_in_with("ann@example.com", carelessly.into()).await.unwrap();
    let left = ground.identity.second_factor(Holder::User(ann)).await.unwrap();
    assert_eq!((left.enabled, left.recovery_codes_left), (true, 8));
    let used = ground.events().await.iter().filter(|kind| *kind == "recovery_code_used").count();
    assert_eq!(used, 2);
}

#[tokio::test]
async fn guessing_codes_locks_the_account_like_guessing_passwords() {
    let ground = Ground::start().await;
    let (ann, _) = ground.ann_of_acme().await;
    let (app, _) = ground.secure(ann).await;
    let limits = LimitSettings { delay_from: 3, lock_from: 3, ..LimitSettings::default() };
    let settings = IdentitySettings { limits, ..IdentitySettings::default() };
    let identity = ground.open(ground.master.clone(), settings).await.unwrap();
    let with = |code: SecretString| SignIn { code: Some(code), ..sign_in("ann@example.com") };
    for _ in 0..3 {
        assert_eq!(refusal(identity.sign_in(with("000000".into())).await), "wrong code");
    }
    ground.a_minute_later().await;
    let elsewhere = rowhouse_identity::Device { ip: Some([198, 51, 100, 1].into()), ..device() };
    let refused = identity.sign_in(SignIn { device: elsewhere, ..with(app.code()) }).await;
    assert_eq!(refusal(refused), "too many attempts", "whoever guesses codes has shown the password");
    assert_eq!(refusal(identity.disable_second_factor(&of_user(ann), &app.code()).await), "too many attempts");
    assert_eq!(ground.kinds("ann@example.com").await, ["second_factor_locked"]);
    ground.batch("update control.attempts set blocked_until = now()").await;
    identity.sign_in(with(app.code())).await.unwrap();
    for _ in 0..3 {
        assert_eq!(refusal(identity.disable_second_factor(&of_user(ann), &"000000".into()).await), "wrong code");
    }
    assert_eq!(refusal(identity.disable_second_factor(&of_user(ann), &app.code()).await), "too many attempts");
}

#[tokio::test]
async fn changes_take_a_code_and_are_told() {
    let ground = Ground::start().await;
    let (ann, _) = ground.ann_of_acme().await;
    let (app, codes) = ground.secure(ann).await;
    ground.a_minute_later().await;
    let code = app.code();
    let renewed = ground.identity.renew_recovery_codes(&of_user(ann), &code).await.unwrap();
    let old = ground.identity.disable_second_factor(&of_user(ann), &codes[0]).await;
    assert_eq!(refusal(old), "wrong code");
    let again = ground.identity.disable_second_factor(&of_user(ann), &code).await;
    assert_eq!(refusal(again), "wrong code");
    ground.identity.disable_second_factor(&of_user(ann), &renewed[0]).await.unwrap();
    ground.sign_in("ann@example.com").await;
    assert_eq!(refusal(ground.identity.renew_recovery_codes(&of_user(ann), &renewed[1]).await), "wrong code");
    let entries = ground.audit.entries(&EntryFilter::default()).await.unwrap();
    let told: Vec<_> = entries.iter().map(|entry| (entry.action.as_str(), entry.actor_id)).collect();
    assert_eq!(told, ["disable_mfa", "renew_recovery_codes", "enable_mfa"].map(|action| (action, Some(ann.uuid()))));
    let events = ground.recorded().await;
    assert!(events.iter().all(|event| event.user_id == Some(ann.uuid())));
    let mut kinds: Vec<_> = events.iter().rev().map(|event| event.kind.as_str()).collect();
    kinds.retain(|kind| kind.contains("mfa_") || kind.contains("recovery"));
    let expected = [
        "mfa_enabled",
        "recovery_codes_renewed",
        "mfa_failed",
        "mfa_failed",
        "recovery_code_used",
        "mfa_disabled",
        "mfa_failed",
    ];
    assert_eq!(kinds, expected);
}

#[tokio::test]
async fn a_secret_waits_an_hour_and_a_new_one_takes_its_place() {
    let ground = Ground::start().await;
    let (ann, _) = ground.ann_of_acme().await;
    let first = App::of(&ground.identity.enrol_second_factor(Holder::User(ann), "x").await.unwrap());
    let second = App::of(&ground.identity.enrol_second_factor(Holder::User(ann), "x").await.unwrap());
    let old = ground.identity.confirm_second_factor(&of_user(ann), &first.code(), None).await;
    assert_eq!(refusal(old), "wrong code");
    ground.batch("update control.second_factors set created_at = now() - interval '61 minutes'").await;
    let late = ground.identity.confirm_second_factor(&of_user(ann), &second.code(), None).await;
    assert_eq!(refusal(late), "wrong code");
}

#[tokio::test]
async fn nothing_that_is_kept_opens_an_account() {
    let ground = Ground::start().await;
    let (ann, _) = ground.ann_of_acme().await;
    let bob = ground.person("bob@example.com").await;
    let (_, codes) = ground.secure(ann).await;
    let (app, _) = ground.secure(bob).await;
    const KEPT: &str = "
        select f::text || coalesce((select string_agg(c::text, '') from control.recovery_codes c), '')
        from control.second_factors f";
    let rows = ground.control().await.query(KEPT, &[]).await.unwrap();
    let kept: String = rows.iter().map(|row| row.get::<_, String>(0)).collect();
    for code in &codes {
        assert!(!kept.contains(code.expose_secret()) && !kept.contains(&code.expose_secret().replace('-', "")));
    }
    assert_eq!(refusal(ground.sign_in_with("bob@example.com", codes[0].clone()).await), "wrong code");
    // A row's secret that is copied to another row does not open there.
    ground
        .batch("update control.second_factors set last_step = 0, sealed_secret = (select sealed_secret from control.second_factors order by created_at desc limit 1)")
        .await;
    let stolen = ground.sign_in_with("ann@example.com", app.code()).await;
    assert!(matches!(stolen, Err(IdentityError::Keys(_))), "{stolen:?}");
}

#[tokio::test]
async fn a_person_with_a_factor_shows_it_to_accept_an_invitation() {
    let ground = Ground::start().await;
    let (ann, _) = ground.ann_of_acme().await;
    let (app, _) = ground.secure(ann).await;
    let globex = ground.tenant("globex").await;
    let id = rowhouse_types::InvitationId::generate();
    let role = rowhouse_types::RoleKey::new("member");
    let connection = ground.control().await;
    rowhouse_identity::invitation_create(&connection, id, globex, &email("ann@example.com"), &role, None)
        .await
        .unwrap();
    let accept = |code| rowhouse_identity::AcceptInvitation {
        token: ground.identity.invitation_token(globex, id).expose().into(),
        password: PASSWORD.into(),
        code,
        first_name: String::new(),
        last_name: String::new(),
        device: device(),
    };
    assert_eq!(refusal(ground.identity.accept_invitation(accept(None)).await), "mfa required");
    ground.a_minute_later().await;
    assert_eq!(ground.identity.accept_invitation(accept(Some(app.code()))).await.unwrap().tenant, globex);
}

#[tokio::test]
async fn an_operator_sets_a_factor_up_before_anything_else_and_shows_it_ever_after() {
    let ground = Ground::start().await;
    let (identity, address) = (&ground.identity, email("olga@example.com"));
    identity.create_operator(&address, PASSWORD.into()).await.unwrap();
    let sign_in = async |code: Option<SecretString>| {
        identity.sign_in_operator(&address, &PASSWORD.into(), code.as_ref(), device()).await
    };
    let (first, other) = (sign_in(None).await.unwrap(), sign_in(None).await.unwrap());
    let claims = identity.verify_operator_token(&first.access_token).await.unwrap();
    assert!(first.mfa_missing && claims.mfa_missing);
    let holder = Holder::Operator(claims.operator, claims.session);
    let change = FactorChange { holder, actor: Actor::operator(claims.operator), device: device() };
    let (app, codes) = secure(identity, &change).await;
    assert!(!identity.verify_operator_token(&first.access_token).await.unwrap().mfa_missing);
    let beside = identity.verify_operator_token(&other.access_token).await.unwrap();
    assert!(beside.mfa_missing, "a session that has not shown it gains nothing");
    assert_eq!(refusal(sign_in(None).await), "mfa required");
    assert_eq!(refusal(sign_in(Some(app.last_code())).await), "wrong code");
    let second = sign_in(Some(codes[0].clone())).await.unwrap();
    assert!(!second.mfa_missing && !identity.verify_operator_token(&second.access_token).await.unwrap().mfa_missing);
    identity.disable_second_factor(&change, &codes[1]).await.unwrap();
    for token in [&first, &second] {
        assert!(identity.verify_operator_token(&token.access_token).await.unwrap().mfa_missing, "it is forced");
    }
}

#[tokio::test]
async fn a_reset_ends_the_operators_sessions_and_is_told() {
    let ground = Ground::start().await;
    let settings = IdentitySettings { mfa_demanded: false, ..IdentitySettings::default() };
    let identity = ground.open(ground.master.clone(), settings).await.unwrap();
    let address = email("olga@example.com");
    identity.create_operator(&address, PASSWORD.into()).await.unwrap();
    assert!(!identity.reset_operator_factor(&address).await.unwrap());
    let tokens = identity.sign_in_operator(&address, &PASSWORD.into(), None, device()).await.unwrap();
    let claims = identity.verify_operator_token(&tokens.access_token).await.unwrap();
    assert!(!tokens.mfa_missing && !claims.mfa_missing, "development");
    let holder = Holder::Operator(claims.operator, claims.session);
    secure(&identity, &FactorChange { holder, actor: Actor::operator(claims.operator), device: device() }).await;
    assert!(identity.reset_operator_factor(&address).await.unwrap());
    assert_eq!(refusal(identity.verify_operator_token(&tokens.access_token).await), "invalid token");
    identity.sign_in_operator(&address, &PASSWORD.into(), None, device()).await.unwrap();
    assert_eq!(refusal(identity.reset_operator_factor(&email("nobody@example.com")).await), "unknown operator");
    let entries = ground.audit.entries(&EntryFilter::default()).await.unwrap();
    assert_eq!(entries[0].action, "reset_operator_mfa");
    assert_eq!(entries[0].target, Some(format!("operator:{}", claims.operator)));
    assert!(ground.events().await.contains(&"mfa_disabled".to_owned()));
}

#[tokio::test]
async fn a_new_password_takes_no_factor_away() {
    let ground = Ground::start().await;
    let (ann, _) = ground.ann_of_acme().await;
    ground.batch("update control.users set email_verified_at = now()").await;
    let (app, _) = ground.secure(ann).await;
    ground.identity.forgot_password(&email("ann@example.com"), device()).await.unwrap();
    let token = ground.mailed_token("ann@example.com", "reset_password").await;
    ground.identity.reset_password(&token, "another horse battery".into(), &Actor::visitor(), device()).await.unwrap();
    let newly = || SignIn { password: "another horse battery".into(), ..sign_in("ann@example.com") };
    assert_eq!(refusal(ground.identity.sign_in(newly()).await), "mfa required");
    ground.a_minute_later().await;
    ground.identity.sign_in(SignIn { code: Some(app.code()), ..newly() }).await.unwrap();
}
