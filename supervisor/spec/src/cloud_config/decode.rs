//! The document as values, entry by entry: what can be read is read, what cannot is left out with an error that names
//! its line. So a mistake in one unit costs that unit and not the machine's SSH keys.

use super::config::{CloudConfig, DropIn, File, Located, Oem, Unit, User, Variables};
use super::encoding;
use super::report::Report;
use super::schema::{self, Group, Key, Type};
use super::validate::{fits, invalid, wrong_type};
use super::yaml::Node;

/// Reads `root`; whatever is left out stands in the report as an error.
pub fn decode(root: &Node) -> (CloudConfig, Report) {
    let mut report = Report::default();
    let mut top = Reader::new(root, root.line, "", schema::TOP, &mut report);
    let mut config = CloudConfig {
        ssh_authorized_keys: top.strings("ssh_authorized_keys"),
        hostname: top.text("hostname"),
        manage_etc_hosts: top.text("manage_etc_hosts").map(|t| Located {
            line: t.line,
            value: (),
        }),
        ..CloudConfig::default()
    };
    config.users = each(root, "users", schema::USER, &mut report, Spoilt::Keep, user);
    config.write_files = each(root, "write_files", schema::FILE, &mut report, Spoilt::Drop, file);
    if let Some(coreos) = root.get("coreos") {
        if !fits(&coreos.node, Type::Struct(&[])) {
            report.error(coreos.line, wrong_type("coreos", Type::Struct(&[])));
        }
        config.groups = Group::ALL
            .into_iter()
            .filter_map(|g| group(&coreos.node, g, &mut report))
            .collect();
        config.oem = oem(&coreos.node, &mut report);
        config.units = each(
            &coreos.node,
            "units",
            schema::UNIT,
            &mut report,
            Spoilt::Drop,
            unit,
        );
    }
    (config, report)
}

/// Reads one mapping by its keys and reports what does not fit.
struct Reader<'a> {
    node: &'a Node,
    line: usize,
    keys: &'static [Key],
    report: &'a mut Report,
}

impl<'a> Reader<'a> {
    fn new(
        node: &'a Node,
        line: usize,
        name: &str,
        keys: &'static [Key],
        report: &'a mut Report,
    ) -> Reader<'a> {
        if !fits(node, Type::Struct(keys)) {
            report.error(line, wrong_type(name, Type::Struct(keys)));
        }
        Reader {
            node,
            line,
            keys,
            report,
        }
    }

    /// The value of a key, if it is given, of the right type and valid.
    fn value(&mut self, name: &str) -> Option<(&'a Node, usize)> {
        let pair = self.node.get(name).filter(|pair| !pair.node.is_null())?;
        let key = self.keys.iter().find(|key| key.name == name)?;
        if !fits(&pair.node, key.of) {
            self.report.error(pair.line, wrong_type(&pair.written, key.of));
            return None;
        }
        let text = pair.node.scalar().map_or("", |s| s.text.as_str());
        if key.valid.is_some_and(|valid| !text.is_empty() && !valid(text)) {
            self.report.error(pair.line, invalid(text, &pair.written));
            return None;
        }
        Some((&pair.node, pair.line))
    }

    fn text(&mut self, name: &str) -> Option<Located<String>> {
        let (node, line) = self.value(name)?;
        let value = node
            .scalar()
            .map(|s| s.text.clone())
            .filter(|text| !text.is_empty())?;
        Some(Located { line, value })
    }

    fn word(&mut self, name: &str) -> String {
        self.text(name).map(|t| t.value).unwrap_or_default()
    }

    fn flag(&mut self, name: &str) -> bool {
        self.value(name)
            .and_then(|(node, _)| node.scalar()?.as_bool())
            .unwrap_or(false)
    }

    fn strings(&mut self, name: &str) -> Vec<Located<String>> {
        let Some((list, _)) = self.value(name) else {
            return Vec::new();
        };
        let name = self.node.get(name).map_or(name, |pair| pair.written.as_str());
        let mut out = Vec::new();
        for (index, item) in list.items().iter().enumerate() {
            match item.scalar() {
                Some(s) if !s.is_null() && !s.text.is_empty() => {
                    out.push(Located {
                        line: item.line,
                        value: s.text.clone(),
                    });
                }
                Some(_) => {}
                None => self
                    .report
                    .error(item.line, wrong_type(&format!("{name}[{index}]"), Type::Str)),
            }
        }
        out
    }

    fn words(&mut self, name: &str) -> Vec<String> {
        self.strings(name).into_iter().map(|t| t.value).collect()
    }
}

/// What becomes of an entry with a bad value in it.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Spoilt {
    /// It is left out whole: half a unit or half a file is worse than none.
    Drop,
    /// The rest of it counts: a user's keys must not be lost to a typing error in a group.
    Keep,
}

/// Reads a list of mappings, each by itself.
fn each<T>(
    parent: &Node,
    name: &str,
    keys: &'static [Key],
    report: &mut Report,
    spoilt: Spoilt,
    read: fn(&mut Reader<'_>) -> Option<T>,
) -> Vec<Located<T>> {
    let Some(pair) = parent.get(name).filter(|pair| !pair.node.is_null()) else {
        return Vec::new();
    };
    let name = pair.written.as_str();
    if !fits(&pair.node, Type::List(&Type::Struct(&[]))) {
        report.error(pair.line, wrong_type(name, Type::List(&Type::Struct(&[]))));
    }
    let mut out = Vec::new();
    for (index, item) in pair.node.items().iter().enumerate() {
        let before = report.entries.len();
        let value = read(&mut Reader::new(
            item,
            item.line,
            &format!("{name}[{index}]"),
            keys,
            report,
        ));
        match value {
            Some(value) if spoilt == Spoilt::Keep || report.entries.len() == before => {
                out.push(Located {
                    line: item.line,
                    value,
                });
            }
            _ => report.error(item.line, format!("{name}[{index}] is left out")),
        }
    }
    out
}

fn group(coreos: &Node, group: Group, report: &mut Report) -> Option<(Group, Located<Variables>)> {
    let pair = coreos.get(group.name()).filter(|pair| !pair.node.is_null())?;
    let mut reader = Reader::new(&pair.node, pair.line, group.name(), group.keys(), report);
    let mut value = Vec::new();
    for key in group.keys() {
        let Some((node, line)) = reader.value(key.name) else {
            continue;
        };
        let Some(text) = node.scalar().and_then(|s| rendered(s, key.of)) else {
            continue;
        };
        if text.contains(['\n', '\0']) {
            reader
                .report
                .error(line, format!("{:?} must be one line", key.name));
            continue;
        }
        value.push((group.variable(key), text));
    }
    Some((
        group,
        Located {
            line: pair.line,
            value,
        },
    ))
}

/// A value as its variable has it; `None` for the zero value of its type, which means "not set" to coreos-cloudinit.
fn rendered(scalar: &super::yaml::Scalar, of: Type) -> Option<String> {
    match of {
        Type::Int => scalar.as_int().filter(|n| *n != 0).map(|n| n.to_string()),
        Type::Float => scalar.as_float().filter(|n| *n != 0.0).map(|n| n.to_string()),
        Type::Bool => scalar.as_bool().filter(|on| *on).map(|on| on.to_string()),
        _ => Some(scalar.text.clone()).filter(|text| !text.is_empty()),
    }
}

fn user(r: &mut Reader<'_>) -> Option<User> {
    let imports = [
        r.text("coreos_ssh_import_github").is_some(),
        r.text("coreos_ssh_import_url").is_some(),
        !r.strings("coreos_ssh_import_github_users").is_empty(),
    ];
    Some(User {
        name: r.word("name"),
        passwd: r.word("passwd"),
        ssh_authorized_keys: r.words("ssh_authorized_keys"),
        imports_keys: imports.contains(&true),
        gecos: r.word("gecos"),
        homedir: r.word("homedir"),
        no_create_home: r.flag("no_create_home"),
        primary_group: r.word("primary_group"),
        groups: r.words("groups"),
        no_user_group: r.flag("no_user_group"),
        system: r.flag("system"),
        no_log_init: r.flag("no_log_init"),
        shell: r.word("shell"),
    })
}

fn file(r: &mut Reader<'_>) -> Option<File> {
    let content = r
        .value("content")
        .and_then(|(node, line)| Some((node.scalar()?, line)));
    let name = r.word("encoding");
    let bytes = content.map_or(&[][..], |(s, _)| s.binary.as_deref().unwrap_or(s.text.as_bytes()));
    let content = match encoding::decode(bytes, &name) {
        Ok(bytes) => bytes,
        Err(e) => {
            let line = content.map_or(r.line, |(_, line)| line);
            r.report
                .error(line, format!("content cannot be decoded as {name:?}: {e}"));
            return None;
        }
    };
    let permissions = r.word("permissions");
    let mode = u32::from_str_radix(&permissions, 8).unwrap_or(0o644);
    Some(File {
        path: r.word("path"),
        content,
        owner: r.word("owner"),
        mode,
    })
}

fn oem(coreos: &Node, report: &mut Report) -> Option<Located<Oem>> {
    let pair = coreos.get("oem").filter(|pair| !pair.node.is_null())?;
    let mut r = Reader::new(&pair.node, pair.line, "oem", schema::OEM, report);
    let value = Oem {
        id: r.word("id"),
        name: r.word("name"),
        version_id: r.word("version_id"),
        home_url: r.word("home_url"),
        bug_report_url: r.word("bug_report_url"),
    };
    Some(Located {
        line: pair.line,
        value,
    })
}

fn unit(r: &mut Reader<'_>) -> Option<Unit> {
    Some(Unit {
        name: r.word("name"),
        mask: r.flag("mask"),
        enable: r.flag("enable"),
        runtime: r.flag("runtime"),
        content: r.word("content"),
        command: r.word("command"),
        drop_ins: each(r.node, "drop_ins", schema::DROP_IN, r.report, Spoilt::Drop, |d| {
            Some(DropIn {
                name: d.word("name"),
                content: d.word("content"),
            })
        }),
    })
}

#[cfg(test)]
#[path = "decode_tests.rs"]
mod tests;
