//! YAML text to a tree whose every node knows its line. Scalars keep the text as written: what a scalar means is
//! decided by the type the reader wants, so that `off` stays a strategy, `0744` stays a mode, and `off` is still false
//! where a boolean is wanted (YAML 1.1, as go-yaml reads it).
//!
//! Refuses more than the first document, trees deeper than [`DEPTH_MAX`] and more than [`NODES_MAX`] nodes.
//! Danger: aliases are expanded, so both limits count what comes out of them.

use std::collections::BTreeMap;

use base64::Engine;
use saphyr_parser::{Event, Parser, ScalarStyle, Tag};

/// Deeper nesting than any cloud-config has; keeps recursion over a tree harmless.
pub const DEPTH_MAX: usize = 32;
/// Nodes of one document, aliases expanded.
pub const NODES_MAX: usize = 100_000;

/// A value and the line (from 1) it stands on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Node {
    /// Line in the text, from 1.
    pub line: usize,
    /// What stands there.
    pub value: Value,
}

/// The three shapes of YAML.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Value {
    /// One value, as text.
    Scalar(Scalar),
    /// A sequence.
    List(Vec<Node>),
    /// A mapping, in the order of the text; a key given twice stands twice.
    Map(Vec<Pair>),
}

/// One value, as written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Scalar {
    /// The text, quotes and escapes undone.
    pub text: String,
    /// The bytes, where the value was tagged `!!binary`.
    pub binary: Option<Vec<u8>>,
    /// Written without quotes, so that it may also be a number, a boolean or null.
    pub plain: bool,
}

/// One key and its value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pair {
    /// The key, every `-` written as `_`: cloud-config holds them equal.
    pub key: String,
    /// The key as the text has it, for messages.
    pub written: String,
    /// The key's line.
    pub line: usize,
    /// The value.
    pub node: Node,
}

/// Where the text stops being YAML.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {message}")]
pub struct SyntaxError {
    /// Line in the text, from 1.
    pub line: usize,
    /// What the parser says.
    pub message: String,
}

impl Scalar {
    /// Null: `~`, `null` or nothing at all.
    pub fn is_null(&self) -> bool {
        self.plain && matches!(self.text.as_str(), "" | "~" | "null" | "Null" | "NULL")
    }

    /// The value as a boolean of YAML 1.1.
    pub fn as_bool(&self) -> Option<bool> {
        if !self.plain {
            return None;
        }
        match self.text.as_str() {
            "y" | "Y" | "yes" | "Yes" | "YES" | "true" | "True" | "TRUE" | "on" | "On" | "ON" => Some(true),
            "n" | "N" | "no" | "No" | "NO" | "false" | "False" | "FALSE" | "off" | "Off" | "OFF" => {
                Some(false)
            }
            _ => None,
        }
    }

    /// The value as an integer: decimal, or with the prefixes `0x`, `0b` and `0` (octal).
    pub fn as_int(&self) -> Option<i64> {
        if !self.plain {
            return None;
        }
        let text = self.text.replace('_', "");
        let (sign, digits) = match text.strip_prefix('-') {
            Some(rest) => (-1, rest),
            None => (1, text.strip_prefix('+').unwrap_or(&text)),
        };
        if !digits.starts_with(|c: char| c.is_ascii_digit()) {
            return None;
        }
        let (radix, digits) = match digits.get(..2) {
            Some("0x" | "0X") => (16, &digits[2..]),
            Some("0b" | "0B") => (2, &digits[2..]),
            Some("0o") => (8, &digits[2..]),
            Some(two) if two.starts_with('0') => (8, &digits[1..]),
            _ => (10, digits),
        };
        i64::from_str_radix(digits, radix)
            .ok()
            .filter(|_| !digits.starts_with(['+', '-']))
            .map(|n| sign * n)
    }

    /// The value as a number.
    pub fn as_float(&self) -> Option<f64> {
        let first = self.text.trim_start_matches(['+', '-']).chars().next();
        let number = self.plain && first.is_some_and(|c| c.is_ascii_digit() || c == '.');
        number
            .then(|| self.text.parse().ok())
            .flatten()
            .filter(|n: &f64| n.is_finite())
    }
}

impl Node {
    /// The scalar, if it is one.
    pub fn scalar(&self) -> Option<&Scalar> {
        match &self.value {
            Value::Scalar(scalar) => Some(scalar),
            _ => None,
        }
    }

    /// Is it an explicit or an empty null?
    pub fn is_null(&self) -> bool {
        self.scalar().is_some_and(Scalar::is_null)
    }

    /// The pairs, if it is a mapping.
    pub fn pairs(&self) -> &[Pair] {
        match &self.value {
            Value::Map(pairs) => pairs,
            _ => &[],
        }
    }

    /// The items, if it is a sequence.
    pub fn items(&self) -> &[Node] {
        match &self.value {
            Value::List(items) => items,
            _ => &[],
        }
    }

    /// The value under `key`; the last one, where a key stands twice.
    pub fn get(&self, key: &str) -> Option<&Pair> {
        self.pairs().iter().rev().find(|pair| pair.key == key)
    }

    fn size(&self) -> (usize, usize) {
        let children: Vec<&Node> = match &self.value {
            Value::Scalar(_) => Vec::new(),
            Value::List(items) => items.iter().collect(),
            Value::Map(pairs) => pairs.iter().map(|pair| &pair.node).collect(),
        };
        let inner = children.into_iter().map(Node::size);
        inner.fold((1, 1), |(nodes, depth), (n, d)| (nodes + n, depth.max(d + 1)))
    }
}

/// Reads the first document of `text`; `None` where there is none, or where it is null.
///
/// # Errors
/// The first place that is not YAML, or goes beyond the limits above.
pub fn parse(text: &str) -> Result<Option<Node>, SyntaxError> {
    let mut builder = Builder::default();
    for event in Parser::new_from_str(text) {
        let (event, span) = event.map_err(|e| syntax_error(text, e.marker().line().max(1), e.info()))?;
        if builder.take(event, span.start.line().max(1))? {
            break;
        }
    }
    Ok(builder.root.filter(|node| !node.is_null()))
}

/// The parser's error. It blames a tab in an indentation on the line before, where the value began.
fn syntax_error(text: &str, line: usize, message: &str) -> SyntaxError {
    let indented_by_tab = |line: &&str| line.chars().take_while(|c| c.is_whitespace()).any(|c| c == '\t');
    if text.lines().nth(line).filter(indented_by_tab).is_some() {
        return error(line + 1, "a tab cannot indent");
    }
    error(line, message)
}

/// An unfinished sequence or mapping, with the anchor it will be known by.
struct Open {
    line: usize,
    anchor: usize,
    pairs: Option<Vec<Pair>>,
    items: Vec<Node>,
    key: Option<(String, usize)>,
}

#[derive(Default)]
struct Builder {
    open: Vec<Open>,
    anchors: BTreeMap<usize, Node>,
    root: Option<Node>,
    nodes: usize,
}

impl Builder {
    /// Takes one event; true when the first document is complete.
    fn take(&mut self, event: Event<'_>, line: usize) -> Result<bool, SyntaxError> {
        match event {
            Event::Scalar(text, style, anchor, tag) => {
                let scalar = scalar(text.into_owned(), style, tag.as_deref(), line)?;
                self.finish(
                    Node {
                        line,
                        value: Value::Scalar(scalar),
                    },
                    anchor,
                )?;
            }
            Event::SequenceStart(anchor, _) => self.begin(line, anchor, false)?,
            Event::MappingStart(anchor, _) => self.begin(line, anchor, true)?,
            Event::SequenceEnd | Event::MappingEnd => self.end(line)?,
            Event::Alias(id) => {
                let Some(node) = self.anchors.get(&id).cloned() else {
                    return Err(error(line, "an alias to an anchor that is not complete"));
                };
                let (nodes, depth) = node.size();
                self.count(nodes - 1, depth, line)?;
                self.finish(Node { line, ..node }, 0)?;
            }
            Event::DocumentEnd => return Ok(true),
            Event::Nothing | Event::StreamStart | Event::StreamEnd | Event::DocumentStart(_) => {}
        }
        Ok(false)
    }

    fn count(&mut self, nodes: usize, depth: usize, line: usize) -> Result<(), SyntaxError> {
        self.nodes += nodes;
        if self.nodes > NODES_MAX {
            return Err(error(line, "too many values, aliases counted"));
        }
        if self.open.len() + depth > DEPTH_MAX {
            return Err(error(line, "nested too deeply"));
        }
        Ok(())
    }

    fn begin(&mut self, line: usize, anchor: usize, map: bool) -> Result<(), SyntaxError> {
        self.count(0, 1, line)?;
        self.open.push(Open {
            line,
            anchor,
            pairs: map.then(Vec::new),
            items: Vec::new(),
            key: None,
        });
        Ok(())
    }

    fn end(&mut self, line: usize) -> Result<(), SyntaxError> {
        let Some(open) = self.open.pop() else {
            return Err(error(line, "an end without a beginning"));
        };
        let value = match open.pairs {
            Some(pairs) => Value::Map(merged(pairs)),
            None => Value::List(open.items),
        };
        self.finish(
            Node {
                line: open.line,
                value,
            },
            open.anchor,
        )
    }

    fn finish(&mut self, node: Node, anchor: usize) -> Result<(), SyntaxError> {
        self.count(1, 0, node.line)?;
        if anchor != 0 {
            self.anchors.insert(anchor, node.clone());
        }
        let Some(open) = self.open.last_mut() else {
            self.root = Some(node);
            return Ok(());
        };
        let Some(pairs) = &mut open.pairs else {
            open.items.push(node);
            return Ok(());
        };
        match open.key.take() {
            Some((written, line)) => pairs.push(Pair {
                key: written.replace('-', "_"),
                written,
                line,
                node,
            }),
            None => match node.value {
                Value::Scalar(scalar) => open.key = Some((scalar.text, node.line)),
                _ => return Err(error(node.line, "a key must be a word, not a list or a mapping")),
            },
        }
        Ok(())
    }
}

/// Resolves the merge key: `<<` brings in what the mapping itself does not say.
fn merged(pairs: Vec<Pair>) -> Vec<Pair> {
    let (merges, mut own): (Vec<Pair>, Vec<Pair>) = pairs.into_iter().partition(|pair| pair.key == "<<");
    for merge in merges {
        let sources = match merge.node.value {
            Value::List(items) => items,
            _ => vec![merge.node],
        };
        for pair in sources.iter().flat_map(|source| source.pairs()) {
            if !own.iter().any(|mine| mine.key == pair.key) {
                own.push(pair.clone());
            }
        }
    }
    own
}

fn scalar(text: String, style: ScalarStyle, tag: Option<&Tag>, line: usize) -> Result<Scalar, SyntaxError> {
    let suffix = tag
        .filter(|tag| tag.is_yaml_core_schema())
        .map(|tag| tag.suffix.as_str());
    let binary = match suffix {
        Some("binary") => {
            let bare: String = text.split_whitespace().collect();
            let bytes = base64::engine::general_purpose::STANDARD.decode(bare);
            Some(bytes.map_err(|e| error(line, &format!("!!binary value is not base64: {e}")))?)
        }
        _ => None,
    };
    let text = match &binary {
        Some(bytes) => String::from_utf8_lossy(bytes).into_owned(),
        None => text,
    };
    let plain = style == ScalarStyle::Plain && !matches!(suffix, Some("str" | "binary"));
    Ok(Scalar { text, binary, plain })
}

fn error(line: usize, message: &str) -> SyntaxError {
    SyntaxError {
        line,
        message: message.to_owned(),
    }
}

#[cfg(test)]
#[path = "yaml_tests.rs"]
mod tests;
