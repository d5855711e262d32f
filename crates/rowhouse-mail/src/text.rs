//! Texts that people choose (their own names, their organisation's, their browser's) made fit for
//! a mail: one line, bounded, and nothing in them that a mail program would turn into a link.
//! Otherwise whoever may invite could send anybody any message under the service's name.

/// Longest text that is kept, in characters.
const LENGTH_MAX: usize = 80;
/// Invisible, without width, breaks nothing for a reader: it only ends what looks like a link.
const WORD_JOINER: char = '\u{2060}';

/// The text as one line of at most 80 characters, without marks that change the direction of
/// writing, and with whatever looks like an address (`evil.example`, `//`, `a@b`) broken up.
pub(crate) fn line(text: &str) -> String {
    let visible: String = text.chars().map(|c| if c.is_control() || c.is_whitespace() { ' ' } else { c }).collect();
    let words: Vec<&str> = visible.split(' ').filter(|word| !word.is_empty()).collect();
    let kept: Vec<char> = words.join(" ").chars().filter(|c| !is_hidden(*c)).collect();
    let cut = kept.len() > LENGTH_MAX;
    let mut line = String::new();
    let mut rest = kept.iter().take(if cut { LENGTH_MAX - 1 } else { LENGTH_MAX }).peekable();
    while let Some(c) = rest.next() {
        line.push(*c);
        if matches!(c, '.' | ':' | '/' | '@' | '。' | '．' | '｡') && rest.peek().is_some_and(|next| **next != ' ') {
            line.push(WORD_JOINER);
        }
    }
    if cut {
        line.push('…');
    }
    line
}

/// Marks without width and those that turn the direction of writing around. The joiners that some
/// scripts need (U+200C, U+200D) stay.
fn is_hidden(c: char) -> bool {
    matches!(c, '\u{200b}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{061c}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ordinary_names_stay_as_they_are() {
        for name in ["Acme & Sons", "St. Mary's", "Łódź Zoo", "山田太郎", "Ann \"the boss\" O'Neill"] {
            assert_eq!(line(name), name);
        }
    }

    #[test]
    fn a_name_is_one_bounded_line() {
        assert_eq!(line(" Acme\r\nBcc: all@evil.example\0 "), "Acme Bcc: all@\u{2060}evil.\u{2060}example");
        assert_eq!(line("a\u{202e}b\u{200b}c\u{2028}d"), "abc d");
        assert_eq!(line(&"é".repeat(500)).chars().count(), LENGTH_MAX);
        assert_eq!(line(" \n "), "");
    }

    #[test]
    fn nothing_in_a_name_becomes_a_link() {
        let text = line("Win at https://evil.example/x now");
        assert!(!text.contains("://") && !text.contains("evil.example"), "{text:?}");
    }
}
