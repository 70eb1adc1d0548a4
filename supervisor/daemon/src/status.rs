//! The supervisor in one line, for `systemctl status corten`.

use corten_raft::Node;
use corten_store::fleet;

/// What this node is and sees.
pub fn line(name: &str, node: &Node, registered: u64) -> String {
    let status = node.status();
    let members = node.members();
    let leader = members.iter().find(|member| member.id == status.leader_id);
    let leader = match leader {
        None => "no leader, nothing can be changed".to_owned(),
        Some(_) if status.without_quorum => "no quorum, nothing can be changed".to_owned(),
        Some(member) if member.id == status.member_id => "leads".to_owned(),
        Some(member) => format!("{} leads", member.name),
    };
    let counted = node.read(|tx| {
        let machines = fleet::machines(tx)?
            .iter()
            .filter(|machine| machine.present)
            .count();
        Ok((machines, fleet::units(tx)?.len()))
    });
    let counts = counted.map(|(machines, units)| format!("{machines} machines, {units} units"));
    let full = if status.no_space {
        "; the disk is full, writes are refused"
    } else {
        ""
    };
    let waiting = if registered == 0 {
        "; waiting to register"
    } else {
        ""
    };
    format!(
        "{name}, 1 of {}: {leader}; {}{full}{waiting}",
        members.len(),
        counts.unwrap_or_default()
    )
}
