//! Breaks that are meant. Never a place to park what is merely unfinished.

/// One break of one rule that is meant.
pub(crate) struct Exemption {
    /// The rule's name.
    pub(crate) rule: &'static str,
    /// The finding's place, as the failing test prints it.
    pub(crate) place: &'static str,
    /// Why it is better so.
    pub(crate) reason: &'static str,
}

/// All of them.
pub(crate) const EXEMPTIONS: &[Exemption] = &[];
