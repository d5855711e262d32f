//! Devices that stand for a second factor, and what ends that.

use rowhouse_audit::Actor;
use rowhouse_identity::{DeviceTrust, IdentityError, MfaPolicyPatch, SignIn, Tokens};
use rowhouse_types::UserId;
use secrecy::{ExposeSecret as _, SecretString};

use crate::second_factor::of_user;
use crate::{Ground, device, refusal, sign_in};

impl Ground {
    /// Signs Ann in with a code and trusts her device.
    async fn trusts(&self, code: &SecretString) -> Option<SecretString> {
        let trust = DeviceTrust { token: None, wanted: true };
        let sign_in = SignIn { code: Some(code.clone()), trust, ..sign_in("ann@example.com") };
        self.identity.sign_in(sign_in).await.unwrap().device_token
    }

    async fn sign_in_on(&self, address: &str, token: &SecretString) -> Result<Tokens, IdentityError> {
        let trust = DeviceTrust { token: Some(token.clone()), wanted: true };
        self.identity.sign_in(SignIn { trust, ..sign_in(address) }).await
    }

    /// Ann with a second factor, and its recovery codes.
    async fn secured(&self) -> (UserId, Vec<SecretString>) {
        let (ann, _) = self.ann_of_acme().await;
        (ann, self.secure(ann).await.1)
    }
}

#[tokio::test]
async fn a_trusted_device_signs_in_by_password_for_a_month_and_proves_no_more() {
    let ground = Ground::start().await;
    let (ann, codes) = ground.secured().await;
    let token = ground.trusts(&codes[0]).await.unwrap();
    let tokens = ground.sign_in_on("ann@example.com", &token).await.unwrap();
    assert!(tokens.device_token.is_none(), "it is trusted by a second factor only");
    let claims = ground.claims(&tokens).await;
    assert_eq!(refusal(ground.identity.require_recent_proof(claims.session).await), "step up required");
    let listed = ground.identity.trusted_devices(&claims).await.unwrap();
    assert!(listed.len() == 1 && listed[0].last_used_at.is_some(), "{listed:?}");
    let wrong = SignIn {
        password: "wrong horse battery".into(),
        trust: DeviceTrust { token: Some(token.clone()), wanted: false },
        ..sign_in("ann@example.com")
    };
    assert_eq!(refusal(ground.identity.sign_in(wrong).await), "wrong credentials");
    let bob = ground.person("bob@example.com").await;
    ground.secure(bob).await;
    assert_eq!(refusal(ground.sign_in_on("bob@example.com", &token).await), "mfa required", "another's");
    assert_eq!(refusal(ground.sign_in_on("ann@example.com", &"rh_dev_x".into()).await), "mfa required");
    let kept = "select d::text || encode(d.token_hash, 'escape') from control.trusted_devices d";
    let row = ground.control().await.query_opt(kept, &[]).await.unwrap().unwrap();
    assert!(!row.get::<_, String>(0).contains(&token.expose_secret()[7..]));
    ground.batch("update control.trusted_devices set expires_at = now()").await;
    assert_eq!(refusal(ground.sign_in_on("ann@example.com", &token).await), "mfa required");
    assert!(ground.identity.trusted_devices(&claims).await.unwrap().is_empty());
    let unasked = SignIn { code: Some(codes[1].clone()), ..sign_in("ann@example.com") };
    assert!(ground.identity.sign_in(unasked).await.unwrap().device_token.is_none());
    let _ = ann;
}

#[tokio::test]
async fn trust_ends_with_the_password_the_factor_the_sessions_and_when_it_is_taken_back() {
    let ground = Ground::start().await;
    let (ann, codes) = ground.secured().await;
    let (actor, mut codes) = (Actor::user(ann), codes.into_iter());
    let mut trusts = async || ground.trusts(&codes.next().unwrap()).await.unwrap();
    let ended = async |token: &SecretString| refusal(ground.sign_in_on("ann@example.com", token).await);
    let token = trusts().await;
    let claims = ground.claims(&ground.sign_in_on("ann@example.com", &token).await.unwrap()).await;
    let id = ground.identity.trusted_devices(&claims).await.unwrap()[0].id;
    ground.identity.revoke_device(&actor, &claims, id).await.unwrap();
    assert_eq!(ended(&token).await, "mfa required");
    assert_eq!(refusal(ground.identity.revoke_device(&actor, &claims, id).await), "not found");
    let token = trusts().await;
    assert_eq!(ground.identity.revoke_devices(&actor, &claims).await.unwrap(), 1);
    assert_eq!(ended(&token).await, "mfa required");
    let token = trusts().await;
    ground.identity.revoke_other_sessions(&actor, &claims, &device()).await.unwrap();
    assert_eq!(ended(&token).await, "mfa required");
    let token = trusts().await;
    let password = || crate::PASSWORD.into();
    ground.identity.change_password(&claims, password(), password(), &actor, device()).await.unwrap();
    assert_eq!(ended(&token).await, "mfa required");
    let (token, code) = (trusts().await, codes.next().unwrap());
    ground.identity.renew_recovery_codes(&of_user(ann), &code).await.unwrap();
    assert_eq!(ended(&token).await, "mfa required");
    let deeds = ground.deeds().await;
    assert!(deeds.contains(&"user ann@example.com revoke_device".to_owned()), "{deeds:?}");
    assert_eq!(ground.events().await.iter().filter(|kind| *kind == "device_trusted").count(), 5);
}

#[tokio::test]
async fn an_organisation_forbids_it_to_its_people() {
    let ground = Ground::start().await;
    let (ann, acme) = ground.ann_of_acme().await;
    let (_, codes) = ground.secure(ann).await;
    let token = ground.trusts(&codes[0]).await.unwrap();
    let forbid = async |forbidden: bool| {
        let patch = MfaPolicyPatch { trusted_devices: Some(!forbidden), ..MfaPolicyPatch::default() };
        ground.identity.change_mfa_policy(acme, patch, &Actor::system()).await.unwrap()
    };
    assert!(!forbid(true).await.trusted_devices);
    assert_eq!(refusal(ground.sign_in_on("ann@example.com", &token).await), "mfa required");
    assert!(ground.trusts(&codes[1]).await.is_none());
    forbid(false).await;
    ground.sign_in_on("ann@example.com", &token).await.unwrap();
    forbid(true).await;
    ground.batch("update control.memberships set active = false").await;
    ground.sign_in_on("ann@example.com", &token).await.unwrap();
}

#[tokio::test]
async fn the_oldest_devices_make_room() {
    let ground = Ground::start().await;
    let (ann, codes) = ground.secured().await;
    let first = ground.trusts(&codes[0]).await.unwrap();
    ground
        .batch(&format!(
            "insert into control.trusted_devices (id, user_id, token_hash, expires_at)
             select rowhouse.new_id(), '{ann}', decode(md5(n::text), 'hex'), now() + interval '1 day'
             from generate_series(1, 40) n"
        ))
        .await;
    ground.trusts(&codes[1]).await.unwrap();
    let claims = ground.claims(&ground.sign_in_on_any(&codes[2]).await).await;
    assert_eq!(ground.identity.trusted_devices(&claims).await.unwrap().len(), 20);
    assert_eq!(refusal(ground.sign_in_on("ann@example.com", &first).await), "mfa required");
}

impl Ground {
    async fn sign_in_on_any(&self, code: &SecretString) -> Tokens {
        let sign_in = SignIn { code: Some(code.clone()), ..sign_in("ann@example.com") };
        self.identity.sign_in(sign_in).await.unwrap()
    }
}
