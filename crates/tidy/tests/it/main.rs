//! The habits of this repository. A rule that is broken says what, where, and what to do; a
//! break that is meant stands in `exemptions.rs` with its reason, and an exemption that is no
//! longer needed fails too, so that the list only shrinks.

mod exemptions;
mod manifests;
mod rust;
mod texts;
mod tree;

use crate::exemptions::EXEMPTIONS;

/// One break of a rule.
#[derive(Debug)]
struct Finding {
    /// What breaks it, without a line number: what an exemption names.
    place: String,
    /// What is wrong and what to do.
    message: String,
}

impl Finding {
    fn new(place: impl Into<String>, message: impl Into<String>) -> Self {
        Self { place: place.into(), message: message.into() }
    }
}

/// Fails unless the findings are exactly the rule's exemptions.
fn judge(rule: &str, findings: &[Finding]) {
    let exempt: Vec<_> = EXEMPTIONS.iter().filter(|exemption| exemption.rule == rule).collect();
    let mut lines = Vec::new();
    for finding in findings.iter().filter(|finding| exempt.iter().all(|exemption| exemption.place != finding.place)) {
        lines.push(format!("{}: {}", finding.place, finding.message));
    }
    for exemption in exempt.iter().filter(|exemption| findings.iter().all(|finding| finding.place != exemption.place)) {
        lines.push(format!(
            "{}: is exempt ({}) but breaks the rule no more; remove it from crates/tidy/tests/it/exemptions.rs",
            exemption.place, exemption.reason
        ));
    }
    assert!(lines.is_empty(), "rule {rule:?}:\n  {}\n", lines.join("\n  "));
}

#[test]
fn every_exemption_names_a_rule_that_exists() {
    let known: Vec<&str> = [rust::RULES, manifests::RULES, texts::RULES].concat();
    for exemption in EXEMPTIONS {
        assert!(known.contains(&exemption.rule), "{:?} is no rule; known are {known:?}", exemption.rule);
    }
}
