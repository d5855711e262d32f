//! The manifest `rowhouse.toml`: what the catalog cannot say of an app. Unknown keys are
//! refused; every fault names file, line, key and what is allowed.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;

use rowhouse_types::{Grants, Permission, RoleKey, did_you_mean};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::error::{AppError, Fault};

/// The file's name in the app's directory.
pub const MANIFEST_FILE: &str = "rowhouse.toml";

/// An app's manifest.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// The app itself.
    pub app: AppSection,
    /// Tenant tables that the data API offers, by table name.
    #[serde(default)]
    pub entities: BTreeMap<String, EntitySection>,
    /// Reference data that every tenant reads.
    #[serde(default)]
    pub shared: SharedSection,
    /// Roles beside owner, admin, member and viewer.
    #[serde(default)]
    pub roles: BTreeMap<String, RoleSection>,
    /// Plans that tenants subscribe to.
    #[serde(default)]
    pub plans: BTreeMap<String, PlanSection>,
    /// Settings that each tenant may change.
    #[serde(default)]
    pub settings: BTreeMap<String, SettingSection>,
    /// What a new tenant starts with.
    #[serde(default)]
    pub onboarding: OnboardingSection,
}

/// `[app]`
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AppSection {
    /// Name for programs: a to z, 0 to 9 and `_`.
    pub name: String,
    /// Name for people.
    pub title: String,
    /// One sentence.
    #[serde(default)]
    pub description: String,
    /// The release's version.
    #[serde(default = "first_version")]
    pub version: String,
}

fn first_version() -> String {
    "0.1.0".into()
}

/// `[entities.NAME]` and `[shared.tables.NAME]`
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct EntitySection {
    /// Plural, for people; made from the table's name if absent.
    pub label: Option<String>,
    /// Singular, for people.
    pub singular: Option<String>,
    /// The column that names a record to people.
    pub title: Option<String>,
    /// Columns that `q=` searches.
    pub search: Vec<String>,
    /// The status or stage column.
    pub status: Option<String>,
    /// The column of scope *own*; `owner_id`, else `created_by`, if absent.
    pub owner: Option<String>,
    /// The column of scope *public*; `is_public` if absent.
    pub public: Option<String>,
    /// No writes through the API.
    pub read_only: bool,
    /// Columns that the API never shows.
    pub hidden: Vec<String>,
}

/// `[shared]`
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct SharedSection {
    /// Tables of schema `shared`, by name.
    pub tables: BTreeMap<String, EntitySection>,
}

/// `[roles.NAME]`
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RoleSection {
    /// Name for people.
    pub title: String,
    /// `entity:action` or `entity:action:scope`.
    pub permissions: Vec<String>,
}

/// `[plans.NAME]`
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct PlanSection {
    /// Name for people.
    pub title: String,
    /// Price per interval, in cents.
    pub price_cents: u64,
    /// `month` or `year`.
    pub interval: Option<String>,
    /// Days before the first payment.
    pub trial_days: u32,
    /// Switches that are on.
    pub features: Vec<String>,
    /// Numbers; -1 is unlimited.
    pub limits: BTreeMap<String, i64>,
}

/// `[settings.NAME]`
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SettingSection {
    /// What kind of value.
    #[serde(rename = "type")]
    pub kind: SettingKind,
    /// Name for people.
    #[serde(default)]
    pub label: String,
    /// The value until a tenant sets another.
    #[serde(default)]
    pub default: serde_json::Value,
    /// The values allowed, for `select`.
    #[serde(default)]
    pub options: Vec<String>,
}

/// The kinds of settings.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum SettingKind {
    /// Text.
    Text,
    /// A number.
    Number,
    /// Yes or no.
    Boolean,
    /// Any JSON.
    Json,
    /// One of `options`.
    Select,
}

/// `[onboarding]`
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct OnboardingSection {
    /// The plan of a tenant that names none; the first by name if absent.
    pub default_plan: Option<String>,
    /// The seed file, from the app's directory.
    pub seed: Option<String>,
}

/// The platform's own names in permissions.
const PLATFORM_RESOURCES: [&str; 3] = ["*", "organization", "users"];

impl Manifest {
    /// Reads a manifest's text. `path` is for messages.
    ///
    /// # Errors
    /// A fault of the syntax, or all faults of the contents.
    pub fn parse(text: &str, path: &Path) -> Result<Self, AppError> {
        let manifest: Self =
            toml::from_str(text).map_err(|error| AppError::Faults(vec![syntax_fault(text, path, &error)]))?;
        let faults = manifest.faults(text, path);
        if faults.is_empty() { Ok(manifest) } else { Err(AppError::Faults(faults)) }
    }

    /// The published JSON Schema of the manifest.
    pub fn json_schema() -> serde_json::Value {
        schemars::schema_for!(Manifest).to_value()
    }

    /// The plan of a tenant that names none.
    pub fn default_plan(&self) -> &str {
        self.onboarding
            .default_plan
            .as_deref()
            .or_else(|| self.plans.keys().next().map(String::as_str))
            .unwrap_or("free")
    }

    /// What each of the app's own roles may do.
    pub fn role_grants(&self) -> HashMap<RoleKey, Grants> {
        let grants = |role: &RoleSection| Grants::new(role.permissions.iter().filter_map(|text| text.parse().ok()));
        self.roles.iter().map(|(key, role)| (RoleKey::new(key.clone()), grants(role))).collect()
    }

    fn faults(&self, text: &str, path: &Path) -> Vec<Fault> {
        let mut faults = Vec::new();
        let mut add = |key: String, message: String| {
            faults.push(Fault { file: path.to_owned(), line: line_of(text, &key), key, message });
        };
        if !is_identifier(&self.app.name) {
            add(
                "app.name".into(),
                format!("{:?} must be 1 to 40 of a-z, 0-9 and _, beginning with a letter", self.app.name),
            );
        }
        for key in self.roles.keys().filter(|key| RoleKey::BUILT_IN.contains(&key.as_str())) {
            add(format!("roles.{key}"), "is built in and cannot be defined again; choose another name".into());
        }
        for (key, role) in &self.roles {
            for permission in &role.permissions {
                if let Some(message) = self.permission_fault(permission) {
                    add(format!("roles.{key}.permissions"), message);
                }
            }
        }
        let plan = self.onboarding.default_plan.as_ref().filter(|plan| !self.plans.contains_key(*plan));
        if let Some(plan) = plan {
            let hint = did_you_mean(plan, self.plans.keys().map(String::as_str));
            add("onboarding.default_plan".into(), format!("there is no plan {plan:?}.{hint}"));
        }
        for (key, plan) in &self.plans {
            if let Some(interval) = plan.interval.as_deref().filter(|interval| !matches!(*interval, "month" | "year")) {
                add(format!("plans.{key}.interval"), format!("{interval:?} must be month or year"));
            }
        }
        for (key, setting) in &self.settings {
            if setting.kind == SettingKind::Select && setting.options.is_empty() {
                add(format!("settings.{key}.options"), "a select needs options".into());
            }
        }
        for name in self.entities.keys().filter(|name| RESERVED_ENTITIES.contains(&name.as_str())) {
            add(format!("entities.{name}"), "is a path of the platform; rename the table".into());
        }
        faults
    }

    fn permission_fault(&self, text: &str) -> Option<String> {
        let permission: Permission = match text.parse() {
            Ok(permission) => permission,
            Err(error) => return Some(rowhouse_types::PermissionError::to_string(&error)),
        };
        let known =
            || self.entities.keys().chain(self.shared.tables.keys()).map(String::as_str).chain(PLATFORM_RESOURCES);
        let entity = permission.entity.as_str();
        (!known().any(|name| name == entity))
            .then(|| format!("{text:?} names no entity of this manifest.{}", did_you_mean(entity, known())))
    }
}

/// First parts of paths under `/api` that are the platform's own (interfaces, "Records").
pub const RESERVED_ENTITIES: [&str; 17] = [
    "auth",
    "me",
    "tenants",
    "admin",
    "operators",
    "health",
    "webhooks",
    "files",
    "events",
    "batch",
    "live",
    "views",
    "notifications",
    "automation",
    "oauth",
    "scim",
    "openapi.json",
];

pub(crate) fn is_identifier(name: &str) -> bool {
    (1..=40).contains(&name.len())
        && name.starts_with(|c: char| c.is_ascii_lowercase())
        && name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_')
}

fn syntax_fault(text: &str, path: &Path, error: &toml::de::Error) -> Fault {
    let line = error.span().map(|span| text[..span.start.min(text.len())].matches('\n').count() + 1);
    let message = error.message().to_owned();
    // "unknown field `serch`, expected one of `label`, `search`, …"
    let mut words = message.split('`').skip(1).step_by(2);
    let key = words.next().unwrap_or_default().to_owned();
    let hint = if message.starts_with("unknown") { did_you_mean(&key, words) } else { String::new() };
    Fault { file: path.to_owned(), line, key, message: format!("{message}.{hint}") }
}

/// The line of a dotted key: of its table header, or of the key inside it.
fn line_of(text: &str, key: &str) -> Option<usize> {
    let (table, last) = key.rsplit_once('.').unwrap_or(("", key));
    let mut current = String::new();
    for (number, line) in text.lines().enumerate() {
        let line = line.trim();
        if let Some(header) = line.strip_prefix('[').and_then(|line| line.split(']').next()) {
            header.clone_into(&mut current);
            if current == key {
                return Some(number + 1);
            }
        } else if current == table && line.split('=').next().map(str::trim) == Some(last) {
            return Some(number + 1);
        }
    }
    None
}
