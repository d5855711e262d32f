//! The manifest `rowhouse.toml`.
use serde::{Deserialize, Serialize};
/// The manifest.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Manifest {}
