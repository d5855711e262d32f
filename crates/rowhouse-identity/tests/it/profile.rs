//! What people tell of themselves.

use rowhouse_audit::Actor;
use rowhouse_identity::ProfilePatch;
use serde_json::json;

use crate::{Ground, refusal};

#[tokio::test]
async fn what_is_told_changes_the_rest_stays_and_null_takes_away() {
    let ground = Ground::start().await;
    let (ann, acme) = ground.ann_of_acme().await;
    let change = async |patch| ground.identity.change_profile(&Actor::user(ann), ann, patch).await.unwrap();
    let (told, tenants) = change(ProfilePatch {
        first_name: Some(" Anna ".into()),
        avatar_url: Some(Some("https://example.com/a.png".into())),
        phone: Some(Some("+49 30 1234".into())),
        metadata: Some(json!({ "theme": "dark" })),
        ..ProfilePatch::default()
    })
    .await;
    assert_eq!((told.first_name.as_str(), told.last_name.as_str()), ("Anna", "Smith"));
    assert_eq!((told.phone.as_deref(), &told.metadata), (Some("+49 30 1234"), &json!({ "theme": "dark" })));
    assert_eq!(tenants, [acme], "whose members are to be brought in step");
    let (told, tenants) = change(ProfilePatch { avatar_url: Some(None), ..ProfilePatch::default() }).await;
    assert_eq!((told.avatar_url, told.phone.as_deref()), (None, Some("+49 30 1234")));
    assert!(tenants.is_empty(), "no name has changed");
    for (patch, field) in [
        (ProfilePatch { first_name: Some("x".repeat(101)), ..ProfilePatch::default() }, "first_name"),
        (ProfilePatch { last_name: Some("a\nb".into()), ..ProfilePatch::default() }, "last_name"),
        (ProfilePatch { avatar_url: Some(Some("javascript:0".into())), ..ProfilePatch::default() }, "avatar_url"),
        (ProfilePatch { phone: Some(Some("call me".into())), ..ProfilePatch::default() }, "phone"),
        (ProfilePatch { metadata: Some(json!([])), ..ProfilePatch::default() }, "metadata"),
    ] {
        assert_eq!(refusal(ground.identity.change_profile(&Actor::user(ann), ann, patch).await), field);
    }
    assert_eq!(ground.deeds().await, ["user ann@example.com change_profile"; 2]);
}

#[tokio::test]
async fn the_first_steps_are_taken_once_and_kept_with_the_membership() {
    let ground = Ground::start().await;
    let (ann, acme) = ground.ann_of_acme().await;
    let globex = ground.tenant("globex").await;
    ground.batch("update control.memberships set metadata = '{\"desk\": 4}'").await;
    let member = async || {
        let found = ground.identity.member(&ground.context(acme), ann).await.unwrap().unwrap();
        (found.name.clone(), found.details.unwrap())
    };
    assert_eq!(member().await.1.onboarded_at, None);
    let onboard = async |tenant, patch, answers| {
        ground.identity.onboard_member(&Actor::user(ann), tenant, ann, patch, answers).await
    };
    let named = || ProfilePatch { first_name: Some("Anna".into()), ..ProfilePatch::default() };
    onboard(acme, named(), Some(json!({ "team": "roofs" }))).await.unwrap();
    let (name, first) = member().await;
    assert_eq!(name, "Anna Smith");
    assert_eq!(first.metadata, json!({ "desk": 4, "onboarding": { "team": "roofs" } }));
    onboard(acme, ProfilePatch::default(), Some(json!({ "team": "sales" }))).await.unwrap();
    let (_, second) = member().await;
    assert_eq!(second.onboarded_at, first.onboarded_at);
    assert_eq!(second.metadata, json!({ "desk": 4, "onboarding": { "team": "sales" } }));
    assert_eq!(refusal(onboard(acme, ProfilePatch::default(), Some(json!("roofs"))).await), "metadata");
    assert_eq!(refusal(onboard(globex, named(), None).await), "not found");
}
