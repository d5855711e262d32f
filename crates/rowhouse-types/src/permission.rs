//! Permissions: `entity:action` or `entity:action:scope`, and what a role holds of them.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// The entity name that stands for every entity.
pub(crate) const EVERY_ENTITY: &str = "*";

/// What a permission allows to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Action {
    /// Read records.
    View,
    /// Make records.
    Create,
    /// Change records.
    Edit,
    /// Remove records.
    Delete,
    /// Administer a thing of the platform: `organization:manage`, `users:manage`.
    Manage,
}

/// On which records an action is allowed, from narrow to wide. *Own* and *public* are sets
/// that may overlap; a role may hold both.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Scope {
    /// Records whose owner is the caller.
    Own,
    /// Records marked public.
    Public,
    /// All records of the tenant.
    All,
}

/// One permission, as a manifest or a role names it.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Permission {
    /// The entity's name, `*` for every entity, or `organization` / `users` for the platform.
    pub entity: String,
    /// What is allowed.
    pub action: Action,
    /// On which records.
    pub scope: Scope,
}

/// Why a text is no permission.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0:?} is not a permission: write entity:action or entity:action:scope, with action view, create, edit, delete or manage, and scope own, public or all"
)]
pub struct PermissionError(String);

impl FromStr for Permission {
    type Err = PermissionError;

    fn from_str(text: &str) -> Result<Self, PermissionError> {
        let wrong = || PermissionError(text.to_owned());
        let mut parts = text.split(':');
        let entity = parts.next().filter(|entity| !entity.is_empty()).ok_or_else(wrong)?;
        let action = match parts.next().ok_or_else(wrong)? {
            "view" => Action::View,
            "create" => Action::Create,
            "edit" => Action::Edit,
            "delete" => Action::Delete,
            "manage" => Action::Manage,
            _ => return Err(wrong()),
        };
        let scope = match parts.next() {
            None | Some("all") => Scope::All,
            Some("own") if action != Action::Create => Scope::Own,
            Some("public") if action != Action::Create => Scope::Public,
            _ => return Err(wrong()),
        };
        if parts.next().is_some() {
            return Err(wrong());
        }
        Ok(Self { entity: entity.to_owned(), action, scope })
    }
}

impl TryFrom<String> for Permission {
    type Error = PermissionError;
    fn try_from(text: String) -> Result<Self, PermissionError> {
        text.parse()
    }
}

impl From<Permission> for String {
    fn from(permission: Permission) -> Self {
        permission.to_string()
    }
}

impl fmt::Display for Permission {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let action = match self.action {
            Action::View => "view",
            Action::Create => "create",
            Action::Edit => "edit",
            Action::Delete => "delete",
            Action::Manage => "manage",
        };
        let scope = match self.scope {
            Scope::Own => ":own",
            Scope::Public => ":public",
            Scope::All => "",
        };
        write!(f, "{}:{action}{scope}", self.entity)
    }
}

/// A role's name: one of the four that every app has, or one of the app's manifest.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct RoleKey(String);

impl RoleKey {
    /// The roles every app has, strongest first.
    pub const BUILT_IN: [&str; 4] = ["owner", "admin", "member", "viewer"];

    /// A role's name; whether the app knows it is for the caller to check.
    pub fn new(key: impl Into<String>) -> Self {
        Self(key.into())
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether every app has it.
    pub fn is_built_in(&self) -> bool {
        Self::BUILT_IN.contains(&self.as_str())
    }
}

impl fmt::Display for RoleKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What a role holds: for an entity and an action, the scopes. Looking up is what every
/// request does, so it is one or two map reads without allocation.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Grants {
    entities: BTreeMap<String, Vec<(Action, Scope)>>,
}

impl Grants {
    /// The grants of a list of permissions.
    pub fn new(permissions: impl IntoIterator<Item = Permission>) -> Self {
        let mut grants = Self::default();
        for Permission { entity, action, scope } in permissions {
            let held = grants.entities.entry(entity).or_default();
            if !held.contains(&(action, scope)) {
                held.push((action, scope));
            }
        }
        grants
    }

    /// The grants of a built-in role (requirements Z1), or none for another name.
    pub fn built_in(role: &str) -> Option<Self> {
        let permissions: &[&str] = match role {
            "owner" => &["organization:manage", "users:manage", "*:create", "*:edit", "*:delete", "*:view"],
            "admin" => &["users:manage", "*:create", "*:edit", "*:delete", "*:view"],
            "member" => &["*:create", "*:edit:own", "*:delete:own", "*:view:public", "*:view:own"],
            "viewer" => &["*:view:public"],
            _ => return None,
        };
        Some(Self::new(permissions.iter().map(|text| text.parse().expect("built-in permissions are well-formed"))))
    }

    /// The scopes in which `action` is allowed on `entity`; empty means refused. `All` makes
    /// the others redundant.
    pub fn scopes(&self, entity: &str, action: Action) -> impl Iterator<Item = Scope> + '_ {
        let of = |name: &str| self.entities.get(name).map(Vec::as_slice).unwrap_or_default();
        of(entity).iter().chain(of(EVERY_ENTITY)).filter(move |(held, _)| *held == action).map(|(_, scope)| *scope)
    }

    /// Whether `action` is allowed on `entity` in any scope.
    pub fn allows(&self, entity: &str, action: Action) -> bool {
        self.scopes(entity, action).next().is_some()
    }

    /// Whether everything that `other` allows is allowed here too: nobody gives more than they hold.
    pub fn covers_all(&self, other: &Self) -> bool {
        other.permissions().all(|permission| self.covers(&permission))
    }

    /// Whether all that the permission allows is held: whoever holds it may hand it on.
    pub fn covers(&self, permission: &Permission) -> bool {
        self.scopes(&permission.entity, permission.action).any(|held| held == Scope::All || held == permission.scope)
    }

    /// The permissions as text, sorted, for people and tokens.
    pub fn permissions(&self) -> impl Iterator<Item = Permission> + '_ {
        self.entities.iter().flat_map(|(entity, held)| {
            held.iter().map(|(action, scope)| Permission { entity: entity.clone(), action: *action, scope: *scope })
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_role_covers_what_allows_no_more_than_itself() {
        let of = |texts: &[&str]| Grants::new(texts.iter().map(|text| text.parse().unwrap()));
        let built_in = |role| Grants::built_in(role).unwrap();
        for (index, stronger) in RoleKey::BUILT_IN.iter().enumerate() {
            for (other, weaker) in RoleKey::BUILT_IN.iter().enumerate() {
                assert_eq!(built_in(stronger).covers_all(&built_in(weaker)), index <= other, "{stronger} {weaker}");
            }
        }
        assert!(of(&[]).covers_all(&of(&[])) && !of(&[]).covers_all(&of(&["leads:view:own"])));
        assert!(of(&["leads:view"]).covers_all(&of(&["leads:view:own", "leads:view:public"])));
        assert!(!of(&["leads:view:own"]).covers_all(&of(&["leads:view"])));
        assert!(!of(&["leads:view:own"]).covers_all(&of(&["leads:view:public"])));
        assert!(of(&["*:view"]).covers_all(&of(&["leads:view"])));
        assert!(!of(&["leads:view"]).covers_all(&of(&["*:view"])), "every entity is more than one");
        assert!(!of(&["leads:view"]).covers_all(&of(&["leads:edit:own"])));
    }

    #[test]
    fn parses_and_prints_permissions() {
        for text in ["leads:view:own", "leads:create", "*:delete:public", "organization:manage"] {
            assert_eq!(text.parse::<Permission>().unwrap().to_string(), text);
        }
        assert_eq!("leads:view:all".parse::<Permission>().unwrap().to_string(), "leads:view");
        for bad in ["", "leads", "leads:read", ":view", "leads:view:mine", "leads:create:own", "a:view:own:x"] {
            assert!(bad.parse::<Permission>().is_err(), "{bad:?} was accepted");
        }
    }

    /// The matrix of requirement Z1, written out.
    #[test]
    fn built_in_roles_hold_exactly_the_matrix() {
        let held = |role: &str| {
            Grants::built_in(role).unwrap().permissions().map(|p| p.to_string()).collect::<Vec<_>>().join(" ")
        };
        assert_eq!(held("owner"), "*:create *:edit *:delete *:view organization:manage users:manage");
        assert_eq!(held("admin"), "*:create *:edit *:delete *:view users:manage");
        assert_eq!(held("member"), "*:create *:edit:own *:delete:own *:view:public *:view:own");
        assert_eq!(held("viewer"), "*:view:public");
    }

    /// Every pair of what a maker may hold and hand on: nothing comes out that did not go in.
    #[test]
    fn what_is_covered_allows_nothing_that_is_not_held() {
        let all: Vec<Permission> = ["leads", "users", "*"]
            .iter()
            .flat_map(|entity| {
                ["view:own", "view:public", "view", "edit:own", "edit"].map(|end| format!("{entity}:{end}"))
            })
            .map(|text| text.parse().unwrap())
            .collect();
        let reach = |grants: &Grants, entity: &str, action| {
            let scopes: Vec<Scope> = grants.scopes(entity, action).collect();
            move |wanted: Scope| scopes.contains(&Scope::All) || scopes.contains(&wanted)
        };
        for (first, second) in all.iter().flat_map(|first| all.iter().map(move |second| (first, second))) {
            let maker = Grants::new([first.clone(), second.clone()]);
            for handed_on in &all {
                let made = Grants::new([handed_on.clone()]);
                let exceeds = ["leads", "users", "projects"].iter().any(|entity| {
                    [Action::View, Action::Edit].into_iter().any(|action| {
                        let (makers, mades) = (reach(&maker, entity, action), reach(&made, entity, action));
                        [Scope::Own, Scope::Public, Scope::All].into_iter().any(|scope| mades(scope) && !makers(scope))
                    })
                });
                assert_eq!(maker.covers(handed_on), !exceeds, "{first} and {second} cover {handed_on}");
            }
        }
    }

    #[test]
    fn the_star_covers_entities_only_for_what_it_names() {
        let member = Grants::built_in("member").unwrap();
        assert!(member.allows("leads", Action::Create));
        assert!(!member.allows("users", Action::Manage));
        assert_eq!(member.scopes("leads", Action::View).collect::<Vec<_>>(), [Scope::Public, Scope::Own]);
    }

    fn permission() -> impl Strategy<Value = Permission> {
        let entity = proptest::sample::select(vec!["leads", "users", "projects", "*"]).prop_map(String::from);
        let action = prop_oneof![Just(Action::View), Just(Action::Edit), Just(Action::Manage)];
        let scope = prop_oneof![Just(Scope::Own), Just(Scope::Public), Just(Scope::All)];
        (entity, action, scope).prop_map(|(entity, action, scope)| Permission { entity, action, scope })
    }

    fn grants() -> impl Strategy<Value = Grants> {
        proptest::collection::vec(permission(), 0..6).prop_map(Grants::new)
    }

    /// What grants open, thing by thing; one entity that no permission names stands for all others.
    fn opens(grants: &Grants) -> Vec<bool> {
        let mut opened = Vec::new();
        for entity in ["leads", "users", "projects", "others"] {
            for action in [Action::View, Action::Edit, Action::Manage] {
                let held: Vec<Scope> = grants.scopes(entity, action).collect();
                let is_open = |scope| held.contains(&scope) || held.contains(&Scope::All);
                opened.extend([Scope::Own, Scope::Public, Scope::All].map(is_open));
            }
        }
        opened
    }

    proptest! {
        #[test]
        fn whoever_hands_on_what_they_cover_never_hands_on_more_than_they_hold(maker in grants(), made in grants()) {
            let (held, given) = (opens(&maker), opens(&made));
            if maker.covers_all(&made) {
                prop_assert!(given.iter().zip(&held).all(|(given, held)| !given || *held), "{maker:?} covers {made:?}");
            }
            // Roles made by roles that were made: still nothing more than the first one held.
            let handed_on = Grants::new(made.permissions().filter(|permission| maker.covers(permission)));
            prop_assert!(maker.covers_all(&handed_on));
        }

        #[test]
        fn a_text_is_a_permission_or_is_refused(text in any::<String>(), permission in permission()) {
            if let Ok(read) = text.parse::<Permission>() {
                prop_assert_eq!(read.to_string().parse(), Ok(read));
            }
            prop_assert_eq!(permission.to_string().parse(), Ok(permission));
        }
    }
}
