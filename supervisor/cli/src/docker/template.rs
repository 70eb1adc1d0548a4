//! Go templates, as far as `--format` needs them.
//!
//! Duty: text, fields (`.State.Running`, `$.Name`), variables, pipelines, parentheses; `if`, `range`, `with`, `else`,
//! `end`; the functions json, join, split, lower, upper, title, len, index, print, println, printf (verbs s, d, v, q), eq,
//! ne, lt, gt, and, or, not, truncate. Refusal: `define`, `template`, `block`. Pure.

mod evaluate;
mod parse;

use serde_json::Value;

/// A template ready to be used.
#[derive(Debug)]
pub(super) struct Template(Vec<parse::Node>);

impl Template {
    /// Parses; the message names what is wrong.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        parse::parse(text)
            .map(Self)
            .map_err(|error| format!("template parsing error: {error}"))
    }

    /// The text for one value.
    pub(super) fn render(&self, value: &Value) -> Result<String, String> {
        evaluate::render(&self.0, value).map_err(|error| format!("template: {error}"))
    }

    /// The fields of the top value in order, with the text between: for headings of a table.
    pub(super) fn headings(&self, name: impl Fn(&str) -> String) -> String {
        let node = |node: &parse::Node| match node {
            parse::Node::Text(text) => text.clone(),
            parse::Node::Print(pipeline) => pipeline
                .first_field()
                .map_or_else(String::new, |field| name(&field)),
            _ => String::new(),
        };
        self.0.iter().map(node).collect()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn templates_people_use() {
        let value = json!({
            "Id": "ab", "State": {"Running": true, "ExitCode": 0},
            "Names": ["a", "b"],
            "NetworkSettings": {
                "IPAddress": "172.17.0.2",
                "Networks": {"bridge": {"IPAddress": "172.17.0.2"}},
                "Ports": {"80/tcp": [{"HostIp": "0.0.0.0", "HostPort": "8080"}], "81/tcp": null},
            },
            "Mounts": [],
        });
        for (template, text) in [
            ("{{.State.Running}}", "true"),
            ("{{ .Id }}: {{.State.ExitCode}}", "ab: 0"),
            ("{{.NetworkSettings.IPAddress}}", "172.17.0.2"),
            (
                "{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}",
                "172.17.0.2",
            ),
            (
                "{{(index (index .NetworkSettings.Ports \"80/tcp\") 0).HostPort}}",
                "8080",
            ),
            (
                "{{range $p, $c := .NetworkSettings.Ports}}{{if $c}}{{$p}}->{{(index $c 0).HostPort}} {{end}}{{end}}",
                "80/tcp->8080 ",
            ),
            ("{{json .State}}", r#"{"ExitCode":0,"Running":true}"#),
            ("{{.State | json}}", r#"{"ExitCode":0,"Running":true}"#),
            ("{{join .Names \",\"}}|{{len .Names}}", "a,b|2"),
            ("{{range $i, $n := .Names}}{{$i}}={{$n}};{{end}}", "0=a;1=b;"),
            ("{{range .Mounts}}x{{else}}none{{end}}", "none"),
            ("{{if eq .Id \"ab\"}}y{{else}}n{{end}}", "y"),
            ("{{if and .State.Running (not .Mounts)}}y{{end}}", "y"),
            ("{{with .State}}{{.ExitCode}}{{$.Id}}{{end}}", "0ab"),
            ("{{printf \"%s-%d\" .Id 5}}", "ab-5"),
            ("{{upper .Id}}{{- \" \" -}} x", "AB x"),
            ("{{/* c */}}{{.Names}}", "[a b]"),
            ("{{.Nothing}}", "<no value>"),
        ] {
            assert_eq!(
                Template::parse(template).unwrap().render(&value).unwrap(),
                text,
                "{template}"
            );
        }
    }

    #[test]
    fn what_is_none_is_refused() {
        for template in [
            "{{",
            "{{.A",
            "{{range .A}}",
            "{{end}}",
            "{{frobnicate .A}}",
            "{{if}}x{{end}}",
            "{{(.A}}",
        ] {
            let parsed = Template::parse(template);
            assert!(
                parsed.is_err() || parsed.is_ok_and(|t| t.render(&Value::Null).is_err()),
                "{template}"
            );
        }
    }

    #[test]
    fn headings_are_the_fields() {
        let template = Template::parse("{{.ID}}\t{{json .Names}}").unwrap();
        assert_eq!(template.headings(|field| field.to_uppercase()), "ID\tNAMES");
    }
}
