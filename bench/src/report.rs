//! The results as a Markdown document, and what is said while they come.

use std::fmt::Write as _;

use crate::ground::TUNING;
use crate::sizes::Sizes;

/// Tells what happens, on stderr.
#[expect(clippy::print_stderr, reason = "a benchmark of twenty minutes says what it does")]
pub(crate) fn say(text: &str) {
    eprintln!("{text}");
}

/// The median; of an even number the mean of the two in the middle.
pub(crate) fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let middle = sorted.len() / 2;
    match sorted.len() {
        0 => f64::NAN,
        length if length % 2 == 1 => sorted[middle],
        _ => f64::midpoint(sorted[middle - 1], sorted[middle]),
    }
}

/// A number with three digits that mean something, and thousands apart.
pub(crate) fn number(value: f64) -> String {
    if !value.is_finite() {
        return "–".to_owned();
    }
    if value.abs() < 100.0 {
        let decimals = if value.abs() < 10.0 { 2 } else { 1 };
        return format!("{value:.decimals$}");
    }
    let digits = format!("{value:.0}");
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index) % 3 == 0 {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// One part's results.
#[derive(Debug)]
pub(crate) struct Section {
    title: String,
    text: String,
}

impl Section {
    /// A section that opens with what was done.
    pub(crate) fn new(title: &str, about: &str) -> Self {
        Self { title: title.to_owned(), text: format!("{about}\n") }
    }

    /// Adds a table.
    pub(crate) fn table(&mut self, header: &[&str], rows: &[Vec<String>]) {
        let mut text = format!("\n| {} |\n|{}\n", header.join(" | "), "---|".repeat(header.len()));
        for row in rows {
            writeln!(text, "| {} |", row.join(" | ")).expect("writing to memory");
        }
        say(&text);
        self.text.push_str(&text);
    }
}

/// The document.
pub(crate) struct Report {
    text: String,
}

impl Report {
    /// A document about one run on one machine.
    pub(crate) fn new(machine: String, sizes: &Sizes) -> Self {
        let mut text = String::from("# Results of the benchmark\n\n");
        if sizes.smoke {
            text.push_str("**A smoke run: the sizes are tiny and the figures mean nothing.**\n\n");
        }
        text.push_str("Written by `make bench`. Ratios are what counts; absolute figures are this machine's.\n\n");
        let tuning: Vec<String> = TUNING.iter().map(|(name, value)| format!("{name} = {value}")).collect();
        write!(
            text,
            "{machine}\n- Server: as Rowhouse runs its own, with {}, over a socket of this machine.\n\
             - Sizes: {} tenants × {} rows in pool placement, {} × {} in schema and in database placement, \
             {} clients, medians of {} rounds of {} s; load generators run on the same cores.\n",
            tuning.join(", "),
            number(f64::from(sizes.tenants)),
            number(f64::from(sizes.rows)),
            sizes.own_tenants,
            number(f64::from(sizes.rows)),
            sizes.clients,
            sizes.rounds,
            sizes.seconds,
        )
        .expect("writing to memory");
        Self { text }
    }

    /// Adds a part's results.
    pub(crate) fn add(&mut self, section: Section) {
        write!(self.text, "\n## {}\n\n{}", section.title, section.text).expect("writing to memory");
    }

    /// The document's text.
    pub(crate) fn text(self) -> String {
        self.text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_the_middle_of_the_sorted_values() {
        assert!((median(&[3.0, 1.0, 2.0]) - 2.0).abs() < f64::EPSILON);
        assert!((median(&[4.0, 1.0, 2.0, 3.0]) - 2.5).abs() < f64::EPSILON);
    }

    #[test]
    fn numbers_keep_three_digits_that_mean_something() {
        assert_eq!(
            ["0.84", "12.3", "1,234,568"],
            [number(0.8401), number(12.34), number(1_234_567.8)].map(|text| text).as_slice()
        );
    }
}
