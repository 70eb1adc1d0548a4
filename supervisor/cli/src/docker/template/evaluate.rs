//! From nodes and a value to text.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::parse::{Node, Pipeline, Term};

/// Renders `nodes` for `top`.
pub(super) fn render(nodes: &[Node], top: &Value) -> Result<String, String> {
    let mut scope = Scope {
        variables: BTreeMap::from([("$".to_owned(), top.clone())]),
        text: String::new(),
    };
    scope.nodes(nodes, top)?;
    Ok(scope.text)
}

struct Scope {
    variables: BTreeMap<String, Value>,
    text: String,
}

impl Scope {
    fn nodes(&mut self, nodes: &[Node], dot: &Value) -> Result<(), String> {
        for node in nodes {
            match node {
                Node::Text(text) => self.text.push_str(text),
                Node::Print(pipeline) => {
                    let value = self.pipeline(pipeline, dot)?;
                    self.text
                        .push_str(&value.map_or_else(|| "<no value>".to_owned(), |value| print(&value)));
                }
                Node::Set(name, pipeline) => {
                    let value = self.pipeline(pipeline, dot)?.unwrap_or(Value::Null);
                    self.variables.insert(name.clone(), value);
                }
                Node::If(pipeline, body, other) => {
                    let holds = self.pipeline(pipeline, dot)?.is_some_and(|value| truth(&value));
                    self.nodes(if holds { body } else { other }, dot)?;
                }
                Node::With(pipeline, body, other) => match self.pipeline(pipeline, dot)?.filter(truth) {
                    Some(value) => self.nodes(body, &value)?,
                    None => self.nodes(other, dot)?,
                },
                Node::Range(names, pipeline, body, other) => {
                    let walked = self.pipeline(pipeline, dot)?.unwrap_or(Value::Null);
                    self.range(names, &walked, body, other, dot)?;
                }
            }
        }
        Ok(())
    }

    fn range(
        &mut self,
        names: &[String],
        walked: &Value,
        body: &[Node],
        other: &[Node],
        dot: &Value,
    ) -> Result<(), String> {
        let items: Vec<(Value, Value)> = match walked {
            Value::Array(list) => list
                .iter()
                .enumerate()
                .map(|(i, value)| (json!(i), value.clone()))
                .collect(),
            Value::Object(map) => map
                .iter()
                .map(|(key, value)| (json!(key), value.clone()))
                .collect(),
            Value::Null => Vec::new(),
            other => return Err(format!("range can't iterate over {}", print(other))),
        };
        if items.is_empty() {
            return self.nodes(other, dot);
        }
        for (key, value) in items {
            match names {
                [one] => drop(self.variables.insert(one.clone(), value.clone())),
                [first, second, ..] => {
                    self.variables.insert(first.clone(), key);
                    self.variables.insert(second.clone(), value.clone());
                }
                [] => {}
            }
            self.nodes(body, &value)?;
        }
        Ok(())
    }

    /// `None` is a field that is not there.
    fn pipeline(&self, pipeline: &Pipeline, dot: &Value) -> Result<Option<Value>, String> {
        let mut value: Option<Option<Value>> = None;
        for command in &pipeline.0 {
            value = Some(self.command(command, value, dot)?);
        }
        Ok(value.flatten())
    }

    fn command(
        &self,
        terms: &[Term],
        piped: Option<Option<Value>>,
        dot: &Value,
    ) -> Result<Option<Value>, String> {
        let (first, rest) = terms.split_first().ok_or("missing value for command")?;
        let Term::Word(name) = first else {
            return if rest.is_empty() && piped.is_none() {
                self.term(first, dot)
            } else {
                Err("can't give arguments to a value that is no function".into())
            };
        };
        match name.as_str() {
            "true" => return Ok(Some(json!(true))),
            "false" => return Ok(Some(json!(false))),
            "nil" => return Ok(Some(Value::Null)),
            _ => {}
        }
        let mut values = Vec::new();
        for term in rest {
            values.push(self.term(term, dot)?.unwrap_or(Value::Null));
        }
        values.extend(piped.map(|value| value.unwrap_or(Value::Null)));
        call(name, &values).map(Some)
    }

    fn term(&self, term: &Term, dot: &Value) -> Result<Option<Value>, String> {
        Ok(match term {
            Term::Text(text) => Some(json!(text)),
            Term::Number(number) => Some(json!(number)),
            Term::Field(None, path) => follow(Some(dot.clone()), path),
            Term::Field(Some(name), path) => {
                let value = self
                    .variables
                    .get(name)
                    .ok_or_else(|| format!("undefined variable {name:?}"))?;
                follow(Some(value.clone()), path)
            }
            Term::Group(pipeline, path) => follow(self.pipeline(pipeline, dot)?, path),
            Term::Word(_) => self.command(std::slice::from_ref(term), None, dot)?,
        })
    }
}

fn follow(value: Option<Value>, path: &[String]) -> Option<Value> {
    path.iter().try_fold(value?, |value, key| value.get(key).cloned())
}

fn truth(value: &Value) -> bool {
    match value {
        Value::Null => false,
        Value::Bool(b) => *b,
        Value::Number(n) => n.as_f64() != Some(0.0),
        Value::String(s) => !s.is_empty(),
        Value::Array(a) => !a.is_empty(),
        Value::Object(o) => !o.is_empty(),
    }
}

/// A value as Go's fmt prints it with %v.
pub(super) fn print(value: &Value) -> String {
    match value {
        Value::Null => "<nil>".into(),
        Value::String(text) => text.clone(),
        Value::Array(list) => format!("[{}]", list.iter().map(print).collect::<Vec<_>>().join(" ")),
        Value::Object(map) => {
            let pairs: Vec<String> = map
                .iter()
                .map(|(key, value)| format!("{key}:{}", print(value)))
                .collect();
            format!("map[{}]", pairs.join(" "))
        }
        other => other.to_string(),
    }
}

fn call(name: &str, values: &[Value]) -> Result<Value, String> {
    let text = |index: usize| {
        values
            .get(index)
            .map(print)
            .ok_or_else(|| format!("wrong number of args for {name}"))
    };
    Ok(match name {
        "json" => json!(values.first().unwrap_or(&Value::Null).to_string()),
        "lower" => json!(text(0)?.to_lowercase()),
        "upper" => json!(text(0)?.to_uppercase()),
        "title" => json!(title(&text(0)?)),
        "join" => {
            let list = values
                .first()
                .and_then(Value::as_array)
                .map(Vec::as_slice)
                .unwrap_or_default();
            json!(list.iter().map(print).collect::<Vec<_>>().join(&text(1)?))
        }
        "split" => json!(text(0)?.split(text(1)?.as_str()).collect::<Vec<_>>()),
        "truncate" => json!(
            text(0)?
                .chars()
                .take(text(1)?.parse().unwrap_or(usize::MAX))
                .collect::<String>()
        ),
        "len" => match values.first() {
            Some(Value::Array(list)) => json!(list.len()),
            Some(Value::Object(map)) => json!(map.len()),
            Some(Value::String(text)) => json!(text.len()),
            _ => json!(0),
        },
        "index" => index(values)?,
        "print" => json!(values.iter().map(print).collect::<String>()),
        "println" => json!(format!(
            "{}\n",
            values.iter().map(print).collect::<Vec<_>>().join(" ")
        )),
        "printf" => json!(printf(&text(0)?, values.get(1..).unwrap_or_default())),
        "eq" => {
            let (first, rest) = values.split_first().ok_or("missing argument for eq")?;
            json!(rest.iter().any(|other| other == first))
        }
        "ne" => json!(values.first() != values.get(1)),
        "lt" => json!(number(values, 0) < number(values, 1)),
        "gt" => json!(number(values, 0) > number(values, 1)),
        "le" => json!(number(values, 0) <= number(values, 1)),
        "ge" => json!(number(values, 0) >= number(values, 1)),
        "not" => json!(!values.first().is_some_and(truth)),
        "and" => values
            .iter()
            .find(|value| !truth(value))
            .or(values.last())
            .cloned()
            .unwrap_or(Value::Null),
        "or" => values
            .iter()
            .find(|value| truth(value))
            .or(values.last())
            .cloned()
            .unwrap_or(Value::Null),
        other => return Err(format!("function {other:?} not defined")),
    })
}

fn number(values: &[Value], index: usize) -> f64 {
    values.get(index).and_then(Value::as_f64).unwrap_or(f64::NAN)
}

fn title(text: &str) -> String {
    let mut start = true;
    let case = |c: char| {
        let up = std::mem::replace(&mut start, !c.is_alphanumeric());
        if up { c.to_ascii_uppercase() } else { c }
    };
    text.chars().map(case).collect()
}

fn index(values: &[Value]) -> Result<Value, String> {
    let (first, keys) = values.split_first().ok_or("wrong number of args for index")?;
    keys.iter()
        .try_fold(first.clone(), |value, key| match (&value, key) {
            (Value::Array(list), Value::Number(at)) => {
                let at = at.as_u64().and_then(|at| usize::try_from(at).ok());
                at.and_then(|at| list.get(at))
                    .cloned()
                    .ok_or_else(|| format!("error calling index: index out of range: {key}"))
            }
            (Value::Object(map), Value::String(key)) => Ok(map.get(key).cloned().unwrap_or(Value::Null)),
            (Value::Null, _) => Err("error calling index: index of untyped nil".into()),
            _ => Err("error calling index: cannot index this value".into()),
        })
}

fn printf(format: &str, values: &[Value]) -> String {
    let mut text = String::new();
    let mut values = values.iter();
    let mut chars = format.chars();
    while let Some(c) = chars.next() {
        if c != '%' {
            text.push(c);
            continue;
        }
        match chars.next() {
            Some('%') | None => text.push('%'),
            Some('q') => text.push_str(
                &values
                    .next()
                    .map_or_else(String::new, |value| format!("{:?}", print(value))),
            ),
            Some(_) => text.push_str(&values.next().map_or_else(|| "%!(MISSING)".into(), print)),
        }
    }
    text
}
