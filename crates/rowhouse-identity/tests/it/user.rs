//! People.

use rowhouse_identity::{FoundUser, NewUser, user_create, user_find_by_email};
use rowhouse_postgres::params;

use crate::{Ground, email, new_user, refusal};

#[tokio::test]
async fn a_person_is_made_once_and_found_by_address() {
    let ground = Ground::start().await;
    let connection = ground.control().await;
    let ann = user_create(&connection, &new_user("Ann@Example.com")).await.unwrap();
    assert_eq!(refusal(user_create(&connection, &new_user("ann@example.com")).await), "email taken");
    let found = user_find_by_email(&connection, &email("ANN@example.com")).await.unwrap();
    assert_eq!(found, Some(FoundUser { id: ann, active: true }));
    connection.query("update control.users set active = false where id = $1", params![ann]).await.unwrap();
    let found = user_find_by_email(&connection, &email("ann@example.com")).await.unwrap();
    assert_eq!(found, Some(FoundUser { id: ann, active: false }));
    assert_eq!(user_find_by_email(&connection, &email("bob@example.com")).await.unwrap(), None);
}

#[tokio::test]
async fn making_a_person_is_part_of_the_callers_transaction() {
    let ground = Ground::start().await;
    let mut connection = ground.control().await;
    connection.begin().await.unwrap();
    user_create(&connection, &new_user("ann@example.com")).await.unwrap();
    connection.rollback().await.unwrap();
    assert_eq!(user_find_by_email(&connection, &email("ann@example.com")).await.unwrap(), None);
}

#[tokio::test]
async fn names_that_cannot_be_shown_are_refused() {
    let ground = Ground::start().await;
    let connection = ground.control().await;
    let named = |first: &str, last: &str| NewUser {
        first_name: first.to_owned(),
        last_name: last.to_owned(),
        ..new_user("ann@example.com")
    };
    assert_eq!(refusal(user_create(&connection, &named("a\0", "b")).await), "first_name");
    assert_eq!(refusal(user_create(&connection, &named("a", "b\nBcc: c")).await), "last_name");
    assert_eq!(refusal(user_create(&connection, &named(&"x".repeat(101), "b")).await), "first_name");
    user_create(&connection, &named(&"é".repeat(100), "")).await.unwrap();
}

/// The demo's people have an empty hash: they must not be told apart from people who are not there.
#[tokio::test]
async fn an_empty_hash_is_none() {
    let ground = Ground::start().await;
    let new = NewUser { password_hash: Some(String::new()), ..new_user("ann@example.com") };
    user_create(&ground.control().await, &new).await.unwrap();
    let kept = "select password_hash from control.users";
    let row = ground.control().await.query_opt(kept, &[]).await.unwrap().unwrap();
    assert_eq!(row.get::<_, Option<String>>(0), None);
}
