//! Mail domains: proved by the DNS, and joining by an address of one.

use std::sync::Arc;

use rowhouse_audit::Actor;
use rowhouse_identity::{Claims, DomainOut, Identity, IdentityError, IdentitySettings, LimitSettings, Manager};
use rowhouse_postgres::params;
use rowhouse_testkit::TestDns;
use rowhouse_types::{Grants, RoleKey, TenantId, UserId};
use uuid::Uuid;

use crate::{Ground, device, refusal};

/// A ground whose identity asks a DNS of its own.
struct Place {
    ground: Ground,
    dns: TestDns,
    identity: Identity,
}

/// An owner and their tenant.
type Owner = (UserId, TenantId);

impl Place {
    async fn start() -> Self {
        let (ground, dns) = (Ground::start().await, TestDns::start());
        let settings = IdentitySettings { dns_server: Some(dns.address), ..IdentitySettings::default() };
        let identity = ground.open(ground.master.clone(), settings).await.unwrap();
        Self { ground, dns, identity }
    }

    /// The owner of a new tenant.
    async fn owner(&self, slug: &str) -> Owner {
        let (user, tenant) = (self.ground.person(&format!("owner@{slug}.test")).await, self.ground.tenant(slug).await);
        self.ground.join(tenant, user, "owner").await;
        (user, tenant)
    }

    async fn adds(&self, (user, tenant): Owner, domain: &str, role: Option<&str>) -> Result<DomainOut, IdentityError> {
        let (actor, grants) = (Actor::user(user), Grants::built_in("owner").unwrap());
        let by = Manager { tenant, user, actor: &actor, grants: &grants };
        self.identity.add_domain(by, domain, role.map(RoleKey::new)).await
    }

    async fn proves(&self, (user, tenant): Owner, id: Uuid) -> Result<DomainOut, IdentityError> {
        let (actor, grants) = (Actor::user(user), Grants::built_in("owner").unwrap());
        let by = Manager { tenant, user, actor: &actor, grants: &grants };
        self.identity.verify_domain(by, id, &device()).await
    }

    /// A domain that is added and proved, and people join by it as viewers.
    async fn proved(&self, owner: Owner, domain: &str) -> DomainOut {
        let added = self.adds(owner, domain, Some("viewer")).await.unwrap();
        self.dns.set(&added.record.name, &[&added.record.value]);
        self.proves(owner, added.id).await.unwrap()
    }

    /// Somebody who is signed in, with a proved address or not.
    async fn person(&self, address: &str, is_proved: bool) -> Arc<Claims> {
        let user = self.ground.person(address).await;
        let prove = "update control.users set email_verified_at = case when $2 then now() end where id = $1";
        self.ground.control().await.query(prove, params![user, is_proved]).await.unwrap();
        self.ground.claims(&self.ground.sign_in(address).await).await
    }

    async fn joins(&self, claims: &Claims, tenant: &str) -> Result<TenantId, IdentityError> {
        let joined = self.identity.join_by_domain(claims, tenant, &Actor::user(claims.user), device()).await;
        joined.map(|(tenant, _)| tenant)
    }

    async fn may_join(&self, claims: &Claims) -> Vec<String> {
        self.identity.joinable(claims).await.unwrap().into_iter().map(|tenant| tenant.slug).collect()
    }
}

#[tokio::test]
async fn a_domain_is_proved_by_its_record_and_whoever_has_a_proved_address_there_joins() {
    let place = Place::start().await;
    let owner = place.owner("acme").await;
    let added = place.adds(owner, "acme.example", Some("member")).await.unwrap();
    assert_eq!((added.record.name.as_str(), added.verified_at), ("_rowhouse.acme.example", None));
    let ann = place.person("ann@acme.example", true).await;
    assert_eq!(refusal(place.proves(owner, added.id).await), "domain unproved");
    for wrong in ["rowhouse-domain=", "something else", &added.record.value.to_uppercase()] {
        place.dns.set(&added.record.name, &[wrong]);
        assert_eq!(refusal(place.proves(owner, added.id).await), "domain unproved", "{wrong}");
    }
    assert!(place.may_join(&ann).await.is_empty());
    place.dns.set(&added.record.name, &["something else", &added.record.value]);
    assert!(place.proves(owner, added.id).await.unwrap().verified_at.is_some());
    let unproved = place.person("bob@acme.example", false).await;
    let elsewhere = place.person("eve@other.example", true).await;
    let below = place.person("zoe@mail.acme.example", true).await;
    for stranger in [&unproved, &elsewhere, &below] {
        assert!(place.may_join(stranger).await.is_empty());
        assert_eq!(refusal(place.joins(stranger, "acme").await), "not found");
    }
    assert_eq!(place.may_join(&ann).await, ["acme"]);
    assert_eq!(place.joins(&ann, "acme").await.unwrap(), owner.1);
    let access = place.identity.access(ann.user, owner.1).await.unwrap().unwrap();
    assert_eq!(access.role.as_str(), "member");
    assert_eq!(refusal(place.joins(&ann, "acme").await), "not found", "a member already");
    let deeds = place.ground.deeds().await;
    for deed in ["owner@acme.test add_domain", "owner@acme.test verify_domain", "ann@acme.example join_by_domain"] {
        assert!(deeds.contains(&format!("user {deed}")), "{deeds:?}");
    }
}

#[tokio::test]
async fn who_was_shut_out_does_not_come_back_by_the_domain() {
    let place = Place::start().await;
    let owner = place.owner("acme").await;
    place.proved(owner, "acme.example").await;
    let ann = place.person("ann@acme.example", true).await;
    place.joins(&ann, "acme").await.unwrap();
    let shut_out = "update control.memberships set active = false where user_id = $1";
    place.ground.control().await.query(shut_out, params![ann.user]).await.unwrap();
    assert!(place.may_join(&ann).await.is_empty());
    assert_eq!(refusal(place.joins(&ann, "acme").await), "not found");
}

#[tokio::test]
async fn nobody_joins_once_the_record_or_the_role_is_gone() {
    let place = Place::start().await;
    let owner = place.owner("acme").await;
    let domain = place.proved(owner, "acme.example").await;
    let ann = place.person("ann@acme.example", true).await;
    place.dns.set(&domain.record.name, &[]);
    assert_eq!(refusal(place.joins(&ann, "acme").await), "not found");
    place.dns.set(&domain.record.name, &[&domain.record.value]);
    let (actor, grants) = (Actor::user(owner.0), Grants::built_in("owner").unwrap());
    let by = Manager { tenant: owner.1, user: owner.0, actor: &actor, grants: &grants };
    place.identity.change_domain(by, domain.id, None).await.unwrap();
    assert!(place.may_join(&ann).await.is_empty());
    place.identity.change_domain(by, domain.id, Some(RoleKey::new("viewer"))).await.unwrap();
    assert_eq!(place.may_join(&ann).await, ["acme"]);
    place.identity.remove_domain(&actor, owner.1, domain.id).await.unwrap();
    assert_eq!(refusal(place.joins(&ann, "acme").await), "not found");
}

#[tokio::test]
async fn a_domain_is_one_tenants_and_goes_to_whoever_proves_it_when_the_record_is_anothers() {
    let place = Place::start().await;
    let (acme, globex) = (place.owner("acme").await, place.owner("globex").await);
    let first = place.proved(acme, "shared.example").await;
    assert_eq!(refusal(place.adds(acme, "shared.example", None).await), "domain taken");
    let second = place.adds(globex, "shared.example", Some("viewer")).await.unwrap();
    assert_ne!(first.record.value, second.record.value);
    // Both records stand: whoever was first keeps it.
    place.dns.set(&first.record.name, &[&first.record.value, &second.record.value]);
    assert_eq!(refusal(place.proves(globex, second.id).await), "domain taken");
    let ann = place.person("ann@shared.example", true).await;
    assert_eq!(place.may_join(&ann).await, ["acme"]);
    place.dns.set(&first.record.name, &[&second.record.value]);
    place.proves(globex, second.id).await.unwrap();
    assert_eq!(place.may_join(&ann).await, ["globex"]);
    assert_eq!(refusal(place.proves(globex, first.id).await), "not found", "another tenant's");
}

#[tokio::test]
async fn a_domain_gives_no_more_than_who_chooses_it_holds_and_never_an_owners_place() {
    let place = Place::start().await;
    let (user, tenant) = place.owner("acme").await;
    assert_eq!(refusal(place.adds((user, tenant), "acme.example", Some("owner")).await), "role");
    assert_eq!(refusal(place.adds((user, tenant), "acme.example", Some("nobody")).await), "role");
    let actor = Actor::user(user);
    let grants = Grants::new(["organization:manage".parse().unwrap(), "leads:view".parse().unwrap()]);
    let by = Manager { tenant, user, actor: &actor, grants: &grants };
    let refused = place.identity.add_domain(by, "acme.example", Some(RoleKey::new("viewer"))).await;
    assert_eq!(refusal(refused), "role");
    for number in 0..20 {
        place.adds((user, tenant), &format!("d{number}.example"), None).await.unwrap();
    }
    assert_eq!(refusal(place.adds((user, tenant), "more.example", None).await), "too many domains");
}

#[tokio::test]
async fn a_dns_that_does_not_answer_is_told_as_such() {
    let place = Place::start().await;
    let owner = place.owner("acme").await;
    let added = place.adds(owner, "acme.example", None).await.unwrap();
    // Bound, and silent.
    let silent = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    let settings = IdentitySettings { dns_server: Some(silent.local_addr().unwrap()), ..IdentitySettings::default() };
    let identity = place.ground.open(place.ground.master.clone(), settings).await.unwrap();
    let (actor, grants) = (Actor::user(owner.0), Grants::built_in("owner").unwrap());
    let by = Manager { tenant: owner.1, user: owner.0, actor: &actor, grants: &grants };
    assert_eq!(refusal(identity.verify_domain(by, added.id, &device()).await), "dns");
}

#[tokio::test]
async fn nobody_looks_domains_up_without_end() {
    let mut place = Place::start().await;
    let owner = place.owner("acme").await;
    let added = place.adds(owner, "acme.example", Some("viewer")).await.unwrap();
    let limits = LimitSettings { attempts_max: 2, ..LimitSettings::default() };
    let settings = IdentitySettings { dns_server: Some(place.dns.address), limits, ..IdentitySettings::default() };
    place.identity = place.ground.open(place.ground.master.clone(), settings).await.unwrap();
    for _ in 0..2 {
        assert_eq!(refusal(place.proves(owner, added.id).await), "domain unproved");
    }
    assert_eq!(refusal(place.proves(owner, added.id).await), "too many attempts");
    let ann = place.person("ann@acme.example", true).await;
    assert_eq!(refusal(place.joins(&ann, "acme").await), "too many attempts", "from the same network");
}
