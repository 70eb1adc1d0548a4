//! A machine that the cluster may hold for lost: what must not run twice ends here before it may start elsewhere.
//!
//! The leader gives a machine up at the earliest one TTL after the last heartbeat it heard. Counted from when that one was
//! sent, a machine alone knows how long its units are its own:
//!
//! | silence, in TTLs | then |
//! |---|---|
//! | less than 2/3 | all is as the cluster said last |
//! | less than 5/6 | fenced units (`OnPartition=stop`) are stopped, and none is started |
//! | more, or never heard since the machine booted | those that still run are killed |
//!
//! A unit is fenced if the file it was started from says so, or the one the cluster has now. Units that are not run on.
//!
//! It holds as long as this machine's supervisor runs and systemd answers within the last sixth of the TTL. A machine that
//! stands still as a whole, and one whose supervisor is dead, ends them when it goes on.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use corten_spec::unit_name::UnitName;

use crate::desired::DesiredUnit;
use crate::observed::Observed;
use crate::reconcile::{Action, reconcile};

/// The shortest TTL that suits fenced units. From the first heartbeat that fails to their stop are 5/12 of it, in which the
/// leader may change: up to 3 s, and a heartbeat lost on the old one. From the kill to another machine's start is 1/6 of it,
/// in which systemd must answer: up to 2 s where it is busy.
pub const SHORTEST_TTL: Duration = Duration::from_secs(12);

/// How this machine stands with the leader.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Contact {
    /// Its lease holds for long enough.
    Near,
    /// It may be given up soon.
    Lost,
    /// There is no time left for an orderly stop.
    Overdue,
}

impl Contact {
    /// After a silence of `silence`, `None` if it was never heard, under leases of `ttl`; with it, how much longer until
    /// that changes by itself.
    pub fn after(silence: Option<Duration>, ttl: Duration) -> (Contact, Option<Duration>) {
        let (lost, overdue) = (ttl * 2 / 3, ttl * 5 / 6);
        match silence {
            Some(silence) if silence < lost => (Contact::Near, Some(lost - silence)),
            Some(silence) if silence < overdue => (Contact::Lost, Some(overdue - silence)),
            _ => (Contact::Overdue, None),
        }
    }
}

/// What is to be done, under what the contact permits.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Fenced {
    /// Ends units, and comes first. Each stands alone: whatever failed before is no reason to leave it or to wait with it.
    pub ends: Vec<Action>,
    /// The rest, as of [`reconcile`].
    pub rest: Vec<Action>,
}

/// [`reconcile`], under what this contact permits. A machine that the cluster does not have leaves alone what it is to have,
/// and only ends what it is not to have: a roll that begins meanwhile counts on that it has what it had.
pub fn reconcile_fenced(
    desired: &[DesiredUnit],
    observed: &BTreeMap<UnitName, Observed>,
    contact: Contact,
    is_member: bool,
) -> Fenced {
    let mut rest = reconcile(desired, observed);
    if !is_member {
        let desired: BTreeSet<&UnitName> = desired.iter().map(|wanted| &wanted.name).collect();
        rest.retain(|action| !action.unit().is_some_and(|unit| desired.contains(unit)));
    }
    if contact != Contact::Near {
        rest.retain(|action| {
            !action
                .unit()
                .is_some_and(|unit| is_fenced(unit, desired, observed))
        });
    }
    Fenced {
        ends: fence(desired, observed, contact),
        rest,
    }
}

/// What ends fenced units, and nothing else. `desired` may be old, or empty, where what is wanted is not known for sure.
pub fn fence(
    desired: &[DesiredUnit],
    observed: &BTreeMap<UnitName, Observed>,
    contact: Contact,
) -> Vec<Action> {
    let ours = observed.iter().filter(|(_, seen)| seen.on_disk.is_some());
    let running = ours.filter(|(name, seen)| seen.can_end(name) && is_fenced(name, desired, observed));
    let mut actions = Vec::new();
    for (name, seen) in running {
        // Also before it is killed: systemd would start it again.
        if contact != Contact::Near && seen.active != "deactivating" {
            actions.push(Action::Stop(name.clone()));
        }
        if contact == Contact::Overdue {
            actions.push(Action::Kill(name.clone()));
        }
    }
    actions
}

fn is_fenced(unit: &UnitName, desired: &[DesiredUnit], observed: &BTreeMap<UnitName, Observed>) -> bool {
    let on_disk = observed.get(unit).and_then(|seen| seen.on_disk.as_ref());
    let mut wanted = desired.iter().filter(|wanted| wanted.name == *unit);
    on_disk.is_some_and(|on_disk| on_disk.requirements.fenced)
        || wanted.any(|wanted| wanted.requirements.fenced)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use corten_spec::unit_file::UnitFile;
    use corten_spec::x_fleet::Requirements;

    use super::*;
    use crate::observed::OnDisk;

    fn unit(name: &str, options: &str, active: &str) -> (DesiredUnit, (UnitName, Observed)) {
        let name = UnitName::parse(name).unwrap();
        let file = UnitFile::parse(&format!("[X-Fleet]\n{options}\n")).unwrap();
        let requirements = Requirements::of(&name, &file);
        let on_disk = OnDisk {
            hash: file.hash(),
            requirements: requirements.clone(),
            has_install: file.has_install(),
            launched: active != "inactive",
            start_error: String::new(),
        };
        let observed = Observed {
            on_disk: Some(on_disk),
            active: active.to_owned(),
            ..Observed::default()
        };
        let wanted = DesiredUnit {
            hash: file.hash(),
            name: name.clone(),
            file,
            requirements,
            launch: true,
        };
        (wanted, (name, observed))
    }

    #[test]
    fn silence_is_counted_in_ttls() {
        let (ttl, s) = (Duration::from_secs(30), Duration::from_secs);
        assert_eq!(Contact::after(Some(s(0)), ttl), (Contact::Near, Some(s(20))));
        assert_eq!(Contact::after(Some(s(20)), ttl), (Contact::Lost, Some(s(5))));
        assert_eq!(Contact::after(Some(s(25)), ttl), (Contact::Overdue, None));
        assert_eq!(Contact::after(None, ttl), (Contact::Overdue, None));
    }

    #[test]
    fn only_fenced_units_end_and_none_of_them_starts() {
        let units = [
            unit("a.service", "OnPartition=stop", "active"),
            unit("b.service", "OnPartition=stop", "deactivating"),
            unit("c.service", "OnPartition=stop", "inactive"),
            unit("d.service", "", "active"),
            unit("e.service", "", "inactive"),
        ];
        let (desired, observed): (Vec<_>, BTreeMap<_, _>) = units.into_iter().unzip();
        let next = |contact| print(&reconcile_fenced(&desired, &observed, contact, true));
        assert_eq!(next(Contact::Near), "then start c.service, start e.service");
        assert_eq!(next(Contact::Lost), "stop a.service, then start e.service");
        assert_eq!(
            next(Contact::Overdue),
            "stop a.service, kill a.service, kill b.service, then start e.service"
        );
    }

    #[test]
    fn who_is_no_member_leaves_alone_what_it_is_to_have() {
        let (started, to_start) = unit("a.service", "", "inactive");
        let (mut changed, to_change) = unit("b.service", "", "active");
        changed.hash = "another".to_owned();
        let (_, not_ours_any_more) = unit("c.service", "", "active");
        let (desired, observed) = (
            [started, changed],
            [to_start, to_change, not_ours_any_more].into(),
        );
        let next = |is_member| print(&reconcile_fenced(&desired, &observed, Contact::Near, is_member));
        assert_eq!(next(true), "then stop b.service, stop c.service, start a.service");
        assert_eq!(next(false), "then stop c.service");
    }

    #[test]
    fn a_unit_is_fenced_by_its_old_file_and_by_its_new_one() {
        let (_, old_fenced) = unit("a.service", "OnPartition=stop", "active");
        let (wanted, _) = unit("a.service", "", "active");
        let (new_fenced, old) = unit("b.service", "OnPartition=stop", "active");
        // Its old file, which the cluster has replaced by one that says so.
        let old = (old.0, unit("b.service", "", "active").1.1);
        let desired = [wanted, new_fenced];
        let observed: BTreeMap<_, _> = [old_fenced, old].into();
        let next = reconcile_fenced(&desired, &observed, Contact::Lost, true);
        assert_eq!(print(&next), "stop a.service, stop b.service, then ");
        assert_eq!(fence(&desired, &observed, Contact::Lost), next.ends);
        assert_eq!(
            fence(&[], &observed, Contact::Lost).len(),
            1,
            "what is wanted is not known"
        );
    }

    #[test]
    fn a_unit_that_is_not_ours_is_left_alone() {
        let (wanted, (name, mut seen)) = unit("a.service", "OnPartition=stop", "active");
        seen.on_disk = None;
        assert_eq!(fence(&[wanted], &[(name, seen)].into(), Contact::Overdue), []);
    }

    fn print(fenced: &Fenced) -> String {
        let text = |action: &Action| match action {
            Action::Stop(unit) => format!("stop {unit}"),
            Action::Kill(unit) => format!("kill {unit}"),
            Action::Start(unit) => format!("start {unit}"),
            other => format!("{other:?}"),
        };
        let list = |actions: &[Action]| actions.iter().map(text).collect::<Vec<_>>().join(", ");
        let ends = if fenced.ends.is_empty() {
            String::new()
        } else {
            list(&fenced.ends) + ", "
        };
        format!("{ends}then {}", list(&fenced.rest))
    }
}
