//! Events as JSON, byte for byte as Go's encoder writes them: HTML characters escaped, zero fields left out.

use super::event::{Event, Node};
use super::time;

/// The bytes with which no character begins that may have to be escaped; those within a character are among them.
const PLAIN: [bool; 256] = {
    let mut plain = [true; 256];
    let mut byte = 0;
    while byte < 0x20 {
        plain[byte] = false;
        byte += 1;
    }
    let mut others = b"\"\\<>&\xe2\xef".as_slice();
    while let [first, rest @ ..] = others {
        plain[*first as usize] = false;
        others = rest;
    }
    plain
};

/// Appends a JSON string with Go's escapes: `<`, `>`, `&`, U+2028, U+2029 and control characters as `\u00xx`.
///
/// U+FFFD is written as an escape: Go writes it so where a value was not UTF-8, which is where ours come from.
pub fn string(out: &mut Vec<u8>, text: &str) {
    out.push(b'"');
    let bytes = text.as_bytes();
    let (mut plain_from, mut at) = (0, 0);
    while let Some(ahead) = bytes[at..].iter().position(|byte| !PLAIN[usize::from(*byte)]) {
        at += ahead;
        let Some(c) = text[at..].chars().next() else { break };
        let here = at;
        at += c.len_utf8();
        let escape: Option<&[u8]> = match c {
            '"' => Some(b"\\\""),
            '\\' => Some(b"\\\\"),
            '\n' => Some(b"\\n"),
            '\r' => Some(b"\\r"),
            '\t' => Some(b"\\t"),
            '\0'..='\u{1f}' | '<' | '>' | '&' | '\u{2028}' | '\u{2029}' | '\u{fffd}' => Some(b""),
            _ => None,
        };
        let Some(escape) = escape else { continue };
        out.extend_from_slice(&bytes[plain_from..here]);
        if escape.is_empty() {
            out.extend_from_slice(format!("\\u{:04x}", u32::from(c)).as_bytes());
        } else {
            out.extend_from_slice(escape);
        }
        plain_from = at;
    }
    out.extend_from_slice(&bytes[plain_from..]);
    out.push(b'"');
}

/// Appends a decimal number.
pub fn number(out: &mut Vec<u8>, n: u64) {
    let mut digits = [0u8; 20];
    let mut at = digits.len();
    let mut rest = n;
    loop {
        at -= 1;
        digits[at] = b'0' + u8::try_from(rest % 10).expect("a digit");
        rest /= 10;
        if rest == 0 {
            break;
        }
    }
    out.extend_from_slice(&digits[at..]);
}

/// Appends an event and a line end.
pub fn event(out: &mut Vec<u8>, event: &Event) {
    out.extend_from_slice(b"{\"action\":\"");
    out.extend_from_slice(event.action.as_str().as_bytes());
    out.extend_from_slice(b"\",\"node\":");
    node(out, &event.node);
    if let Some(prev) = &event.prev_node {
        out.extend_from_slice(b",\"prevNode\":");
        node(out, prev);
    }
    out.extend_from_slice(b"}\n");
}

/// Appends a node; the fields stand in etcd's order.
pub fn node(out: &mut Vec<u8>, node: &Node) {
    out.push(b'{');
    let start = out.len();
    let field = |out: &mut Vec<u8>, name: &str| {
        if out.len() > start {
            out.push(b',');
        }
        out.push(b'"');
        out.extend_from_slice(name.as_bytes());
        out.extend_from_slice(b"\":");
    };
    if !node.key.is_empty() {
        field(out, "key");
        string(out, &node.key);
    }
    if let Some(value) = &node.value {
        field(out, "value");
        string(out, value);
    }
    if node.dir {
        field(out, "dir");
        out.extend_from_slice(b"true");
    }
    if let Some(ms) = node.expiration_ms {
        field(out, "expiration");
        string(out, &time::rfc3339(ms));
    }
    if node.ttl != 0 {
        field(out, "ttl");
        out.extend_from_slice(node.ttl.to_string().as_bytes());
    }
    if !node.nodes.is_empty() {
        field(out, "nodes");
        list(out, &node.nodes);
    }
    for (name, index) in [
        ("modifiedIndex", node.modified_index),
        ("createdIndex", node.created_index),
    ] {
        if index != 0 {
            field(out, name);
            number(out, index);
        }
    }
    out.push(b'}');
}

fn list(out: &mut Vec<u8>, nodes: &[Node]) {
    out.push(b'[');
    for (i, child) in nodes.iter().enumerate() {
        if i > 0 {
            out.push(b',');
        }
        node(out, child);
    }
    out.push(b']');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strings_are_escaped_as_go_does() {
        for (text, json) in [
            ("plain", r#""plain""#),
            ("a<b>&c", r#""a\u003cb\u003e\u0026c""#),
            ("q\"b\\n\nr\rt\t", r#""q\"b\\n\nr\rt\t""#),
            ("\u{8}\u{c}\u{1}\u{7f}", "\"\\u0008\\u000c\\u0001\u{7f}\""),
            ("\u{2028}\u{2029}\u{fffd}", r#""\u2028\u2029\ufffd""#),
            ("grün 🦀", "\"grün 🦀\""),
        ] {
            let mut out = Vec::new();
            string(&mut out, text);
            assert_eq!(String::from_utf8_lossy(&out), json);
        }
    }

    #[test]
    fn numbers() {
        for n in [0, 7, 10, 1130, u64::MAX] {
            let mut out = Vec::new();
            number(&mut out, n);
            assert_eq!(out, n.to_string().into_bytes());
        }
    }
}
