//! JSON as Go's encoding/json writes it: compact, with `<`, `>`, `&` and the two line separators escaped, so that it
//! may stand in HTML and JavaScript.

use std::io::{self, Write};

use serde::Serialize;
use serde_json::ser::{CharEscape, Formatter};

/// One line of JSON without a line end.
pub(crate) fn to_json(value: &impl Serialize) -> String {
    let mut text = Vec::new();
    let mut serializer = serde_json::Serializer::with_formatter(&mut text, GoFormatter);
    value
        .serialize(&mut serializer)
        .expect("our own types have string keys and a Vec takes every byte");
    String::from_utf8(text).expect("the serializer writes UTF-8")
}

struct GoFormatter;

impl Formatter for GoFormatter {
    fn write_string_fragment<W: ?Sized + Write>(&mut self, writer: &mut W, fragment: &str) -> io::Result<()> {
        let mut plain = 0;
        for (at, letter) in fragment.char_indices() {
            if matches!(letter, '<' | '>' | '&' | '\u{2028}' | '\u{2029}') {
                writer.write_all(&fragment.as_bytes()[plain..at])?;
                write!(writer, "\\u{:04x}", u32::from(letter))?;
                plain = at + letter.len_utf8();
            }
        }
        writer.write_all(&fragment.as_bytes()[plain..])
    }

    fn write_char_escape<W: ?Sized + Write>(&mut self, writer: &mut W, escape: CharEscape) -> io::Result<()> {
        match escape {
            CharEscape::Quote => writer.write_all(b"\\\""),
            CharEscape::ReverseSolidus | CharEscape::Solidus => writer.write_all(b"\\\\"),
            CharEscape::LineFeed => writer.write_all(b"\\n"),
            CharEscape::CarriageReturn => writer.write_all(b"\\r"),
            CharEscape::Tab => writer.write_all(b"\\t"),
            CharEscape::Backspace => writer.write_all(b"\\u0008"),
            CharEscape::FormFeed => writer.write_all(b"\\u000c"),
            CharEscape::AsciiControl(byte) => write!(writer, "\\u{byte:04x}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strings_are_escaped_as_go_does() {
        let table = [
            ("plain ü", "\"plain ü\""),
            ("<x>&", "\"\\u003cx\\u003e\\u0026\""),
            ("a\"b\\c\n\t\u{8}\u{1}", "\"a\\\"b\\\\c\\n\\t\\u0008\\u0001\""),
            ("\u{2028}", "\"\\u2028\""),
        ];
        for (text, json) in table {
            assert_eq!(to_json(&text), json);
        }
    }
}
