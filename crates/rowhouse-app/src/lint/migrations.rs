//! The general lint of migrations: statements that lock, rewrite or break a running release.
//! Done by a library; only the rules that hold in Rowhouse are taken.

use squawk_linter::{Linter, Rule};
use squawk_syntax::SourceFile;

use crate::finding::{Finding, Severity};
use crate::load::App;
use rowhouse_postgres::{Migration, MigrationPhase};

/// Rules about locks and rewrites. Left out: those about style (bigint, identity, robust
/// statements: the ledger makes files run once), about timeouts (the runner sets them) and about
/// policies and grants (completion writes them).
const LOCKS: &[Rule] = &[
    Rule::RequireConcurrentIndexCreation,
    Rule::RequireConcurrentIndexDeletion,
    Rule::ConstraintMissingNotValid,
    Rule::AddingFieldWithDefault,
    Rule::AddingForeignKeyConstraint,
    Rule::AddingNotNullableField,
    Rule::AddingRequiredField,
    Rule::ChangingColumnType,
    Rule::DisallowedUniqueConstraint,
    Rule::BanConcurrentIndexCreationInTransaction,
    Rule::TransactionNesting,
    Rule::IdentifierTooLong,
    Rule::BanTruncateCascade,
];

/// Rules about what the release before still needs; in a contract file that is the purpose.
const BREAKING: &[Rule] =
    &[Rule::RenamingColumn, Rule::RenamingTable, Rule::BanDropColumn, Rule::BanDropTable, Rule::BanDropNotNull];

/// Lints the texts of an app's migrations.
pub fn lint_migrations(app: &App) -> Vec<Finding> {
    app.migrations.migrations.iter().chain(&app.shared_migrations.migrations).flat_map(lint_one).collect()
}

fn lint_one(migration: &Migration) -> Vec<Finding> {
    let breaking = if migration.phase == MigrationPhase::Contract { &[][..] } else { BREAKING };
    let mut linter = Linter::from(LOCKS.iter().chain(breaking).cloned());
    linter.settings.assume_in_transaction = !migration.without_transaction();
    let parsed = SourceFile::parse(&migration.sql);
    let violations = linter.lint(&parsed, &migration.sql);
    let finding = |violation: squawk_linter::Violation| {
        let start = usize::from(violation.text_range.start()).min(migration.sql.len());
        let line = migration.sql[..start].matches('\n').count() + 1;
        Finding {
            rule: "migration",
            severity: Severity::Warning,
            object: format!("{}.sql:{line}", migration.name),
            message: format!("{} ({})", violation.message, violation.code),
            fix: violation.help.unwrap_or_else(|| "see the section migration in docs/isolation-rules.md".into()),
        }
    };
    violations.into_iter().map(finding).collect()
}
