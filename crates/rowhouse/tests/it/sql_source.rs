//! Finds the SQL texts of the product in its source files, so that none can be forgotten: literals
//! that begin as a query or a change does, wherever they stand. It reads tokens; the few forms that
//! this repository uses to put a text together are understood, and whatever is not fails the test.

use std::path::{Path, PathBuf};

use proc_macro2::{Delimiter, TokenStream, TokenTree};

/// One SQL text.
pub(crate) struct SqlText {
    /// `crates/…/file.rs:line`.
    pub(crate) place: String,
    /// The source file, from the repository's root.
    pub(crate) file: String,
    /// The text, with its constants filled in.
    pub(crate) text: String,
    /// What only a run knows (`{table}`, `{}`), in order, if it is the text of a `format!`.
    pub(crate) open: Vec<String>,
    /// A tenant's connection or transaction runs it: the service role. Else it is the owner.
    pub(crate) by_service: bool,
}

/// A token without nesting. Brackets are marks.
#[derive(Debug, Clone, PartialEq)]
enum Token {
    Word(String),
    Text(String),
    Mark(char),
}

struct Source {
    file: String,
    /// With the line of each.
    tokens: Vec<(Token, usize)>,
}

/// Every SQL text in `crates/rowhouse*/src`.
pub(crate) fn sql_texts() -> Vec<SqlText> {
    let root = root();
    let mut found = Vec::new();
    for directory in entries(&root.join("crates")) {
        let name = directory.file_name().unwrap().to_str().unwrap();
        // The testkit is no part of the product.
        if !name.starts_with("rowhouse") || name == "rowhouse-testkit" {
            continue;
        }
        let mut files = Vec::new();
        rust_files(&directory.join("src"), &mut files);
        let sources: Vec<Source> = files.iter().map(|file| Source::read(&root, file)).collect();
        found.extend(sources.iter().flat_map(|source| source.sql_texts(&sources)));
    }
    found
}

/// The text of a constant in a source file.
pub(crate) fn constant(file: &str, name: &str) -> String {
    let root = root();
    let source = Source::read(&root, &root.join(file));
    source.constant(name).unwrap_or_else(|| panic!("{file} has no text constant {name}"))
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().unwrap()
}

fn entries(directory: &Path) -> Vec<PathBuf> {
    let mut paths: Vec<_> = std::fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    paths
}

fn rust_files(directory: &Path, files: &mut Vec<PathBuf>) {
    for path in entries(directory) {
        if path.is_dir() {
            rust_files(&path, files);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
}

/// A query or a change of rows. What defines things (`create`, `grant`, `set`) cannot be prepared.
fn is_sql(text: &str) -> bool {
    let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
    let begins = |words: &str| text.starts_with(words);
    ["select ", "insert into ", "delete from ", "with "].into_iter().any(begins)
        || (begins("update ") && text.contains(" set "))
}

impl Source {
    fn read(root: &Path, path: &Path) -> Self {
        let file = path.strip_prefix(root).unwrap().to_str().unwrap();
        Self::parse(file, &std::fs::read_to_string(path).unwrap())
    }

    fn parse(file: &str, text: &str) -> Self {
        let stream: TokenStream = text.parse().unwrap_or_else(|error| panic!("{file}: {error}"));
        let mut tokens = Vec::new();
        flatten(stream, &mut tokens);
        Self { file: file.to_owned(), tokens }
    }

    fn at(&self, index: usize) -> Option<&Token> {
        self.tokens.get(index).map(|(token, _)| token)
    }

    fn word(&self, index: usize) -> Option<&str> {
        if let Some(Token::Word(word)) = self.at(index) { Some(word) } else { None }
    }

    fn mark(&self, index: usize, mark: char) -> bool {
        self.at(index) == Some(&Token::Mark(mark))
    }

    /// Whether `name!(` stands right before the token.
    fn in_macro(&self, index: usize, name: &str) -> bool {
        index >= 3 && self.mark(index - 1, '(') && self.mark(index - 2, '!') && self.word(index - 3) == Some(name)
    }

    fn sql_texts(&self, sources: &[Self]) -> Vec<SqlText> {
        let mut found = Vec::new();
        for (index, (token, line)) in self.tokens.iter().enumerate() {
            let value = match token {
                Token::Text(text) if is_sql(text) && !self.in_macro(index, "concat") => Some((text.clone(), index)),
                Token::Word(word) if word == "const" => self.macro_constant(index),
                _ => None,
            };
            let Some((text, index)) = value else { continue };
            let (text, open) = if self.in_macro(index, "format") { fill(&text, self, sources) } else { (text, vec![]) };
            let place = format!("{}:{line}", self.file);
            found.push(SqlText { place, file: self.file.clone(), text, open, by_service: self.runs_by_service(index) });
        }
        found
    }

    /// The text of `const NAME: &str = local_macro!("…", "…")`, where the macro is a `concat!`.
    fn macro_constant(&self, index: usize) -> Option<(String, usize)> {
        let value = self.constant_value(index)?;
        let (name, mut arguments) = (self.word(value)?, Vec::new());
        if !self.mark(value + 1, '!') || !self.mark(value + 2, '(') {
            return None;
        }
        let mut at = value + 3;
        while !self.mark(at, ')') {
            if let Some(Token::Text(text)) = self.at(at) {
                arguments.push(text.as_str());
            }
            at += 1;
        }
        let text = self.expand(name, &arguments)?;
        is_sql(&text).then_some((text, value))
    }

    /// What `name!(arguments)` concatenates.
    fn expand(&self, name: &str, arguments: &[&str]) -> Option<String> {
        let defined = (0..self.tokens.len())
            .find(|at| self.word(*at) == Some("macro_rules") && self.word(*at + 2) == Some(name))?;
        let concat = (defined..self.tokens.len()).find(|at| self.word(*at) == Some("concat"))?;
        let parameters: Vec<&str> =
            (defined..concat).filter(|at| self.mark(*at, '$')).filter_map(|at| self.word(at + 1)).collect();
        let mut text = String::new();
        for at in concat + 3.. {
            match self.at(at)? {
                Token::Mark(')') => return Some(text),
                Token::Text(part) => text.push_str(part),
                Token::Word(word) => {
                    let position = parameters.iter().position(|parameter| parameter == word)?;
                    text.push_str(arguments.get(position)?);
                }
                Token::Mark(_) => {}
            }
        }
        None
    }

    /// Where the value of `const NAME: &str = …` or `let name = …` begins.
    fn constant_value(&self, index: usize) -> Option<usize> {
        let equals = (index + 2..index + 8).find(|at| self.mark(*at, '='))?;
        Some(equals + 1)
    }

    /// The text of a constant of this name.
    fn constant(&self, name: &str) -> Option<String> {
        let named = |at: &usize| self.word(*at) == Some("const") && self.word(*at + 1) == Some(name);
        let index = (0..self.tokens.len()).find(named)?;
        match self.at(self.constant_value(index)?)? {
            Token::Text(text) => Some(text.clone()),
            _ => None,
        }
    }

    /// Whether a tenant's connection runs the text at this token. Only those have `run` and
    /// `run_all` and take a `Statement`, and a transaction of theirs is called `transaction`.
    fn runs_by_service(&self, index: usize) -> bool {
        let opening = (0..index).rev().take(4).find(|at| self.mark(*at, '('));
        if opening.is_some_and(|opening| self.is_tenants_call(opening)) {
            return true;
        }
        // Back to the `const NAME` or `let name` that it is the value of.
        let Some(named) = (index.saturating_sub(9)..index)
            .rev()
            .find(|at| matches!(self.word(*at), Some("const" | "let")))
            .and_then(|at| self.word(at + 1))
        else {
            return false;
        };
        let mut uses = (index + 1..self.tokens.len()).filter(|at| self.word(*at) == Some(named));
        let is_constant = named.starts_with(char::is_uppercase);
        let tenants = |at: usize| {
            let opening = if self.mark(at - 1, '&') { at - 2 } else { at - 1 };
            let in_statement = self.mark(at - 1, ':') && self.word(at - 2) == Some("sql");
            in_statement || (self.mark(opening, '(') && self.is_tenants_call(opening))
        };
        // A local name is used next and may be taken again after that.
        if is_constant { uses.any(tenants) } else { uses.next().is_some_and(tenants) }
    }

    fn is_tenants_call(&self, opening: usize) -> bool {
        if opening < 3 || !self.mark(opening - 2, '.') {
            return false;
        }
        let receiver = self.word(opening - 3);
        matches!(self.word(opening - 1), Some("run" | "run_all")) || receiver == Some("transaction")
    }
}

/// Leaves out what is compiled for tests only.
fn flatten(stream: TokenStream, tokens: &mut Vec<(Token, usize)>) {
    let trees: Vec<TokenTree> = stream.into_iter().collect();
    let mut skipping = false;
    for (index, tree) in trees.iter().enumerate() {
        let line = tree.span().start().line;
        match tree {
            TokenTree::Ident(word) => tokens.push((Token::Word(word.to_string()), line)),
            TokenTree::Punct(mark) => {
                let attribute = trees.get(index + 1).map(ToString::to_string).unwrap_or_default();
                skipping |= mark.as_char() == '#' && attribute.replace(' ', "") == "[cfg(test)]";
                tokens.push((Token::Mark(mark.as_char()), line));
            }
            TokenTree::Literal(literal) => {
                if let Ok(text) = syn::parse_str::<syn::LitStr>(&literal.to_string()) {
                    tokens.push((Token::Text(text.value()), line));
                }
            }
            TokenTree::Group(group) => {
                let (open, close) = match group.delimiter() {
                    Delimiter::Parenthesis => ('(', ')'),
                    Delimiter::Brace => ('{', '}'),
                    Delimiter::Bracket => ('[', ']'),
                    Delimiter::None => (' ', ' '),
                };
                let is_attribute = index > 0 && matches!(&trees[index - 1], TokenTree::Punct(p) if p.as_char() == '#');
                tokens.push((Token::Mark(open), line));
                let is_test = skipping && open == '{';
                if !is_attribute && !is_test {
                    flatten(group.stream(), tokens);
                }
                skipping &= open != '{';
                tokens.push((Token::Mark(close), line));
            }
        }
    }
}

/// A `format!`'s text with the constants of the crate filled in, and what is still open.
fn fill(text: &str, source: &Source, sources: &[Source]) -> (String, Vec<String>) {
    let mut open = Vec::new();
    let mut filled = String::new();
    let mut rest = text;
    while let Some(begin) = rest.find(['{', '}']) {
        filled.push_str(&rest[..begin]);
        rest = &rest[begin..];
        if rest.starts_with("{{") || rest.starts_with("}}") {
            filled.push_str(&rest[..1]);
            rest = &rest[2..];
            continue;
        }
        let end = rest.find('}').unwrap() + 1;
        let (hole, name) = (&rest[..end], &rest[1..end - 1]);
        // In the same file first: the same name may stand for something else in another.
        let constant = source.constant(name).or_else(|| sources.iter().find_map(|source| source.constant(name)));
        match constant.filter(|_| name.starts_with(char::is_uppercase)) {
            Some(constant) => filled.push_str(&constant),
            None => {
                open.push(hole.to_owned());
                filled.push_str(hole);
            }
        }
        rest = &rest[end..];
    }
    filled.push_str(rest);
    (filled, open)
}

#[test]
fn texts_are_found_in_every_form_that_they_are_written_in() {
    let source = Source::parse(
        "x.rs",
        r#"
        const COLUMNS: &str = "id, name";
        macro_rules! list { ($what:literal, $where:literal) => { concat!("select ", $what, " from t where ", $where) } }
        const LIST: &str = list!("a", "b = $1");
        const MANY: &str = "select many";
        /// Says "select nothing".
        async fn f(connection: C, transaction: T) -> R {
            const ONE: &str = "
                update t
                set a = 1";
            let message = "selected";
            connection.query(ONE, &[]).await?;
            transaction.query("delete from t", &[]).await?;
            connection.run(MANY, &[]).await?;
            let sql = format!("select {COLUMNS} from {table} where a = '{{}}'");
            connection.run(&sql, &[]).await?;
            let sql = "select 2";
            connection.query(sql, &[]).await
        }
        #[cfg(test)]
        mod tests { const TEST: &str = "select 'test'"; }
        "#,
    );
    let found: Vec<(String, bool)> =
        source.sql_texts(&[]).into_iter().map(|sql| (sql.text.trim().to_owned(), sql.by_service)).collect();
    let expected = [
        ("select a from t where b = $1", false),
        ("select many", true),
        ("update t\n                set a = 1", false),
        ("delete from t", true),
        ("select id, name from {table} where a = '{}'", true),
        ("select 2", false),
    ];
    assert_eq!(found, expected.map(|(text, by_service)| (text.to_owned(), by_service)));
}
