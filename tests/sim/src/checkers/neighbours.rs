//! On one machine, no two units run together that may not, not even while one is on its way out.

use corten_spec::placement::{Party, Replacement, conflict, replacement};

use crate::node::Node;

/// Judges what runs on a machine at this moment.
///
/// # Errors
/// Two units that may not be together.
pub fn check(node: &Node) -> Result<(), String> {
    let busy: Vec<Party<'_>> = node
        .disk
        .iter()
        .filter(|(name, _)| node.systemd.is_busy(name))
        .map(|(name, on_disk)| (name, &on_disk.requirements))
        .collect();
    for (at, a) in busy.iter().enumerate() {
        for b in &busy[at + 1..] {
            let replaces = replacement(*a, *b) == Replacement::Mutual;
            if conflict(*a, *b) || replaces {
                return Err(format!("{} and {} run together on {}", a.0, b.0, node.machine.id));
            }
        }
    }
    Ok(())
}
