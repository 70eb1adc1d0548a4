//! What two units on one machine mean to each other, and which global units a machine runs. Scheduler and agent must
//! agree on this, so it stands below both.
//!
//! Source: contract `fleet.md` section 3.

use crate::glob::glob_match;
use crate::machine::Machine;
use crate::unit_name::UnitName;
use crate::x_fleet::Requirements;

/// A unit as seen here: its name and what it asks for.
pub type Party<'a> = (&'a UnitName, &'a Requirements);

/// How two units stand to each other by `Replaces=`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Replacement {
    /// Neither names the other.
    None,
    /// The first names the second: the second gives way.
    First,
    /// The second names the first: the first gives way.
    Second,
    /// Each names the other: only one of them runs in the whole cluster.
    Mutual,
}

/// Must the two not share a machine? Looked at from both sides; a unit never conflicts with itself.
pub fn conflict(a: Party<'_>, b: Party<'_>) -> bool {
    a.0 != b.0 && (names(&a.1.conflicts, b.0) || names(&b.1.conflicts, a.0))
}

/// Which of the two gives way to the other.
pub fn replacement(a: Party<'_>, b: Party<'_>) -> Replacement {
    if a.0 == b.0 {
        return Replacement::None;
    }
    match (names(&a.1.replaces, b.0), names(&b.1.replaces, a.0)) {
        (false, false) => Replacement::None,
        (true, false) => Replacement::First,
        (false, true) => Replacement::Second,
        (true, true) => Replacement::Mutual,
    }
}

/// Do two units, or a unit with another content, go to the same machines and get on with the same neighbours?
pub fn is_placed_alike(a: &Requirements, b: &Requirements) -> bool {
    let placing = |unit: &Requirements| Requirements {
        fenced: false,
        ..unit.clone()
    };
    placing(a) == placing(b)
}

/// The global units of `globals` that `machine` runs: metadata matches, and no conflict with one accepted before it.
/// Hand them over in the order of their names, without those whose desired state is inactive.
pub fn globals_on<'a>(machine: &Machine, globals: impl IntoIterator<Item = Party<'a>>) -> Vec<Party<'a>> {
    let mut here: Vec<Party<'a>> = Vec::new();
    for unit in globals {
        if machine.satisfies(&unit.1.metadata) && !here.iter().any(|other| conflict(unit, *other)) {
            here.push(unit);
        }
    }
    here
}

fn names(patterns: &[String], name: &UnitName) -> bool {
    patterns.iter().any(|pattern| glob_match(pattern, name.as_str()))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::machine::MachineId;

    fn unit(name: &str, conflicts: &str, replaces: &str) -> (UnitName, Requirements) {
        let split = |text: &str| text.split_whitespace().map(str::to_owned).collect();
        let requirements = Requirements {
            conflicts: split(conflicts),
            replaces: split(replaces),
            ..Requirements::default()
        };
        (UnitName::parse(name).unwrap(), requirements)
    }

    #[test]
    fn conflicts_work_both_ways_and_never_on_oneself() {
        let a = unit("a@1.service", "a@*.service", "");
        let b = unit("a@2.service", "", "");
        assert!(conflict((&a.0, &a.1), (&b.0, &b.1)));
        assert!(conflict((&b.0, &b.1), (&a.0, &a.1)));
        assert!(!conflict((&a.0, &a.1), (&a.0, &a.1)));
    }

    #[test]
    fn replacement_knows_its_direction() {
        let a = unit("a.service", "", "b.*");
        let b = unit("b.service", "", "");
        let c = unit("c.service", "", "d.service");
        let d = unit("d.service", "", "c.service");
        let ask = |x: &(UnitName, Requirements), y: &(UnitName, Requirements)| {
            replacement((&x.0, &x.1), (&y.0, &y.1))
        };
        assert_eq!(ask(&a, &b), Replacement::First);
        assert_eq!(ask(&b, &a), Replacement::Second);
        assert_eq!(ask(&c, &d), Replacement::Mutual);
        assert_eq!(ask(&a, &c), Replacement::None);
    }

    #[test]
    fn all_but_what_a_machine_does_alone_decides_on_the_place() {
        let a = unit("a.service", "b.service", "").1;
        let fenced = Requirements {
            fenced: true,
            ..a.clone()
        };
        assert!(is_placed_alike(&a, &fenced));
        let dear = Requirements {
            priority: 1,
            ..a.clone()
        };
        assert!(!is_placed_alike(&a, &dear) && !is_placed_alike(&a, &Requirements::default()));
    }

    #[test]
    fn a_machine_runs_globals_that_suit_it() {
        let metadata = [("role".to_owned(), "db".to_owned())].into();
        let machine = Machine {
            id: MachineId("a".to_owned()),
            primary_ip: String::new(),
            metadata,
            found: Default::default(),
        };
        let first = unit("a.service", "", "");
        let second = unit("b.service", "a.service", "");
        let mut third = unit("c.service", "", "");
        third
            .1
            .metadata
            .entry("role".to_owned())
            .or_default()
            .insert("web".to_owned());
        let all = [&first, &second, &third].map(|u| (&u.0, &u.1));
        let here: Vec<_> = globals_on(&machine, all)
            .into_iter()
            .map(|u| u.0.as_str())
            .collect();
        assert_eq!(here, ["a.service"]);
    }
}
