//! From text to nodes.

/// A part of a template.
#[derive(Debug, Clone)]
pub(super) enum Node {
    Text(String),
    Print(Pipeline),
    Set(String, Pipeline),
    If(Pipeline, Vec<Node>, Vec<Node>),
    With(Pipeline, Vec<Node>, Vec<Node>),
    /// Variables for key and value, what is walked, the body, and what stands for nothing to walk.
    Range(Vec<String>, Pipeline, Vec<Node>, Vec<Node>),
}

/// Commands parted by `|`; the value of one is the last argument of the next.
#[derive(Debug, Clone)]
pub(super) struct Pipeline(pub(super) Vec<Vec<Term>>);

impl Pipeline {
    /// The first field it names.
    pub(super) fn first_field(&self) -> Option<String> {
        self.0.iter().flatten().find_map(|term| match term {
            Term::Field(_, path) => path.first().cloned(),
            Term::Group(inner, _) => inner.first_field(),
            _ => None,
        })
    }
}

/// One word of a command.
#[derive(Debug, Clone)]
pub(super) enum Term {
    /// `.A.B` (`None`), `$.A` or `$x.A`.
    Field(Option<String>, Vec<String>),
    /// `(...)` with `.A.B` behind it.
    Group(Pipeline, Vec<String>),
    Text(String),
    Number(i64),
    Word(String),
}

/// Parses a whole template.
pub(super) fn parse(text: &str) -> Result<Vec<Node>, String> {
    let mut parts = split(text)?.into_iter();
    let (nodes, end) = block(&mut parts)?;
    match end {
        None => Ok(nodes),
        Some(word) => Err(format!("unexpected {{{{{word}}}}}")),
    }
}

enum Part {
    Text(String),
    Action(String),
}

fn split(text: &str) -> Result<Vec<Part>, String> {
    let mut parts = Vec::new();
    let mut rest = text;
    let mut trim_next = false;
    while let Some(open) = rest.find("{{") {
        let close = find_close(&rest[open + 2..]).ok_or("unclosed action")?;
        let mut action = &rest[open + 2..open + 2 + close];
        let mut before = &rest[..open];
        if trim_next {
            before = before.trim_start();
        }
        if let Some(inner) = action.strip_prefix("- ") {
            before = before.trim_end();
            action = inner;
        }
        trim_next = action.ends_with(" -");
        if trim_next {
            action = &action[..action.len() - 2];
        }
        parts.push(Part::Text(before.to_owned()));
        let action = action.trim();
        if !action.starts_with("/*") {
            parts.push(Part::Action(action.to_owned()));
        }
        rest = &rest[open + 2 + close + 2..];
    }
    parts.push(Part::Text(
        if trim_next { rest.trim_start() } else { rest }.to_owned(),
    ));
    Ok(parts)
}

/// Where `}}` is, outside quotes.
fn find_close(text: &str) -> Option<usize> {
    let bytes = text.as_bytes();
    let (mut quote, mut at) = (None, 0);
    while at < bytes.len() {
        match (quote, bytes[at]) {
            (Some(b'"'), b'\\') => at += 1,
            (Some(open), b) if b == open => quote = None,
            (None, b @ (b'"' | b'`')) => quote = Some(b),
            (None, b'}') if bytes.get(at + 1) == Some(&b'}') => return Some(at),
            _ => {}
        }
        at += 1;
    }
    None
}

/// Nodes up to `end` or `else`, and which of them ended it.
fn block(parts: &mut std::vec::IntoIter<Part>) -> Result<(Vec<Node>, Option<String>), String> {
    let mut nodes = Vec::new();
    while let Some(part) = parts.next() {
        let action = match part {
            Part::Text(text) => {
                if !text.is_empty() {
                    nodes.push(Node::Text(text));
                }
                continue;
            }
            Part::Action(action) => action,
        };
        let (word, rest) = action.split_once(char::is_whitespace).unwrap_or((&action, ""));
        match word {
            "end" | "else" => return Ok((nodes, Some(action))),
            "if" | "with" | "range" => nodes.push(control(word, rest, parts)?),
            _ => nodes.push(simple(&action)?),
        }
    }
    Ok((nodes, None))
}

fn control(word: &str, rest: &str, parts: &mut std::vec::IntoIter<Part>) -> Result<Node, String> {
    let (body, end) = block(parts)?;
    let other = match end.as_deref() {
        Some("end") => Vec::new(),
        Some("else") => match block(parts)? {
            (other, Some(end)) if end == "end" => other,
            _ => return Err(format!("{{{{{word}}}}} without {{{{end}}}}")),
        },
        Some(chain) if chain.starts_with("else if ") => {
            vec![control("if", &chain["else if ".len()..], parts)?]
        }
        _ => return Err(format!("{{{{{word}}}}} without {{{{end}}}}")),
    };
    if word == "range"
        && let Some((names, source)) = rest.split_once(":=")
    {
        let names = names.split(',').map(|name| name.trim().to_owned()).collect();
        return Ok(Node::Range(names, pipeline(source)?, body, other));
    }
    let pipeline = pipeline(rest)?;
    Ok(match word {
        "if" => Node::If(pipeline, body, other),
        "with" => Node::With(pipeline, body, other),
        _ => Node::Range(Vec::new(), pipeline, body, other),
    })
}

fn simple(action: &str) -> Result<Node, String> {
    match action.split_once(":=") {
        Some((name, source)) if name.trim().starts_with('$') => {
            Ok(Node::Set(name.trim().to_owned(), pipeline(source)?))
        }
        _ => Ok(Node::Print(pipeline(action)?)),
    }
}

fn pipeline(text: &str) -> Result<Pipeline, String> {
    let mut words = Words { rest: text };
    let pipeline = words.pipeline()?;
    if words.rest.is_empty() {
        Ok(pipeline)
    } else {
        Err(format!("unexpected {:?}", words.rest))
    }
}

struct Words<'a> {
    rest: &'a str,
}

impl Words<'_> {
    fn pipeline(&mut self) -> Result<Pipeline, String> {
        let mut commands = vec![Vec::new()];
        loop {
            self.rest = self.rest.trim_start();
            let Some(first) = self.rest.chars().next() else {
                break;
            };
            match first {
                ')' => break,
                '|' => {
                    self.rest = &self.rest[1..];
                    commands.push(Vec::new());
                }
                _ => {
                    let term = self.term(first)?;
                    commands
                        .last_mut()
                        .expect("there is always one command")
                        .push(term);
                }
            }
        }
        match commands.iter().any(Vec::is_empty) {
            true => Err("missing value for command".into()),
            false => Ok(Pipeline(commands)),
        }
    }

    fn term(&mut self, first: char) -> Result<Term, String> {
        match first {
            '(' => {
                self.rest = &self.rest[1..];
                let inner = self.pipeline()?;
                self.rest = self
                    .rest
                    .trim_start()
                    .strip_prefix(')')
                    .ok_or("unclosed left paren")?;
                let path = self.path();
                Ok(Term::Group(inner, path))
            }
            '"' => self.quoted(),
            '`' => {
                let close = self.rest[1..].find('`').ok_or("unterminated quoted string")?;
                let text = self.rest[1..=close].to_owned();
                self.rest = &self.rest[close + 2..];
                Ok(Term::Text(text))
            }
            '.' => Ok(Term::Field(None, self.path())),
            '$' => {
                self.rest = &self.rest[1..];
                let name = format!("${}", self.name());
                Ok(Term::Field(Some(name), self.path()))
            }
            c if c.is_ascii_digit() || c == '-' => {
                let end = self.rest[1..]
                    .find(|c: char| !c.is_ascii_digit())
                    .map_or(self.rest.len(), |at| at + 1);
                let number = self.rest[..end]
                    .parse()
                    .map_err(|_| format!("bad number {:?}", &self.rest[..end]))?;
                self.rest = &self.rest[end..];
                Ok(Term::Number(number))
            }
            _ => match self.name() {
                name if name.is_empty() => Err(format!("unexpected {first:?}")),
                name => Ok(Term::Word(name)),
            },
        }
    }

    fn quoted(&mut self) -> Result<Term, String> {
        let mut text = String::new();
        let mut chars = self.rest[1..].char_indices();
        while let Some((at, c)) = chars.next() {
            match c {
                '"' => {
                    self.rest = &self.rest[at + 2..];
                    return Ok(Term::Text(text));
                }
                '\\' => match chars.next() {
                    Some((_, 'n')) => text.push('\n'),
                    Some((_, 't')) => text.push('\t'),
                    Some((_, other)) => text.push(other),
                    None => break,
                },
                other => text.push(other),
            }
        }
        Err("unterminated quoted string".into())
    }

    fn name(&mut self) -> String {
        let end = self
            .rest
            .find(|c: char| !c.is_alphanumeric() && c != '_')
            .unwrap_or(self.rest.len());
        let (name, rest) = self.rest.split_at(end);
        self.rest = rest;
        name.to_owned()
    }

    /// `.A.B`; a lone dot is no step.
    fn path(&mut self) -> Vec<String> {
        let mut path = Vec::new();
        while let Some(rest) = self.rest.strip_prefix('.') {
            self.rest = rest;
            let name = self.name();
            if !name.is_empty() {
                path.push(name);
            }
        }
        path
    }
}
