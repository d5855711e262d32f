//! Permissions as people write them, judged against the app: each must be on something that there is.

use rowhouse_app::AppModel;
use rowhouse_types::{FieldError, Permission, PermissionError, did_you_mean};

/// Permissions of one role or key.
const PERMISSIONS_MAX: usize = 200;
/// The platform's own names in permissions, and every entity.
const PLATFORM: [&str; 3] = ["*", "organization", "users"];

/// Reads a list; each fault is added, under the field `permissions`.
pub(crate) fn read_permissions(model: &AppModel, texts: &[String], faults: &mut Vec<FieldError>) -> Vec<Permission> {
    let mut add = |message| faults.push(FieldError::new("permissions", "invalid", message));
    if !(1..=PERMISSIONS_MAX).contains(&texts.len()) {
        add(format!("must be 1 to {PERMISSIONS_MAX}"));
    }
    let mut good = Vec::new();
    for text in texts.iter().take(PERMISSIONS_MAX) {
        match read(model, text) {
            Ok(permission) => good.push(permission),
            Err(message) => add(message),
        }
    }
    good
}

fn read(model: &AppModel, text: &str) -> Result<Permission, String> {
    let permission: Permission = text.parse().map_err(|error: PermissionError| error.to_string())?;
    let known = || model.entities.keys().chain(model.shared.keys()).map(String::as_str).chain(PLATFORM);
    let entity = permission.entity.as_str();
    if known().any(|name| name == entity) {
        return Ok(permission);
    }
    Err(format!("{text:?} names no entity of this app.{}", did_you_mean(entity, known())))
}
