//! What happened to a key, as the wire shows it.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::json;

/// What was done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs)] // etcd's words
pub enum Action {
    Get,
    Create,
    Set,
    Update,
    Delete,
    CompareAndSwap,
    CompareAndDelete,
    Expire,
}

impl Action {
    /// The word on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Action::Get => "get",
            Action::Create => "create",
            Action::Set => "set",
            Action::Update => "update",
            Action::Delete => "delete",
            Action::CompareAndSwap => "compareAndSwap",
            Action::CompareAndDelete => "compareAndDelete",
            Action::Expire => "expire",
        }
    }
}

/// A node of the tree, as it was at some moment.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Node {
    /// The key; empty for the root, which shows none.
    pub key: String,
    /// The value; `None` for a directory and in the node of a deletion.
    pub value: Option<String>,
    /// Whether it is a directory.
    pub dir: bool,
    /// When it expires, in ms since the Unix epoch.
    pub expiration_ms: Option<u64>,
    /// Seconds left, rounded up, at the moment shown; 0 is not printed.
    pub ttl: i64,
    /// The children of a listed directory, sorted by key; `None` where not listed.
    pub nodes: Vec<Node>,
    /// Index of the last change; 0 is not printed.
    pub modified_index: u64,
    /// Index of the creation; 0 is not printed.
    pub created_index: u64,
}

/// The answer to a request, and what watchers get.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event {
    /// What was done.
    pub action: Action,
    /// The key afterwards.
    pub node: Node,
    /// The key before.
    pub prev_node: Option<Node>,
    /// The store's index when the event was made: `X-Etcd-Index` of the answer.
    pub etcd_index: u64,
}

impl Event {
    /// The event's own index.
    pub fn index(&self) -> u64 {
        self.node.modified_index
    }

    /// Whether the answer's status is 201 instead of 200.
    pub fn is_created(&self) -> bool {
        self.action == Action::Create || (self.action == Action::Set && self.prev_node.is_none())
    }

    /// The body, with a line end.
    pub fn to_json(&self) -> Vec<u8> {
        let size = |node: &Node| 128 + 2 * node.key.len() + node.value.as_ref().map_or(0, String::len);
        let size = size(&self.node) + self.prev_node.as_ref().map_or(0, size);
        let mut out = Vec::with_capacity(size);
        json::event(&mut out, self);
        out
    }

    /// The body for `noValueOnSuccess=true`: only the action, where the action is one that has a value.
    pub fn to_json_no_value(&self) -> Vec<u8> {
        match self.action {
            Action::Set | Action::Create | Action::Update | Action::CompareAndSwap => {
                format!("{{\"action\":\"{}\"}}\n", self.action.as_str()).into_bytes()
            }
            _ => self.to_json(),
        }
    }
}

/// An event for the watchers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Notice {
    /// What happened.
    pub event: Arc<Event>,
    /// Keys below a deleted or expired directory that went with it, sorted. Their watchers get the directory's event.
    pub removed: Vec<String>,
}
