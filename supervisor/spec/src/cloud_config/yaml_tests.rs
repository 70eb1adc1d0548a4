//! Tests of `yaml`: lines, the types a scalar may have, anchors, limits, and that no text makes it panic.
#![allow(clippy::unwrap_used)]

use super::*;
use proptest::prelude::*;

fn text(node: &Node) -> &str {
    &node.scalar().unwrap().text
}

#[test]
fn every_node_knows_its_line() {
    let root = parse("#cloud-config\n\nhostname: a\ncoreos:\n  units:\n    - name: b\n      enable: yes\n")
        .unwrap()
        .unwrap();
    assert_eq!(root.get("hostname").unwrap().line, 3);
    let units = &root.get("coreos").unwrap().node.get("units").unwrap();
    assert_eq!(units.line, 5);
    assert_eq!(units.node.items()[0].line, 6);
    assert_eq!(units.node.items()[0].get("enable").unwrap().line, 7);
}

#[test]
fn hyphens_in_keys_are_underscores() {
    let root = parse("ssh-authorized-keys: [a-b]").unwrap().unwrap();
    let keys = root.get("ssh_authorized_keys").unwrap();
    assert_eq!(text(&keys.node.items()[0]), "a-b");
}

#[test]
fn a_scalar_is_what_the_reader_wants() {
    for (written, bool, int, float) in [
        ("off", Some(false), None, None),
        ("Yes", Some(true), None, None),
        ("0744", None, Some(0o744), Some(744.0)),
        ("0x1f", None, Some(31), None),
        ("-3", None, Some(-3), Some(-3.0)),
        ("1_000", None, Some(1000), None),
        ("2.5", None, None, Some(2.5)),
        ("08", None, None, Some(8.0)),
        ("'on'", None, None, None),
        ("\"1\"", None, None, None),
        ("!!str 1", None, None, None),
        ("nan", None, None, None),
        ("-", None, None, None),
        ("1--1", None, None, None),
    ] {
        let Ok(Some(root)) = parse(&format!("k: {written}")) else {
            continue;
        };
        let node = &root.get("k").unwrap().node;
        let Some(scalar) = node.scalar() else { continue };
        assert_eq!(
            (scalar.as_bool(), scalar.as_int(), scalar.as_float()),
            (bool, int, float),
            "{written}"
        );
    }
}

#[test]
fn null_binary_block_and_quoted() {
    let root = parse("a:\nb: ~\nc: |\n  one\n  two\nd: \"x\\ty\"\ne: !!binary aGk=\nf: ''\n")
        .unwrap()
        .unwrap();
    assert!(root.get("a").unwrap().node.is_null() && root.get("b").unwrap().node.is_null());
    assert_eq!(text(&root.get("c").unwrap().node), "one\ntwo\n");
    assert_eq!(text(&root.get("d").unwrap().node), "x\ty");
    assert_eq!(
        root.get("e").unwrap().node.scalar().unwrap().binary.as_deref(),
        Some(&b"hi"[..])
    );
    assert!(!root.get("f").unwrap().node.is_null());
    assert!(parse("a: !!binary '*'").unwrap_err().message.contains("base64"));
    assert_eq!(parse("#cloud-config\n"), Ok(None));
    assert_eq!(parse("#cloud-config\n---\n"), Ok(None));
}

#[test]
fn anchors_and_merge_keys() {
    let root = parse("base: &b {x: 1, y: 2}\nown:\n  <<: *b\n  y: 3\n")
        .unwrap()
        .unwrap();
    let own = &root.get("own").unwrap().node;
    assert_eq!(text(&own.get("x").unwrap().node), "1");
    assert_eq!(text(&own.get("y").unwrap().node), "3");
}

#[test]
fn limits_hold() {
    let deep = format!("{}x{}", "[".repeat(100), "]".repeat(100));
    assert!(parse(&deep).unwrap_err().message.contains("deep"));
    let mut laughs = "a0: &a0 [x,x,x,x,x,x,x,x,x,x]\n".to_owned();
    for level in 1..10 {
        let before = format!("*a{}", level - 1);
        laughs += &format!("a{level}: &a{level} [{}]\n", [before.as_str(); 10].join(","));
    }
    assert!(parse(&laughs).unwrap_err().message.contains("too many"));
}

#[test]
fn a_syntax_error_names_its_line() {
    for (bad, line) in [
        ("a: b\n c: d\n", 2),
        ("a: [1, 2\nb: 3\n", 2),
        ("a: b\n\tc: d\n", 2),
        ("a: \"x\n", 1),
    ] {
        let error = parse(bad).unwrap_err();
        assert!(error.line >= line && error.line <= line + 1, "{bad:?}: {error}");
    }
}

#[test]
fn a_comment_after_a_tab_is_a_comment() {
    // The classical documentation has such lines in its first example.
    let root = parse("coreos:\n  etcd:\n    name: node001\n\t# new token\n    addr: x\n");
    assert!(root.is_ok(), "{root:?}");
}

proptest! {
    #[test]
    fn no_text_makes_it_panic(text in "\\PC*") {
        let _ = parse(&text);
    }

    #[test]
    fn no_yamlish_text_makes_it_panic(text in "[a-c:\\-\\[\\]{}&*!|>'\"#%@`,?~<0-9 \n\t\r]{0,200}") {
        let _ = parse(&text);
    }
}
