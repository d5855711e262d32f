//! The part of PostgreSQL's expressions that simple checks use, taken from the syntax tree of what
//! `pg_get_constraintdef` prints. Casts are dropped. Anything else is no expression here.

use squawk_syntax::SourceFile;
use squawk_syntax::ast::{
    AstNode, BinExpr, BinOp, CallExpr, CheckConstraint, Expr, FuncArgExpr, LitKind, Literal, NameRef, PrefixOp,
    TrimArgs, TrimSide,
};

/// Bytes of a definition that is read. What is longer makes no sentence that somebody would read.
const LENGTH_MAX: usize = 4096;

/// Brackets in brackets, and operators of a definition: the parser goes down the stack for each.
const BRACKET_DEPTH_MAX: usize = 50;
const OPERATORS_MAX: usize = 200;

/// An expression.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Node {
    Column(String),
    Text(String),
    Number(String),
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
        if let Self::Text(literal) | Self::Number(literal) = self { Some(literal) } else { None }
    }

    pub(crate) fn column(&self) -> Option<&str> {
        if let Self::Column(name) = self { Some(name) } else { None }
    }

    /// All columns in it.
    pub(crate) fn columns(&self) -> Vec<&str> {
        match self {
            Self::Column(name) => vec![name],
            Self::Text(_) | Self::Number(_) => Vec::new(),
            Self::Call(_, nodes) | Self::And(nodes) | Self::Or(nodes) => nodes.iter().flat_map(Self::columns).collect(),
            Self::Compare(left, _, right) => [left.columns(), right.columns()].concat(),
            Self::OneOf(node, _) | Self::IsNull(node, _) => node.columns(),
        }
    }
}

/// Reads a whole definition, `CHECK (…)`; none if any of it is not understood.
pub(crate) fn parse(definition: &str) -> Option<Node> {
    if !is_shallow(definition) {
        return None;
    }
    let statement = format!("alter table t add {definition}");
    let parsed = SourceFile::parse(&statement);
    if !parsed.errors().is_empty() {
        return None;
    }
    let check = parsed.syntax_node().descendants().find_map(CheckConstraint::cast)?;
    // What stands beside it is another action or statement.
    let whole = usize::from(check.syntax().text_range().len()) == definition.len();
    whole.then(|| node(&check.expr()?)).flatten()
}

/// The literals of `CHECK ((status = ANY (ARRAY['a'::text, 'b'::text])))`, as PostgreSQL prints
/// `check (status in ('a', 'b'))`; none for any other check.
pub(crate) fn allowed_values(definition: &str) -> Option<Vec<String>> {
    let Node::OneOf(of, values) = parse(definition)? else { return None };
    of.column()?;
    let text = |value| if let Node::Text(text) = value { Some(text) } else { None };
    let values: Vec<String> = values.into_iter().map(text).collect::<Option<_>>()?;
    (!values.is_empty()).then_some(values)
}

/// Whether it can be parsed without a look at the stack, of which the parser has no bound.
fn is_shallow(definition: &str) -> bool {
    if definition.len() > LENGTH_MAX {
        return false;
    }
    let (mut depth, mut operators, mut in_operator) = (0usize, 0, false);
    for letter in definition.chars() {
        match letter {
            '(' | '[' => depth += 1,
            ')' | ']' => depth = depth.saturating_sub(1),
            _ => {}
        }
        let is_operator = "<>=~!*+-/%^&|#@?".contains(letter);
        operators += usize::from(is_operator && !in_operator);
        in_operator = is_operator;
        if depth > BRACKET_DEPTH_MAX {
            return false;
        }
    }
    let prefixes = definition
        .split(|letter: char| !letter.is_alphanumeric())
        .filter(|word| ["not", "case"].iter().any(|prefix| word.eq_ignore_ascii_case(prefix)));
    operators + prefixes.count() <= OPERATORS_MAX
}

fn node(expression: &Expr) -> Option<Node> {
    match bare(expression.clone())? {
        Expr::BinExpr(binary) => binary_node(&binary),
        Expr::CallExpr(call) => call_node(&call),
        Expr::Literal(literal) => literal_node(&literal),
        Expr::NameRef(name) => Some(Node::Column(name_text(&name)?)),
        Expr::PrefixExpr(prefix) => {
            let (PrefixOp::Minus(_), Node::Number(number)) = (prefix.op()?, node(&prefix.expr()?)?) else {
                return None;
            };
            Some(Node::Number(format!("-{number}")))
        }
        _ => None,
    }
}

/// Without the brackets around it and the casts behind it: they say nothing that a person must know.
fn bare(mut expression: Expr) -> Option<Expr> {
    loop {
        expression = match expression {
            Expr::ParenExpr(inner) => inner.expr()?,
            Expr::CastExpr(cast) => {
                cast.colon_colon()?;
                cast.expr()?
            }
            other => return Some(other),
        }
    }
}

fn binary_node(binary: &BinExpr) -> Option<Node> {
    let operator = match binary.op()? {
        BinOp::And(_) => return Some(Node::And(joined(binary, |operator| matches!(operator, BinOp::And(_)))?)),
        BinOp::Or(_) => return Some(Node::Or(joined(binary, |operator| matches!(operator, BinOp::Or(_)))?)),
        BinOp::Is(_) => return is_null(binary, true),
        BinOp::IsNot(_) => return is_null(binary, false),
        BinOp::Eq(_) => "=".to_owned(),
        BinOp::Neqb(_) | BinOp::Neq(_) => "<>".to_owned(),
        BinOp::LAngle(_) => "<".to_owned(),
        BinOp::Lteq(_) => "<=".to_owned(),
        BinOp::RAngle(_) => ">".to_owned(),
        BinOp::Gteq(_) => ">=".to_owned(),
        BinOp::CustomOp(custom) => custom.syntax().text().to_string(),
        _ => return None,
    };
    let (left, right) = (node(&binary.lhs()?)?, binary.rhs()?);
    if let Expr::CallExpr(call) = &right
        && let Some(any) = call.any_fn()
    {
        let Expr::ArrayExpr(list) = bare(any.expr()?)? else { return None };
        list.l_brack_token()?;
        let values = list.exprs().map(|value| node(&value)).collect::<Option<_>>()?;
        return (operator == "=").then(|| Node::OneOf(left.into(), values));
    }
    Some(Node::Compare(left.into(), operator, node(&right)?.into()))
}

/// `a AND b AND c` leans to the left in the tree.
fn joined(binary: &BinExpr, same: impl Fn(&BinOp) -> bool) -> Option<Vec<Node>> {
    let mut parts = vec![node(&binary.rhs()?)?];
    let mut first = binary.lhs()?;
    while let Expr::BinExpr(inner) = &first
        && inner.op().is_some_and(|operator| same(&operator))
    {
        parts.push(node(&inner.rhs()?)?);
        first = inner.lhs()?;
    }
    parts.push(node(&first)?);
    parts.reverse();
    Some(parts)
}

fn is_null(binary: &BinExpr, absent: bool) -> Option<Node> {
    let Expr::Literal(literal) = binary.rhs()? else { return None };
    matches!(literal.kind()?, LitKind::Null(_)).then_some(())?;
    Some(Node::IsNull(node(&binary.lhs()?)?.into(), absent))
}

fn call_node(call: &CallExpr) -> Option<Node> {
    if let Some(trim) = call.trim_fn() {
        let (TrimSide::TrimBoth(_), TrimArgs::TrimFrom(from)) = (trim.trim_side()?, trim.trim_args()?) else {
            return None;
        };
        let of = from.exprs().map(|of| node(&of)).collect::<Option<_>>()?;
        return Some(Node::Call("trim".to_owned(), of));
    }
    let Expr::NameRef(function) = call.expr()? else { return None };
    let list = call.arg_list()?;
    // Beside the name and the arguments: FILTER, OVER and the like.
    if call.syntax().children().count() > 2 || list.all_or_distinct().is_some() || list.star_token().is_some() {
        return None;
    }
    let arguments = list.args().map(|argument| match argument.func_arg_expr()? {
        FuncArgExpr::Expr(value) if argument.variadic_token().is_none() => node(&value),
        _ => None,
    });
    Some(Node::Call(name_text(&function)?, arguments.collect::<Option<_>>()?))
}

/// PostgreSQL prints in capitals, without quotes, what only looks like a name: `CURRENT_DATE`.
fn name_text(name: &NameRef) -> Option<String> {
    let special = !name.is_quoted() && name.syntax().text().to_string().chars().any(char::is_uppercase);
    (!special).then(|| name.text())
}

fn literal_node(literal: &Literal) -> Option<Node> {
    match literal.kind()? {
        LitKind::String(_) | LitKind::EscString(_) => literal.string_value().map(Node::Text),
        LitKind::IntNumber(number) | LitKind::NumericNumber(number) => Some(Node::Number(number.text().to_owned())),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// What expressions are made of, in any order.
    fn pieces() -> impl Strategy<Value = String> {
        let piece = prop::sample::select(vec![
            "(", ")", "[", "]", "a", "\"b c\"", "'x'", "'", "\"", "1", "-", "=", "<>", "~~", "::", "text", ",", ".",
            "NOT", "AND", "OR", "IS", "NULL", "ANY", "ARRAY", "TRIM", "BOTH", "FROM", "CASE", "WHEN", "END", "length",
            ";", "$$", "--", "/*", "CHECK", "COLLATE", "E'\\", "U&\"", "select", "\0", "é",
        ]);
        prop::collection::vec(piece, 0..60).prop_map(|pieces| pieces.join(" "))
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_not(text in any::<String>()) {
            let _ = parse(&text);
            let _ = parse(&format!("CHECK ({text})"));
        }

        #[test]
        fn any_pieces_are_read_or_not(text in pieces()) {
            let _ = parse(&format!("CHECK (({text}))"));
        }

        #[test]
        fn any_literal_is_read_as_it_is(literal in "[^\0]*") {
            let definition = format!("CHECK ((a = '{}'::text))", literal.replace('\'', "\'\'"));
            let column = Node::Column("a".to_owned());
            let expected = Node::Compare(column.into(), "=".to_owned(), Node::Text(literal).into());
            prop_assert_eq!(parse(&definition), Some(expected));
        }
    }

    #[test]
    fn the_literals_of_an_in_list_only_are_allowed_values() {
        let check = "CHECK ((status = ANY (ARRAY['new'::text, 'this OR that'::text, 'it''s'::text])))";
        assert_eq!(allowed_values(check).unwrap(), ["new", "this OR that", "it's"]);
        let varchar = "CHECK (((kind)::text = ANY ((ARRAY['a'::character varying, 'b'::character varying])::text[])))";
        assert_eq!(allowed_values(varchar).unwrap(), ["a", "b"]);
        for other in [
            "CHECK ((length(name) > 0))",
            "CHECK ((NOT (status = ANY (ARRAY['a'::text]))))",
            "CHECK ((n = ANY (ARRAY[1, 2])))",
            "CHECK ((lower(status) = ANY (ARRAY['a'::text])))",
            "CHECK (((status = ANY (ARRAY['a'::text])) AND (n > 0)))",
        ] {
            assert_eq!(allowed_values(other), None, "{other}");
        }
    }

    #[test]
    fn what_is_deep_is_left_alone() {
        for (open, close) in
            [("(", ")"), ("f(", ")"), ("array[", "]"), ("- ", ""), ("NOT ", ""), ("case when a then b else ", " end")]
        {
            for times in [10, 1000, 100_000] {
                let _ = parse(&format!("CHECK ({}a{})", open.repeat(times), close.repeat(times)));
            }
        }
        assert!(parse(&format!("CHECK ({}a > 0{})", "(".repeat(40), ")".repeat(40))).is_some());
    }

    #[test]
    fn only_one_check_is_read() {
        for definition in
            ["CHECK ((a > 0)), DROP COLUMN a", "CHECK ((a > 0)); select 1", "UNIQUE (a)", "CHECK ((a > 0)) --"]
        {
            assert_eq!(parse(definition), None, "{definition}");
        }
    }
}
