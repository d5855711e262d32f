//! Why the people of a tenant, or what they may do, cannot become as somebody wants.

use rowhouse_types::{ApiError, FieldError};

/// A change of invitations, members or roles was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OrganisationError {
    /// The address stands in the same list twice.
    #[error("the address is there twice")]
    Twice,
    /// The tenant has as many open invitations as it may have.
    #[error("the tenant has {0} open invitations already")]
    TooManyInvitations(i64),
    /// The member holds more than whoever wants to change them.
    #[error("the member holds more")]
    Stronger,
    /// Nobody could act as the tenant's owner any more.
    #[error("the last owner")]
    LastOwner,
    /// Only an owner may do it.
    #[error("not an owner")]
    NotOwner,
    /// The other is an owner already.
    #[error("an owner already")]
    AlreadyOwner,
    /// The person owns as many tenants as they may.
    #[error("the person owns {0} tenants already")]
    TooManyTenants(i64),
    /// The name of a role is taken: by a role, or by somebody who has one of that name that is gone.
    #[error("the role's name is taken")]
    RoleTaken,
    /// A role cannot be removed while somebody has it.
    #[error("{members} members, {invitations} invitations, {keys} API keys and {domains} domains have the role")]
    RoleInUse {
        /// Members, also those who are deactivated.
        members: i64,
        /// Invitations that are not accepted.
        invitations: i64,
        /// API keys, also those that have ended.
        keys: i64,
        /// Domains by which people join with it.
        domains: i64,
    },
    /// Another tenant has proved the domain, or it is the tenant's already.
    #[error("the domain is taken")]
    DomainTaken,
    /// The record that proves the domain is not in the DNS.
    #[error("the domain is not proved")]
    DomainUnproved,
    /// The tenant has as many domains as it may have.
    #[error("the tenant has {0} domains already")]
    TooManyDomains(i64),
    /// The tenant has as many roles of its own as it may have.
    #[error("the tenant has {0} roles already")]
    TooManyRoles(i64),
}

impl From<OrganisationError> for ApiError {
    fn from(error: OrganisationError) -> Self {
        match error {
            OrganisationError::Twice => {
                ApiError::validation(vec![FieldError::new("email", "duplicate", "stands in the list before")])
            }
            OrganisationError::TooManyInvitations(most) => ApiError::conflict(format!(
                "An organisation has at most {most} open invitations. Revoke some, or wait until they are accepted."
            )),
            OrganisationError::Stronger => {
                ApiError::permission_denied("This member's role allows more than your own, so you cannot change them.")
            }
            OrganisationError::LastOwner => ApiError::conflict(
                "The organisation would have no owner who can act. Hand the ownership on first, or make another owner.",
            ),
            OrganisationError::NotOwner => {
                ApiError::permission_denied("Only an owner of the organisation may do this.")
            }
            OrganisationError::AlreadyOwner => {
                ApiError::conflict("This member is an owner of the organisation already.")
                    .with_details(vec![FieldError::new("user_id", "not_allowed", "is an owner already")])
            }
            OrganisationError::TooManyTenants(most) => {
                ApiError::conflict(format!("You own {most} organisations already: you can found no other."))
            }
            OrganisationError::RoleTaken => {
                ApiError::conflict("This name of a role is taken, or somebody still has a role of it.")
                    .with_details(vec![FieldError::new("key", "taken", "is taken")])
            }
            OrganisationError::RoleInUse { members, invitations, keys, domains } => ApiError::conflict(format!(
                "The role is in use: {members} members, {invitations} invitations, {keys} API keys and {domains} domains have it. \
                 Give them another first."
            )),
            OrganisationError::DomainTaken => {
                ApiError::conflict("The domain is this organisation's already, or another one has proved it.")
                    .with_details(vec![FieldError::new("domain", "taken", "is taken")])
            }
            OrganisationError::DomainUnproved => ApiError::conflict(
                "The domain's TXT record is not in the DNS yet. Make it as `record` tells, and try again in a while.",
            ),
            OrganisationError::TooManyDomains(most) => {
                ApiError::conflict(format!("An organisation has at most {most} domains. Remove one first."))
            }
            OrganisationError::TooManyRoles(most) => {
                ApiError::conflict(format!("An organisation has at most {most} roles of its own. Remove one first."))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_refusal_has_the_status_that_the_interfaces_name() {
        for (refusal, status) in [
            (OrganisationError::Twice, 422),
            (OrganisationError::TooManyInvitations(1000), 409),
            (OrganisationError::Stronger, 403),
            (OrganisationError::LastOwner, 409),
            (OrganisationError::NotOwner, 403),
            (OrganisationError::AlreadyOwner, 409),
            (OrganisationError::TooManyTenants(50), 409),
            (OrganisationError::RoleTaken, 409),
            (OrganisationError::RoleInUse { members: 1, invitations: 0, keys: 0, domains: 0 }, 409),
            (OrganisationError::DomainTaken, 409),
            (OrganisationError::DomainUnproved, 409),
            (OrganisationError::TooManyDomains(20), 409),
            (OrganisationError::TooManyRoles(50), 409),
        ] {
            let text = refusal.to_string();
            assert_eq!(ApiError::from(refusal).code.status(), status, "{text}");
        }
    }
}
