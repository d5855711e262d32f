//! What the linter says.

use std::fmt;

use serde::Serialize;

/// How grave a finding is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// Worth a look.
    Warning,
    /// The app is not served.
    Error,
}

/// One thing that the linter found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// The rule's name; a section of `docs/isolation-rules.md`.
    pub rule: &'static str,
    /// How grave.
    pub severity: Severity,
    /// The object: `leads`, `leads.tenant_id`, `leads_email_key`, or a file.
    pub object: String,
    /// What is wrong.
    pub message: String,
    /// What to do.
    pub fix: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let severity = match self.severity {
            Severity::Warning => "warning",
            Severity::Error => "error",
        };
        write!(f, "{severity} {} on {}: {}\n    fix: {}", self.rule, self.object, self.message, self.fix)
    }
}
