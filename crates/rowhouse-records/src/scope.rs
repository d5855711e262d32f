//! Scopes: on which records the caller's role allows an action, as a condition of the statement.

use rowhouse_app::Entity;
use rowhouse_postgres::Param;
use rowhouse_types::{Action, ApiError, Scope};

use crate::Caller;
use crate::statement::Builder;

/// The caller's scopes for an action on an entity; never empty.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Scopes {
    pub(crate) all: bool,
    own: bool,
    public: bool,
}

impl Scopes {
    /// What the role allows.
    ///
    /// # Errors
    /// 403 if it allows nothing.
    pub(crate) fn of(caller: &Caller<'_>, entity: &Entity, action: Action) -> Result<Self, ApiError> {
        // Reference data is for everybody who works in a tenant.
        if entity.shared && action == Action::View {
            return Ok(Self { all: true, own: false, public: false });
        }
        let mut scopes = Self { all: false, own: false, public: false };
        let mut any = false;
        for scope in caller.grants.scopes(&entity.name, action) {
            any = true;
            match scope {
                Scope::All => scopes.all = true,
                Scope::Own => scopes.own = true,
                Scope::Public => scopes.public = true,
            }
        }
        if any { Ok(scopes) } else { Err(refusal(entity, action)) }
    }

    /// Adds the condition to a statement that has one before.
    pub(crate) fn write(self, caller: &Caller<'_>, entity: &Entity, alias: &'static str, builder: &mut Builder) {
        if self.all {
            return;
        }
        builder.push(" and (false");
        if let (true, Some(owner), Some(user)) = (self.own, &entity.owner, caller.user) {
            builder.push(" or ").column(alias, owner).push(" = ").bind("owner", Param::from(user));
        }
        if let (true, Some(public)) = (self.public, &entity.public) {
            builder.push(" or ").column(alias, public);
        }
        builder.push(")");
    }
}

fn refusal(entity: &Entity, action: Action) -> ApiError {
    let verb = match action {
        Action::View => "see",
        Action::Create => "create",
        Action::Edit => "change",
        Action::Delete => "delete",
        Action::Manage => "manage",
    };
    ApiError::permission_denied(format!(
        "Your role may not {verb} {}. Ask an owner or admin of the organisation.",
        entity.label.to_lowercase()
    ))
}
