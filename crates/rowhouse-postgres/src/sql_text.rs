//! Just enough reading of SQL text to tell code from quoted text and comments.

/// A stretch of SQL text.
enum Piece<'a> {
    /// Code without any quoted text or comment in it.
    Code(&'a str),
    /// A literal, a quoted identifier, a dollar-quoted body or a comment, whole.
    Quoted(&'a str),
}

fn pieces(sql: &str) -> Vec<Piece<'_>> {
    let mut pieces = Vec::new();
    let (mut start, mut at) = (0, 0);
    while at < sql.len() {
        match quoted_length(&sql[at..]) {
            0 => at += sql[at..].chars().next().map_or(1, char::len_utf8),
            length => {
                if start < at {
                    pieces.push(Piece::Code(&sql[start..at]));
                }
                pieces.push(Piece::Quoted(&sql[at..at + length]));
                at += length;
                start = at;
            }
        }
    }
    if start < sql.len() {
        pieces.push(Piece::Code(&sql[start..]));
    }
    pieces
}

/// The length of the quoted text or comment that begins here, or 0. One that does not end is
/// taken to the end of the text; PostgreSQL will say so.
fn quoted_length(rest: &str) -> usize {
    let to = |end: &str, from: usize| rest[from..].find(end).map_or(rest.len(), |found| from + found + end.len());
    if rest.starts_with("--") {
        return to("\n", 2);
    }
    if rest.starts_with("/*") {
        return to("*/", 2);
    }
    if rest.starts_with('\'') || rest.starts_with('"') {
        return to(&rest[..1], 1);
    }
    if let Some(after) = rest.strip_prefix('$') {
        let name = after.split('$').next().unwrap_or_default();
        let is_name = name.chars().all(|c| c.is_alphanumeric() || c == '_') && !name.starts_with(char::is_numeric);
        if is_name && name.len() < after.len() {
            let tag = &rest[..name.len() + 2];
            return to(tag, tag.len());
        }
    }
    0
}

/// The statements of a text, without their semicolons.
pub(crate) fn statements(sql: &str) -> Vec<&str> {
    let mut statements = Vec::new();
    let mut has_code = false;
    let (mut start, mut at) = (0, 0);
    for piece in pieces(sql) {
        match piece {
            Piece::Quoted(text) => at += text.len(),
            Piece::Code(text) => {
                for (offset, character) in text.char_indices() {
                    if character == ';' {
                        if has_code {
                            statements.push(sql[start..at + offset].trim());
                        }
                        (start, has_code) = (at + offset + 1, false);
                    }
                    has_code |= !character.is_whitespace() && character != ';';
                }
                at += text.len();
            }
        }
    }
    if has_code {
        statements.push(sql[start..].trim());
    }
    statements
}

/// The text without the word CONCURRENTLY.
pub(crate) fn without_concurrently(sql: &str) -> String {
    const WORD: &str = "concurrently";
    let mut text = String::with_capacity(sql.len());
    for piece in pieces(sql) {
        match piece {
            Piece::Quoted(quoted) => text.push_str(quoted),
            Piece::Code(code) => {
                for part in code.split_inclusive(|c: char| !c.is_alphanumeric() && c != '_') {
                    let word = part.trim_end_matches(|c: char| !c.is_alphanumeric() && c != '_');
                    text.push_str(if word.eq_ignore_ascii_case(WORD) { &part[word.len()..] } else { part });
                }
            }
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_code_ends_a_statement() {
        let sql = "-- first; not here\ncreate index concurrently a on t (x); select ';', \"a;b\", $$ ; $$, $f$ ; $f$ /* ; */;;\nselect $1";
        let found = statements(sql);
        assert_eq!(found.len(), 3, "{found:?}");
        assert!(found[0].ends_with("on t (x)"));
        assert!(found[1].starts_with("select ';'") && found[1].ends_with("/* ; */"));
        assert_eq!(found[2], "select $1");
        assert_eq!(statements("select 'it''s; fine'"), ["select 'it''s; fine'"]);
        assert_eq!(statements(" ; -- nothing\n"), Vec::<&str>::new());
    }

    #[test]
    fn only_the_keyword_is_taken_out() {
        let sql = "CREATE INDEX Concurrently if not exists concurrently_x on t (a) where note <> 'concurrently'; -- concurrently";
        let expected =
            "CREATE INDEX  if not exists concurrently_x on t (a) where note <> 'concurrently'; -- concurrently";
        assert_eq!(without_concurrently(sql), expected);
    }
}
