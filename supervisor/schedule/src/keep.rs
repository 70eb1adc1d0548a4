//! The first step of a plan: every placed unit is looked at again, and one that may not stay leaves its machine.
//!
//! From the last name to the first, so that of two units that may not be together the later one goes. Repeated until
//! nothing leaves, because a follower goes when its peer went.

use crate::cluster::{Cluster, Place, Unable};
use crate::patterns::UnitIx;
use crate::why;

/// Takes off every unit that may not stay; says whether any was.
pub fn drop_unable(cluster: &mut Cluster<'_>) -> bool {
    let mut any = false;
    while drop_once(cluster) {
        any = true;
    }
    any
}

fn drop_once(cluster: &mut Cluster<'_>) -> bool {
    let mut any = false;
    for unit in (0..cluster.units.len() as UnitIx).rev() {
        if let Some(reason) = reason_to_leave(cluster, unit) {
            cluster.take(unit);
            let unit = &mut cluster.units[unit as usize];
            unit.put = None;
            unit.left = Some(reason);
            any = true;
        }
    }
    any
}

/// Why the unit may not stay where it is; None when it may, or is nowhere.
fn reason_to_leave(cluster: &mut Cluster<'_>, unit: UnitIx) -> Option<String> {
    let Place::On(machine) = cluster.units[unit as usize].place else {
        return None;
    };
    if let Some(rival) = cluster.rivals(unit).first() {
        return Some(format!(
            "it and {} replace each other",
            cluster.units[*rival as usize].name
        ));
    }
    cluster.take(unit);
    let able = cluster.able(unit, machine);
    cluster.put(unit, machine);
    let unable = able.err()?;
    if let Unable::Replaced(_) = unable {
        cluster.units[unit as usize].displaced = true;
    }
    Some(why::leaving(cluster, machine, &unable))
}
