//! Answers as etcdctl prints them: simple, extended (like the head of a letter), json.

use super::keys::{Answer, Node};
use crate::go;

/// The lines of an answer to get, set, rm, watch and their kin.
///
/// # Errors
/// The line for standard error, where the format is none; etcdctl does not call it a failure.
pub(super) fn answer(answer: &Answer, format: &str) -> Result<String, String> {
    match format {
        "simple" => Ok(simple(answer)),
        "extended" => Ok(extended(answer)),
        "json" => Ok(go::to_json(answer)),
        _ => Err(format!("Unsupported output format: {format}")),
    }
}

/// One line per key below `node`; a file lists itself.
pub(super) fn listing(node: &Node, slashes: bool) -> Vec<String> {
    let mut lines = Vec::new();
    if !node.dir {
        lines.push(node.key.clone());
    }
    for child in node.nodes.iter().flatten() {
        list_into(&mut lines, child, slashes);
    }
    lines
}

fn list_into(lines: &mut Vec<String>, node: &Node, slashes: bool) {
    let slash = if node.dir && slashes { "/" } else { "" };
    lines.push(format!("{}{slash}", node.key));
    for child in node.nodes.iter().flatten() {
        list_into(lines, child, slashes);
    }
}

fn simple(answer: &Answer) -> String {
    if answer.action == "delete" {
        format!("PrevNode.Value: {}", previous(answer))
    } else {
        answer.node.value.clone()
    }
}

fn extended(answer: &Answer) -> String {
    let node = &answer.node;
    let mut text = format!(
        "Key: {}\nCreated-Index: {}\nModified-Index: {}\n",
        node.key, node.created_index, node.modified_index
    );
    if answer.prev_node.is_some() {
        text.push_str(&format!("PrevNode.Value: {}\n", previous(answer)));
    }
    text.push_str(&format!("TTL: {}\nIndex: {}", node.ttl, answer.index));
    if answer.action != "delete" {
        text.push_str(&format!("\n\n{}", node.value));
    }
    text
}

fn previous(answer: &Answer) -> &str {
    answer.prev_node.as_ref().map_or("", |node| &node.value)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn read(json: &str, index: u64) -> Answer {
        Answer {
            index,
            ..serde_json::from_str(json).unwrap()
        }
    }

    const SET: &str = r#"{"action":"set","node":{"key":"/x","value":"5","modifiedIndex":1150,"createdIndex":1150},
        "prevNode":{"key":"/x","value":"1","modifiedIndex":1139,"createdIndex":1139}}"#;
    const RM: &str = r#"{"action":"delete","node":{"key":"/x","modifiedIndex":1151,"createdIndex":1150},
        "prevNode":{"key":"/x","value":"5","modifiedIndex":1150,"createdIndex":1150}}"#;

    #[test]
    fn answers_are_printed_as_in_the_transcript() {
        let set = read(SET, 1150);
        let rm = read(RM, 1151);
        let extended =
            "Key: /x\nCreated-Index: 1150\nModified-Index: 1150\nPrevNode.Value: 1\nTTL: 0\nIndex: 1150\n\n5";
        assert_eq!(answer(&set, "simple").unwrap(), "5");
        assert_eq!(answer(&set, "extended").unwrap(), extended);
        assert_eq!(answer(&rm, "simple").unwrap(), "PrevNode.Value: 5");
        let json = r#"{"action":"delete","node":{"key":"/x","value":"","nodes":null,"createdIndex":1150,"modifiedIndex":1151},"prevNode":{"key":"/x","value":"5","nodes":null,"createdIndex":1150,"modifiedIndex":1150}}"#;
        assert_eq!(answer(&rm, "json").unwrap(), json);
        assert_eq!(
            answer(&rm, "yaml").unwrap_err(),
            "Unsupported output format: yaml"
        );
    }

    #[test]
    fn listings_go_down_and_mark_directories() {
        let tree = r#"{"dir":true,"nodes":[{"key":"/a","dir":true,"nodes":[{"key":"/a/b","value":"1"}]},{"key":"/c","value":""}]}"#;
        let node: Node = serde_json::from_str(tree).unwrap();
        assert_eq!(listing(&node, true), ["/a/", "/a/b", "/c"]);
        assert_eq!(listing(&node, false), ["/a", "/a/b", "/c"]);
        let file: Node = serde_json::from_str(r#"{"key":"/f","value":"x"}"#).unwrap();
        assert_eq!(listing(&file, true), ["/f"]);
    }
}
