//! The first step of a plan: placed units that may have to leave are looked at again, and one that may not stay leaves
//! its machine.
//!
//! From the last to the first by priority and name, so that of two units that may not be together the later one goes. Repeated until
//! nothing leaves, because a follower goes when its peer went.

use std::collections::BTreeSet;

use crate::cluster::{Cluster, Place, Unable};
use crate::key::UnitIx;
use crate::why;

/// Takes off every unit that may not stay; says whether any was.
pub fn drop_unable(cluster: &mut Cluster) -> bool {
    let mut any = false;
    let mut now = std::mem::take(&mut cluster.work.suspects);
    while !now.is_empty() {
        let mut next = BTreeSet::new();
        while let Some(key) = now.pop_last() {
            let Some(reason) = reason_to_leave(cluster, key.ix) else {
                continue;
            };
            cluster.leave(key.ix, reason);
            any = true;
            // Whoever is suspect because of this comes in this round if its turn is still to come, else in the next.
            let mut earlier = std::mem::take(&mut cluster.work.suspects);
            next.append(&mut earlier.split_off(&key));
            now.append(&mut earlier);
        }
        now = next;
    }
    any
}

/// Why the unit may not stay where it is; None when it may, or is nowhere.
fn reason_to_leave(cluster: &mut Cluster, unit: UnitIx) -> Option<String> {
    let Place::On(machine) = cluster.unit(unit).place else {
        return None;
    };
    if let Some(rival) = cluster.rivals(unit).first() {
        return Some(format!("it and {} replace each other", cluster.unit(*rival).name));
    }
    let unable = cluster.able(unit, machine).err()?;
    if let Unable::Replaced(_) = unable {
        cluster.units[unit as usize].displaced = true;
    }
    Some(why::leaving(cluster, unit, machine, unable))
}
