//! What a person tells of themselves, and their first steps in a tenant.

use std::borrow::Cow;

use rowhouse_audit::Actor;
use rowhouse_postgres::{Param, SystemConnection, params};
use rowhouse_types::{TenantId, UserId};
use serde_json::Value;
use url::Url;

use crate::error::IdentityError;
use crate::identity::Identity;
use crate::member::{members_changed, members_changed_of};
use crate::user::{UserOut, check_name, user_get};

const AVATAR_LENGTH_MAX: usize = 2000;
const PHONE_LENGTH_MAX: usize = 40;
/// Longest object that is kept about a person or a member, in bytes of JSON.
const METADATA_BYTES_MAX: usize = 16 * 1024;

/// What a person changes of their own; the rest stays.
#[derive(Debug, Clone, Default)]
pub struct ProfilePatch {
    /// First name.
    pub first_name: Option<String>,
    /// Last name.
    pub last_name: Option<String>,
    /// Where their picture is; none for no picture any more.
    pub avatar_url: Option<Option<String>>,
    /// Their telephone; none for none any more.
    pub phone: Option<Option<String>>,
    /// What they let the app keep about them, an object.
    pub metadata: Option<Value>,
}

impl ProfilePatch {
    fn is_empty(&self) -> bool {
        let Self { first_name, last_name, avatar_url, phone, metadata } = self;
        first_name.is_none() && last_name.is_none() && avatar_url.is_none() && phone.is_none() && metadata.is_none()
    }

    fn check(&self) -> Result<(), IdentityError> {
        check_name("first_name", self.first_name.as_deref().unwrap_or_default())?;
        check_name("last_name", self.last_name.as_deref().unwrap_or_default())?;
        if let Some(Some(avatar_url)) = &self.avatar_url {
            check_avatar_url(avatar_url)?;
        }
        if let Some(Some(phone)) = &self.phone {
            check_phone(phone)?;
        }
        self.metadata.as_ref().map_or(Ok(()), check_metadata)
    }
}

/// Other people's browsers load it: from the web, and encrypted.
fn check_avatar_url(text: &str) -> Result<(), IdentityError> {
    let is_web = Url::parse(text).is_ok_and(|url| {
        url.scheme() == "https" && url.has_host() && url.username().is_empty() && url.password().is_none()
    });
    let fits = text.len() <= AVATAR_LENGTH_MAX && is_web && !text.chars().any(char::is_whitespace);
    let message = "must be an https URL of at most 2000 characters";
    if fits { Ok(()) } else { Err(IdentityError::Field { field: "avatar_url", message }) }
}

fn check_phone(text: &str) -> Result<(), IdentityError> {
    let digits = text.chars().filter(char::is_ascii_digit).count();
    let known = |letter: char| letter.is_ascii_digit() || " ()-./".contains(letter);
    let fits = (3..=20).contains(&digits)
        && text.len() <= PHONE_LENGTH_MAX
        && text.strip_prefix('+').unwrap_or(text).chars().all(known);
    let message = "must be a telephone number such as +49 30 123456";
    if fits { Ok(()) } else { Err(IdentityError::Field { field: "phone", message }) }
}

/// Judges what is kept about a person or a member.
///
/// # Errors
/// [`IdentityError::Field`].
pub(crate) fn check_metadata(value: &Value) -> Result<(), IdentityError> {
    let fits = value.is_object() && value.to_string().len() <= METADATA_BYTES_MAX && !holds_nul(value);
    let message = "must be an object of at most 16 KiB, without the character U+0000";
    if fits { Ok(()) } else { Err(IdentityError::Field { field: "metadata", message }) }
}

/// PostgreSQL keeps no such character.
fn holds_nul(value: &Value) -> bool {
    match value {
        Value::String(text) => text.contains('\0'),
        Value::Array(values) => values.iter().any(holds_nul),
        Value::Object(members) => members.iter().any(|(name, value)| name.contains('\0') || holds_nul(value)),
        Value::Null | Value::Bool(_) | Value::Number(_) => false,
    }
}

impl Identity {
    /// Changes what a person tells of themselves. Gives them, and the tenants whose members are to be
    /// brought in step (`Tenants::project_members`).
    ///
    /// # Errors
    /// [`IdentityError::Name`], [`IdentityError::Field`] for what cannot be taken.
    pub async fn change_profile(
        &self,
        actor: &Actor,
        user: UserId,
        patch: ProfilePatch,
    ) -> Result<(UserOut, Vec<TenantId>), IdentityError> {
        patch.check()?;
        let mut connection = self.control("change a profile").await?;
        connection.begin().await?;
        profile_put(&connection, user, &patch).await?;
        let is_renamed = patch.first_name.is_some() || patch.last_name.is_some();
        let tenants = if is_renamed { members_changed_of(&connection, user).await? } else { Vec::new() };
        actor.did("change_profile").on("user", user).write(&connection).await?;
        let changed = user_get(&connection, user).await?.ok_or(IdentityError::InvalidToken)?;
        connection.commit().await?;
        Ok((changed, tenants))
    }

    /// A member's first steps in a tenant: what they tell of themselves, and their answers to whatever
    /// the app asks, which are kept with the membership as `onboarding`. Once more changes both and
    /// leaves the time of the first.
    ///
    /// # Errors
    /// As for [`Self::change_profile`]; [`IdentityError::NotFound`] for who is no member.
    pub async fn onboard_member(
        &self,
        actor: &Actor,
        tenant: TenantId,
        user: UserId,
        patch: ProfilePatch,
        answers: Option<Value>,
    ) -> Result<Vec<TenantId>, IdentityError> {
        const ONBOARD: &str = "
            update control.memberships
            set onboarded_at = coalesce(onboarded_at, now()),
                metadata = case when $3::jsonb is null then metadata
                                else metadata || jsonb_build_object('onboarding', $3::jsonb) end
            where tenant_id = $1 and user_id = $2 returning 1";
        patch.check()?;
        answers.as_ref().map_or(Ok(()), check_metadata)?;
        let mut connection = self.control("take the first steps").await?;
        connection.begin().await?;
        let values = params![tenant, user, Param::Json(answers.map(Cow::Owned))];
        connection.query_opt(ONBOARD, values).await?.ok_or(IdentityError::NotFound)?;
        let mut tenants = Vec::new();
        if !patch.is_empty() {
            profile_put(&connection, user, &patch).await?;
            tenants = members_changed_of(&connection, user).await?;
        } else {
            members_changed(&connection, tenant).await?;
            tenants.push(tenant);
        }
        actor.did("onboard_member").on("user", user).on_tenant(tenant).write(&connection).await?;
        connection.commit().await?;
        Ok(tenants)
    }
}

async fn profile_put(connection: &SystemConnection, user: UserId, patch: &ProfilePatch) -> Result<(), IdentityError> {
    const PUT: &str = "
        update control.users
        set first_name = coalesce($2, first_name), last_name = coalesce($3, last_name),
            avatar_url = case when $4 then $5 else avatar_url end, phone = case when $6 then $7 else phone end,
            metadata = coalesce($8, metadata)
        where id = $1 and active";
    let ProfilePatch { first_name, last_name, avatar_url, phone, metadata } = patch;
    let values = params![
        user,
        first_name.as_deref().map(str::trim),
        last_name.as_deref().map(str::trim),
        avatar_url.is_some(),
        avatar_url.as_ref().and_then(Option::as_deref),
        phone.is_some(),
        phone.as_ref().and_then(Option::as_deref),
        Param::Json(metadata.as_ref().map(Cow::Borrowed))
    ];
    connection.query(PUT, values).await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_picture_is_on_the_web_and_encrypted() {
        for good in ["https://example.com/a.png", "https://example.com:8443/a?b=c#d", "https://bücher.example/ä.png"]
        {
            assert!(check_avatar_url(good).is_ok(), "{good}");
        }
        let long = format!("https://example.com/{}", "x".repeat(2000));
        for bad in ["", "a.png", "http://example.com/a", "javascript:alert(1)", "data:image/png;base64,AAAA", &long] {
            assert!(check_avatar_url(bad).is_err(), "{bad}");
        }
        for bad in ["https://user:secret@example.com/", "https://", "https://example.com/a b"] {
            assert!(check_avatar_url(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_telephone_number_has_digits_and_what_people_write_between_them() {
        for good in ["+49 30 123456", "(030) 12-34.56", "112", "+1/415/5550100"] {
            assert!(check_phone(good).is_ok(), "{good}");
        }
        for bad in ["", "12", "call me", "+49+30", "1".repeat(21).as_str(), "123\0", "１２３４"] {
            assert!(check_phone(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn metadata_is_an_object_of_bounded_size_that_can_be_kept() {
        for good in [json!({}), json!({ "a": { "b": [1, null, "x"] } })] {
            assert!(check_metadata(&good).is_ok(), "{good}");
        }
        let long = json!({ "a": "x".repeat(METADATA_BYTES_MAX) });
        for bad in [json!(null), json!([]), json!("x"), long, json!({ "a": ["\0"] }), json!({ "\0": 1 })] {
            assert!(check_metadata(&bad).is_err());
        }
    }
}
