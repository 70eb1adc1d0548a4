//! All nodes apply the same changes under the same indexes and revisions, each of which only grows: there is one history.

use std::collections::BTreeMap;

use corten_raft::AppliedBatch;
use corten_store::Event;

/// A change as any node told it first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Told {
    /// In full.
    pub text: String,
    /// Keys, with their values after it.
    pub values: Vec<(String, Option<String>)>,
}

/// The one history.
#[derive(Debug, Default)]
pub struct History {
    /// By v2 index.
    pub v2: BTreeMap<u64, Told>,
    /// By v3 revision.
    pub v3: BTreeMap<u64, Told>,
}

/// How far one node has told its changes, since it was started.
#[derive(Debug, Clone, Copy, Default)]
pub struct Upto {
    entry: u64,
    v2: u64,
    v3: u64,
}

fn grow(what: &str, last: &mut u64, next: u64) -> Result<(), String> {
    if next <= *last {
        return Err(format!("{what} {next} came after {last}"));
    }
    *last = next;
    Ok(())
}

impl History {
    /// Takes what a node applied.
    ///
    /// # Errors
    /// When it contradicts what the node, or any other, applied before.
    pub fn take(&mut self, upto: &mut Upto, batch: &AppliedBatch) -> Result<(), String> {
        grow("entry", &mut upto.entry, batch.raft_index)?;
        for event in &batch.events {
            match event {
                Event::Key(notice) => {
                    grow("v2 index", &mut upto.v2, notice.event.index())?;
                    let node = &notice.event.node;
                    let told = Told {
                        text: format!("{notice:?}"),
                        values: vec![(node.key.clone(), node.value.clone())],
                    };
                    same("v2 index", &mut self.v2, notice.event.index(), told)?;
                }
                Event::Kv(changes) => {
                    let revision = changes.revision as u64;
                    grow("v3 revision", &mut upto.v3, revision)?;
                    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
                    let values = changes.changes.iter().map(|change| {
                        let deleted = change.action == corten_store::kv::Action::Delete;
                        (text(&change.kv.key), (!deleted).then(|| text(&change.kv.value)))
                    });
                    let told = Told {
                        text: format!("{changes:?}"),
                        values: values.collect(),
                    };
                    same("v3 revision", &mut self.v3, revision, told)?;
                }
                _ => {}
            }
        }
        Ok(())
    }
}

fn same(what: &str, history: &mut BTreeMap<u64, Told>, at: u64, told: Told) -> Result<(), String> {
    match history.get(&at) {
        Some(known) if *known != told => Err(format!(
            "{what} {at} is {} here, and was {} elsewhere",
            told.text, known.text
        )),
        Some(_) => Ok(()),
        None => {
            history.insert(at, told);
            Ok(())
        }
    }
}
