//! Tests of `user_data`: the forms, what is saved from broken files, and that no text makes it panic.
#![allow(clippy::unwrap_used)]

use super::*;
use proptest::prelude::*;

#[test]
fn forms_by_first_line() {
    for (text, wanted) in [
        ("", Form::Empty),
        ("#!/bin/sh\n", Form::Script),
        ("#cloud-config", Form::CloudConfig),
        ("#cloud-config\r\nhostname: x\r\n", Form::CloudConfig),
        ("{\"ignition\": {\"version\": \"3.0.0\"}}", Form::Ignition),
        ("{\"ignitionVersion\": 1}", Form::Ignition),
        ("{}", Form::Unrecognized),
        ("# cloud-config\n", Form::Unrecognized),
        ("\n#cloud-config\n", Form::Unrecognized),
        ("hello", Form::Unrecognized),
    ] {
        assert_eq!(form(text), wanted, "{text:?}");
    }
}

#[test]
fn windows_line_ends_are_fine() {
    let parsed = parse("#cloud-config\r\nhostname: x\r\nssh_authorized_keys:\r\n  - k\r\n");
    assert_eq!(parsed.config.hostname.unwrap().value, "x");
    assert_eq!(parsed.config.ssh_authorized_keys[0].value, "k");
    assert!(parsed.report.entries.is_empty());
}

#[test]
fn a_broken_file_leaves_the_way_in() {
    let text = "#cloud-config\nhostname: core1\nssh_authorized_keys:\n  - ssh-ed25519 AAAA me\n\
                coreos:\n  units:\n    - name: a.service\n   command: start\nwrite_files:\n  - path: /x\n";
    let parsed = parse(text);
    assert_eq!(
        parsed
            .config
            .hostname
            .as_ref()
            .map(|h| (h.line, h.value.as_str())),
        Some((2, "core1"))
    );
    assert_eq!(parsed.config.ssh_authorized_keys[0].line, 4);
    assert!(parsed.config.units.is_empty() && parsed.config.write_files.is_empty());
    let said = parsed.report.to_string();
    assert!(said.starts_with("line 8: error: not YAML: "), "{said}");
    assert!(
        said.contains("only hostname, ssh_authorized_keys of it is used"),
        "{said}"
    );
}

#[test]
fn good_keys_survive_a_broken_one() {
    let text = "#cloud-config\nssh_authorized_keys:\n  - \"ssh-rsa AAAA one\"\n  - \"ssh-rsa BBBB two\n  - ssh-ed25519 CC\n\
                hostname: h\n";
    let parsed = parse(text);
    let keys: Vec<&str> = parsed
        .config
        .ssh_authorized_keys
        .iter()
        .map(|k| k.value.as_str())
        .collect();
    assert_eq!(keys, ["ssh-rsa AAAA one", "ssh-ed25519 CC"]);
    assert!(parsed.report.has_errors());
}

#[test]
fn broken_beyond_use_says_so() {
    let parsed = parse("#cloud-config\n\tx: [\n");
    assert!(parsed.report.to_string().contains("nothing of it is used"));
}

proptest! {
    #[test]
    fn no_text_makes_it_panic(text in "\\PC*") {
        let text = format!("#cloud-config\n{text}");
        let _ = (form(&text), parse(&text), report(&text));
    }

    #[test]
    fn no_near_miss_makes_it_panic(parts in proptest::collection::vec(0usize..PARTS.len(), 0..40)) {
        let text: String = parts.iter().map(|i| PARTS[*i]).collect();
        let text = format!("#cloud-config\n{text}");
        let parsed = parse(&text);
        let plan = super::super::plan::plan(&parsed.config, &Default::default());
        for entry in parsed.report.entries.iter().chain(&plan.report.entries) {
            prop_assert!(entry.line <= text.lines().count() + 2, "{entry} of {} lines", text.lines().count());
        }
    }
}

/// Pieces of cloud-configs, to be put together at random.
const PARTS: &[&str] = &[
    "hostname: h\n",
    "ssh_authorized_keys:\n",
    "  - ssh-rsa A\n",
    "users:\n",
    "  - name: u\n",
    "    groups: [a]\n",
    "coreos:\n",
    "  units:\n",
    "    - name: a.service\n",
    "      command: start\n",
    "      content: |\n",
    "        [Service]\n",
    "  etcd2:\n",
    "    name: x\n",
    "write_files:\n",
    "  - path: /a\n",
    "    content: x\n",
    "    permissions: 0644\n",
    "\t",
    " ",
    "[",
    "}",
    "\"",
    "'",
    "|\n",
    "&a ",
    "*a\n",
    "- ",
    ": ",
    "\n",
    "#",
    "!!binary ",
    "<<: ",
    "0",
    "~",
    "---\n",
    "%",
];
