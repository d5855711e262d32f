//! Suspending and serving again: which changes are possible, and that every process learns of them.

use rowhouse_tenants::{Placement, TenantStatus};
use rowhouse_types::{ErrorCode, TenantId};

use crate::town::{Town, provision};

#[tokio::test]
async fn a_suspended_tenant_is_served_again_and_both_may_be_asked_for_twice() {
    let town = Town::start().await;
    let tenants = town.open().await;
    let id = provision(&tenants, "acme", Placement::Pool).await.id;
    for _ in 0..2 {
        assert_eq!(tenants.suspend(id).await.unwrap().status, TenantStatus::Suspended);
        assert_eq!(tenants.find("acme").await.unwrap().unwrap().status, TenantStatus::Suspended);
    }
    for _ in 0..2 {
        assert_eq!(tenants.reactivate(id).await.unwrap().status, TenantStatus::Active);
        assert_eq!(tenants.find("acme").await.unwrap().unwrap().status, TenantStatus::Active);
    }
}

#[tokio::test]
async fn a_tenant_that_is_not_there_is_not_found_and_one_that_is_being_deleted_says_so() {
    let town = Town::start().await;
    let tenants = town.open().await;
    let absent = TenantId::generate();
    assert_eq!(tenants.suspend(absent).await.unwrap_err().code, ErrorCode::NotFound);
    let id = provision(&tenants, "acme", Placement::Pool).await.id;
    town.control().await.query("update control.tenants set status = 'deleting'", &[]).await.unwrap();
    for refused in [tenants.suspend(id).await, tenants.reactivate(id).await] {
        let error = refused.unwrap_err();
        assert_eq!(error.code, ErrorCode::Conflict);
        assert!(error.message.contains("deleting"), "{error}");
    }
    town.control().await.query("update control.tenants set status = 'archived'", &[]).await.unwrap();
    assert_eq!(tenants.reactivate(id).await.unwrap_err().code, ErrorCode::NotFound);
}
