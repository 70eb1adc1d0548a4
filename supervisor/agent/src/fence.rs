//! A machine that the cluster may hold for lost: what must not run twice ends here before it may start elsewhere.
//!
//! The leader gives a machine up at the earliest one TTL after the last heartbeat it heard. Counted from when that one was
//! sent, a machine alone knows how long its units are its own:
//!
//! | silence, in TTLs | then |
//! |---|---|
//! | less than 2/3 | all is as the cluster said last |
//! | less than 5/6 | fenced units (`OnPartition=stop`) are stopped, and none is started |
//! | more | those that still run are killed |
//!
//! Units that are not fenced run on. It holds as long as this machine's clock runs and its supervisor does: a machine that
//! stands still as a whole stops them when it goes on.

use std::collections::BTreeMap;
use std::time::Duration;

use corten_spec::unit_name::UnitName;

use crate::desired::DesiredUnit;
use crate::observed::Observed;
use crate::reconcile::{Action, reconcile};

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
    /// After a silence of `silence` under leases of `ttl`; with it, how much longer until that changes.
    pub fn after(silence: Duration, ttl: Duration) -> (Contact, Option<Duration>) {
        let (lost, overdue) = (ttl * 2 / 3, ttl * 5 / 6);
        if silence < lost {
            (Contact::Near, Some(lost - silence))
        } else if silence < overdue {
            (Contact::Lost, Some(overdue - silence))
        } else {
            (Contact::Overdue, None)
        }
    }
}

/// [`reconcile`], under what this contact permits.
pub fn reconcile_fenced(
    desired: &[DesiredUnit],
    observed: &BTreeMap<UnitName, Observed>,
    contact: Contact,
) -> Vec<Action> {
    let actions = reconcile(desired, observed);
    if contact == Contact::Near {
        return actions;
    }
    let wanted = |unit: &UnitName| {
        let mut fenced = desired.iter().filter(|wanted| wanted.requirements.fenced);
        fenced.any(|wanted| wanted.name == *unit)
    };
    let here = |unit: &UnitName| observed.get(unit).is_some_and(is_fenced);
    let mut all = fence(observed, contact);
    let open = |action: &Action| !action.unit().is_some_and(|unit| here(unit) || wanted(unit));
    all.extend(actions.into_iter().filter(open));
    all
}

/// What ends fenced units, without knowing what is wanted of them.
pub fn fence(observed: &BTreeMap<UnitName, Observed>, contact: Contact) -> Vec<Action> {
    let running = observed
        .iter()
        .filter(|(name, seen)| is_fenced(seen) && seen.must_stop(name));
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

fn is_fenced(seen: &Observed) -> bool {
    seen.on_disk
        .as_ref()
        .is_some_and(|on_disk| on_disk.requirements.fenced)
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
        assert_eq!(Contact::after(s(0), ttl), (Contact::Near, Some(s(20))));
        assert_eq!(Contact::after(s(20), ttl), (Contact::Lost, Some(s(5))));
        assert_eq!(Contact::after(s(25), ttl), (Contact::Overdue, None));
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
        let next = |contact| {
            let actions = reconcile_fenced(&desired, &observed, contact);
            let text = |action: &Action| match action {
                Action::Stop(unit) => format!("stop {unit}"),
                Action::Kill(unit) => format!("kill {unit}"),
                Action::Start(unit) => format!("start {unit}"),
                other => format!("{other:?}"),
            };
            actions.iter().map(text).collect::<Vec<_>>().join(", ")
        };
        assert_eq!(next(Contact::Near), "start c.service, start e.service");
        assert_eq!(next(Contact::Lost), "stop a.service, start e.service");
        assert_eq!(
            next(Contact::Overdue),
            "stop a.service, kill a.service, kill b.service, start e.service"
        );
    }
}
