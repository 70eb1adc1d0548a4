//! Words of a command line in a unit file: taken apart and put together as systemd does it (systemd.syntax(7), *Quoting*;
//! systemd.service(5), *Command lines*).
//!
//! Words are parted by blanks; within `"` or `'` blanks belong to the word; `\` begins an escape of C, outside of quotes
//! and within both. `%` specifiers and `$` variables are systemd's to resolve, when it runs the command, and stay as they
//! are. No shell's rules: those know other escapes, and no crate has systemd's.

/// Why a text is no list of words.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum WordsError {
    /// A quote without its end.
    #[error("the quote {0} has no end")]
    Quote(char),
    /// An escape that systemd does not have, or that stands for no character of UTF-8 or for NUL.
    #[error("systemd knows no escape {0:?} here; write \\\\ for a backslash")]
    Escape(String),
}

/// The words of `text`, without quotes and escapes.
///
/// # Errors
/// What systemd would refuse the line for. Bytes above 0x7f have to be written as the characters they are part of.
pub fn split(text: &str) -> Result<Vec<String>, WordsError> {
    let mut words = Vec::new();
    let mut rest = text.trim_start_matches(is_separator);
    while !rest.is_empty() {
        let (word, after) = first(rest)?;
        words.push(word);
        rest = after.trim_start_matches(is_separator);
    }
    Ok(words)
}

fn is_separator(c: char) -> bool {
    matches!(c, ' ' | '\t' | '\n' | '\r')
}

fn first(text: &str) -> Result<(String, &str), WordsError> {
    let mut word = String::new();
    let mut quote = None;
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        match (c, quote) {
            (c, None) if is_separator(c) => break,
            ('"' | '\'', None) => quote = Some(c),
            (c, Some(open)) if c == open => quote = None,
            ('\\', _) => {
                let (unescaped, length) = escape(&rest[1..])?;
                word.push(unescaped);
                rest = &rest[1 + length..];
                continue;
            }
            (c, _) => word.push(c),
        }
        rest = &rest[c.len_utf8()..];
    }
    match quote {
        Some(open) => Err(WordsError::Quote(open)),
        None => Ok((word, rest)),
    }
}

/// The character an escape stands for, and the length of the escape behind its backslash.
fn escape(text: &str) -> Result<(char, usize), WordsError> {
    let simple = |c| Ok((c, 1));
    match text.chars().next() {
        Some('a') => simple('\u{7}'),
        Some('b') => simple('\u{8}'),
        Some('f') => simple('\u{c}'),
        Some('n') => simple('\n'),
        Some('r') => simple('\r'),
        Some('t') => simple('\t'),
        Some('v') => simple('\u{b}'),
        Some('s') => simple(' '),
        Some(c @ ('\\' | '"' | '\'')) => simple(c),
        Some('x') => numeric(text, 1, 2, 16, 0x7f),
        Some('u') => numeric(text, 1, 4, 16, u32::MAX),
        Some('U') => numeric(text, 1, 8, 16, u32::MAX),
        Some('0'..='7') => numeric(text, 0, 3, 8, 0x7f),
        other => Err(unknown(other.map_or(0, char::len_utf8), text)),
    }
}

fn numeric(
    text: &str,
    prefix: usize,
    digits: usize,
    radix: u32,
    most: u32,
) -> Result<(char, usize), WordsError> {
    let wrong = || unknown(text.chars().take(prefix + digits).map(char::len_utf8).sum(), text);
    let number = text.get(prefix..prefix + digits).ok_or_else(wrong)?;
    if !number.chars().all(|c| c.is_digit(radix)) {
        return Err(wrong());
    }
    let code = u32::from_str_radix(number, radix).map_err(|_| wrong())?;
    let found = char::from_u32(code).filter(|_| code > 0 && code <= most);
    Ok((found.ok_or_else(wrong)?, prefix + digits))
}

fn unknown(length: usize, text: &str) -> WordsError {
    WordsError::Escape(format!("\\{}", &text[..length]))
}

/// `word` as one word of a command line. What systemd resolves (`%`, `$`) is not touched.
pub fn quote(word: &str) -> String {
    if !needs_quotes(word) {
        return word.to_owned();
    }
    let mut out = String::with_capacity(word.len() + 2);
    out.push('"');
    for c in word.chars() {
        match c {
            '"' | '\\' => {
                out.push('\\');
                out.push(c);
            }
            '\n' => out.push_str("\\n"),
            '\t' => out.push_str("\\t"),
            '\r' => out.push_str("\\r"),
            c if c.is_ascii_control() => out.push_str(&format!("\\x{:02x}", u32::from(c))),
            c if c.is_control() => out.push_str(&format!("\\u{:04x}", u32::from(c))),
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

/// Also where systemd would not want them: a lone `;` would end the command, and `#` or `;` at the beginning of a
/// continuation line would make a comment of it.
fn needs_quotes(word: &str) -> bool {
    let special = |c: char| c.is_whitespace() || c.is_control() || matches!(c, '"' | '\'' | '\\');
    word.is_empty() || word.starts_with(['#', ';']) || word.contains(special)
}

/// Where a line of words is broken, in characters, if it can be.
const WIDTH: usize = 100;

/// The words as the value of an option `name`, on as many lines as it takes to be read.
pub fn command_line(name: &str, words: &[String]) -> String {
    let mut value = String::new();
    let mut column = name.chars().count() + 1;
    for (number, word) in words.iter().enumerate() {
        let word = quote(word);
        let width = word.chars().count() + 1;
        // The last two columns are for the backslash.
        if number > 0 && column + width > WIDTH - 2 {
            value.push_str(" \\\n    ");
            column = 4;
        } else if number > 0 {
            value.push(' ');
        }
        value.push_str(&word);
        column += width;
    }
    value
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn words_are_found_as_systemd_finds_them() {
        let table: &[(&str, &[&str])] = &[
            ("", &[]),
            (" \t ", &[]),
            ("a  b\tc", &["a", "b", "c"]),
            (r#"one "two  three" 'fo"ur'"#, &["one", "two  three", "fo\"ur"]),
            (r#"a"b c"d '' """#, &["ab cd", "", ""]),
            (
                r#"\x41\u00e4\U0001F600\101\s\t "\"\\" '\''"#,
                &["Aä😀A \t", "\"\\", "'"],
            ),
            (
                "$A ${B} $$ %i %% ; #x",
                &["$A", "${B}", "$$", "%i", "%%", ";", "#x"],
            ),
            ("ä\u{a0}b", &["ä\u{a0}b"]),
        ];
        for (text, words) in table {
            assert_eq!(split(text).unwrap(), *words, "{text}");
        }
    }

    #[test]
    fn what_systemd_refuses_is_refused() {
        let escape = |text: &str| WordsError::Escape(text.to_owned());
        let table = [
            ("a \"b", WordsError::Quote('"')),
            ("a'", WordsError::Quote('\'')),
            ("\\", escape("\\")),
            ("\\q", escape("\\q")),
            ("\\ä", escape("\\ä")),
            ("\\x4", escape("\\x4")),
            ("\\x+4", escape("\\x+4")),
            ("\\x00", escape("\\x00")),
            ("\\xff", escape("\\xff")),
            ("\\ud800", escape("\\ud800")),
            ("\\uä", escape("\\uä")),
            ("\\000", escape("\\000")),
        ];
        for (text, error) in table {
            assert_eq!(split(text).unwrap_err(), error, "{text}");
        }
    }

    #[test]
    fn words_are_quoted_where_they_must_be() {
        let table = [
            ("--env=A=b", "--env=A=b"),
            ("${A}%i", "${A}%i"),
            ("", r#""""#),
            ("a b", r#""a b""#),
            (r#"say "it's" \n"#, r#""say \"it's\" \\n""#),
            ("a\nb\u{1}\u{85}", r#""a\nb\x01\u0085""#),
            (";", r#"";""#),
            ("#a", r##""#a""##),
        ];
        for (word, quoted) in table {
            assert_eq!(quote(word), quoted);
        }
    }

    #[test]
    fn long_lines_go_on_in_the_next() {
        let words: Vec<String> = [
            "/usr/bin/docker".into(),
            "a".repeat(60),
            "b".repeat(60),
            "c".into(),
        ]
        .into();
        let lines = command_line("ExecStart", &words);
        let broken = format!("/usr/bin/docker {} \\\n    {} c", "a".repeat(60), "b".repeat(60));
        assert_eq!(lines, broken);
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 4000, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn what_is_put_together_comes_apart_again(words in prop::collection::vec("[^\0]{0,8}|[ -~]{0,40}", 0..20)) {
            let line = command_line("ExecStart", &words);
            // As systemd reads it: a backslash at the end of a line is a blank, a line that looks like a comment is none.
            for line in line.lines() {
                prop_assert!(!line.trim_start().starts_with(['#', ';']));
            }
            prop_assert_eq!(split(&line.replace("\\\n", " ")).unwrap(), words);
        }

        #[test]
        fn no_text_is_too_odd(text in "\\PC{0,20}|[\\\\xuU0-9a-f'\" ]{0,20}") {
            let _ = split(&text);
        }
    }
}
