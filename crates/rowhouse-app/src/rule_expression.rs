//! The part of PostgreSQL's expressions that simple checks use, read from the text that
//! `pg_get_constraintdef` prints. Casts are dropped. Anything else is no expression here.

/// An expression.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Node {
    Column(String),
    Literal(String),
    Call(String, Vec<Node>),
    /// Left, operator, right.
    Compare(Box<Node>, String, Box<Node>),
    /// `= ANY (ARRAY[…])`
    OneOf(Box<Node>, Vec<Node>),
    /// `IS NULL`, or `IS NOT NULL` if false.
    IsNull(Box<Node>, bool),
    And(Vec<Node>),
    Or(Vec<Node>),
}

impl Node {
    pub(crate) fn literal(&self) -> Option<&str> {
        if let Self::Literal(text) = self { Some(text) } else { None }
    }

    pub(crate) fn column(&self) -> Option<&str> {
        if let Self::Column(name) = self { Some(name) } else { None }
    }

    /// All columns in it.
    pub(crate) fn columns(&self) -> Vec<&str> {
        match self {
            Self::Column(name) => vec![name],
            Self::Literal(_) => Vec::new(),
            Self::Call(_, nodes) | Self::And(nodes) | Self::Or(nodes) => nodes.iter().flat_map(Self::columns).collect(),
            Self::Compare(left, _, right) => [left.columns(), right.columns()].concat(),
            Self::OneOf(node, _) | Self::IsNull(node, _) => node.columns(),
        }
    }
}

/// Reads the whole text; none if any of it is not understood.
pub(crate) fn parse(text: &str) -> Option<Node> {
    let tokens = tokens(text)?;
    let mut parser = Parser { tokens: &tokens, at: 0 };
    let node = parser.either()?;
    (parser.at == tokens.len()).then_some(node)
}

#[derive(Debug, Clone, PartialEq)]
enum Token {
    /// A keyword or a name, as it stands.
    Word(String),
    /// A name in quotes.
    Name(String),
    Literal(String),
    /// An operator or a bracket.
    Mark(String),
}

const OPERATOR_MARKS: &str = "<>=~!*+-/%^&|#@?";

fn tokens(text: &str) -> Option<Vec<Token>> {
    let mut tokens = Vec::new();
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let length = match first {
            _ if first.is_whitespace() => first.len_utf8(),
            '\'' | '"' => {
                let (content, length) = quoted(rest, first)?;
                tokens.push(if first == '"' { Token::Name(content) } else { Token::Literal(content) });
                length
            }
            '0'..='9' => {
                let end = rest.find(|letter: char| !letter.is_ascii_digit() && letter != '.').unwrap_or(rest.len());
                tokens.push(Token::Literal(rest[..end].to_owned()));
                end
            }
            _ if first.is_alphabetic() || first == '_' => {
                let end = rest.find(|letter: char| !letter.is_alphanumeric() && letter != '_').unwrap_or(rest.len());
                tokens.push(Token::Word(rest[..end].to_owned()));
                end
            }
            ':' => {
                rest.strip_prefix("::")?;
                tokens.push(Token::Mark("::".to_owned()));
                2
            }
            '(' | ')' | '[' | ']' | ',' => {
                tokens.push(Token::Mark(first.to_string()));
                1
            }
            _ if OPERATOR_MARKS.contains(first) => {
                let end = rest.find(|letter| !OPERATOR_MARKS.contains(letter)).unwrap_or(rest.len());
                tokens.push(Token::Mark(rest[..end].to_owned()));
                end
            }
            _ => return None,
        };
        rest = &rest[length..];
    }
    Some(tokens)
}

/// What stands between quotes, in which a doubled quote is one; and the length of all.
fn quoted(text: &str, quote: char) -> Option<(String, usize)> {
    let mut content = String::new();
    let mut letters = text.char_indices().skip(1).peekable();
    while let Some((at, letter)) = letters.next() {
        if letter != quote {
            content.push(letter);
        } else if letters.peek().is_some_and(|(_, next)| *next == quote) {
            content.push(quote);
            letters.next();
        } else {
            return Some((content, at + 1));
        }
    }
    None
}

struct Parser<'a> {
    tokens: &'a [Token],
    at: usize,
}

impl Parser<'_> {
    fn mark(&mut self, mark: &str) -> Option<()> {
        self.take(|token| matches!(token, Token::Mark(found) if found == mark))
    }

    fn word(&mut self, word: &str) -> Option<()> {
        self.take(|token| matches!(token, Token::Word(found) if found == word))
    }

    fn take(&mut self, wanted: impl Fn(&Token) -> bool) -> Option<()> {
        self.tokens.get(self.at).filter(|token| wanted(token))?;
        self.at += 1;
        Some(())
    }

    fn either(&mut self) -> Option<Node> {
        self.joined("OR", Self::all, Node::Or)
    }

    fn all(&mut self) -> Option<Node> {
        self.joined("AND", Self::condition, Node::And)
    }

    fn joined(
        &mut self,
        word: &str,
        part: impl Fn(&mut Self) -> Option<Node>,
        make: impl Fn(Vec<Node>) -> Node,
    ) -> Option<Node> {
        let first = part(self)?;
        let mut parts = vec![first];
        while self.word(word).is_some() {
            parts.push(part(self)?);
        }
        if parts.len() > 1 { Some(make(parts)) } else { parts.pop() }
    }

    fn condition(&mut self) -> Option<Node> {
        let left = self.operand()?;
        if self.word("IS").is_some() {
            let absent = self.word("NOT").is_none();
            self.word("NULL")?;
            return Some(Node::IsNull(left.into(), absent));
        }
        let Some(Token::Mark(operator)) = self.tokens.get(self.at) else { return Some(left) };
        if !operator.chars().all(|letter| OPERATOR_MARKS.contains(letter)) {
            return Some(left);
        }
        let operator = operator.clone();
        self.at += 1;
        if self.word("ANY").is_some() {
            let list = self.list()?;
            return (operator == "=").then(|| Node::OneOf(left.into(), list));
        }
        let right = self.operand()?;
        Some(Node::Compare(left.into(), operator, right.into()))
    }

    /// `(ARRAY[…])`, with or without a cast and brackets of its own.
    fn list(&mut self) -> Option<Vec<Node>> {
        self.mark("(")?;
        let inner = self.mark("(").is_some();
        self.word("ARRAY")?;
        let values = self.arguments("[", "]")?;
        if inner {
            self.mark(")")?;
            self.casts()?;
        }
        self.mark(")")?;
        Some(values)
    }

    fn arguments(&mut self, open: &str, close: &str) -> Option<Vec<Node>> {
        self.mark(open)?;
        let mut values = Vec::new();
        while self.mark(close).is_none() {
            if !values.is_empty() {
                self.mark(",")?;
            }
            values.push(self.either()?);
        }
        Some(values)
    }

    fn operand(&mut self) -> Option<Node> {
        let node = match self.tokens.get(self.at)?.clone() {
            Token::Literal(text) => {
                self.at += 1;
                Node::Literal(text)
            }
            Token::Name(name) => {
                self.at += 1;
                Node::Column(name)
            }
            Token::Mark(mark) if mark == "-" => {
                self.at += 1;
                let Node::Literal(number) = self.operand()? else { return None };
                Node::Literal(format!("-{number}"))
            }
            Token::Mark(_) => {
                self.mark("(")?;
                let node = self.either()?;
                self.mark(")")?;
                node
            }
            Token::Word(word) => self.named(&word)?,
        };
        self.casts()?;
        Some(node)
    }

    /// A column or a call. Keywords are in capitals, and unquoted names never are.
    fn named(&mut self, word: &str) -> Option<Node> {
        self.at += 1;
        if word == "TRIM" {
            self.mark("(")?;
            self.word("BOTH")?;
            self.word("FROM")?;
            let of = self.either()?;
            self.mark(")")?;
            return Some(Node::Call("trim".to_owned(), vec![of]));
        }
        if word.chars().any(char::is_uppercase) || matches!(word, "true" | "false") {
            return None;
        }
        match self.tokens.get(self.at) {
            Some(Token::Mark(mark)) if mark == "(" => Some(Node::Call(word.to_owned(), self.arguments("(", ")")?)),
            _ => Some(Node::Column(word.to_owned())),
        }
    }

    /// `::character varying(20)[]`: says nothing that a person must know.
    fn casts(&mut self) -> Option<()> {
        while self.mark("::").is_some() {
            let words = |token: &Token| match token {
                Token::Word(word) => !word.chars().any(char::is_uppercase),
                Token::Name(_) => true,
                Token::Literal(_) | Token::Mark(_) => false,
            };
            self.take(words)?;
            while self.take(words).is_some() {}
            if self.mark("(").is_some() {
                while self.mark(")").is_none() {
                    self.at += 1;
                    self.tokens.get(self.at)?;
                }
                while self.take(words).is_some() {}
            }
            while self.mark("[").is_some() {
                self.mark("]")?;
            }
        }
        Some(())
    }
}
