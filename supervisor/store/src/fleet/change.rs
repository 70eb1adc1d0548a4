//! Applying a change to the fleet's tables. What is already so gives no change, so that watchers wake only for news.

use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZeroU32;

use corten_spec::fleet::{Assignment, JobState, UnitState};
use corten_spec::machine::{Machine, MachineId, TROUBLE};
use corten_spec::unit_file::UnitFile;
use corten_spec::unit_name::UnitName;

use super::{Answer, Change, Command, Decision, MachineRecord, Rollout, UnitRecord, key, read, rollout};
use crate::tables::{StoreFault, Table, Write, store};

type Applied = Result<(Answer, Vec<Change>), StoreFault>;

/// Applies one command: the answer and what changed.
///
/// # Errors
/// When the backend fails.
pub fn apply(tx: &mut (impl Write + ?Sized), command: &Command) -> Applied {
    match command {
        Command::SetUnit { name, file, desired } => set_unit(tx, name, file, *desired, None),
        Command::SetDesired { name, desired } => set_desired(tx, name, *desired),
        Command::DestroyUnit { name } => destroy(tx, name),
        Command::Join { machine, session } => join(tx, machine, *session),
        Command::Leave { id, session } => leave(tx, id, *session),
        Command::PatchMetadata { id, key, value } => patch(tx, id, key, value.as_ref()),
        Command::Assign(decisions) => assign(tx, decisions),
        Command::Report {
            machine,
            states,
            gone,
        } => report(tx, machine, states, gone),
        Command::RollUnit {
            name,
            file,
            desired,
            max_unavailable,
        } => set_unit(tx, name, file, *desired, Some(*max_unavailable)),
        Command::Allow {
            unit,
            hash,
            machines,
            reason,
        } => allow(tx, unit, hash, machines, reason),
        Command::EndRollout { unit, hash } => change_rollout(tx, unit, hash, |_| None),
    }
}

fn answered(changes: Vec<Change>) -> Applied {
    let answer = if changes.is_empty() {
        Answer::Unchanged
    } else {
        Answer::Done
    };
    Ok((answer, changes))
}

/// Stores a unit's record if it differs from `old`.
fn put_unit(tx: &mut (impl Write + ?Sized), old: Option<&UnitRecord>, new: &UnitRecord) -> Applied {
    if old == Some(new) {
        return answered(Vec::new());
    }
    let row_key = key::unit(&new.name);
    store(tx, Table::Units, &row_key, new)?;
    match &new.rollout {
        Some(rollout) => store(tx, Table::Rollouts, &row_key, rollout)?,
        None => drop(tx.delete(Table::Rollouts, &row_key)?),
    }
    answered(vec![Change::Unit(new.name.clone())])
}

/// `limit`: on how many machines it may be down because of that; any number without.
fn set_unit(
    tx: &mut (impl Write + ?Sized),
    name: &UnitName,
    file: &UnitFile,
    desired: JobState,
    limit: Option<NonZeroU32>,
) -> Applied {
    let old = read::unit(tx, name)?;
    if limit.is_some()
        && let Some(refusal) = rollout::refusal(old.as_ref(), name, file)
    {
        return Ok((refusal, Vec::new()));
    }
    let rollout = match &old {
        Some(old) if desired == JobState::Launched => rolled(tx, old, file, limit)?,
        _ => None,
    };
    // Why it fits nowhere was said of the old file and wish.
    let same = |old: &&UnitRecord| old.file == *file && old.desired == desired;
    let new = UnitRecord {
        name: name.clone(),
        file: file.clone(),
        desired,
        assigned: old.as_ref().and_then(|old| old.assigned.clone()),
        unplaced: old.as_ref().filter(same).and_then(|old| old.unplaced.clone()),
        rollout,
    };
    put_unit(tx, old.as_ref(), &new)
}

/// How a unit that is to be launched is rolled from now on.
fn rolled(
    tx: &(impl Write + ?Sized),
    old: &UnitRecord,
    file: &UnitFile,
    limit: Option<NonZeroU32>,
) -> Result<Option<Rollout>, StoreFault> {
    let limit = limit.map(NonZeroU32::get);
    if old.file == *file {
        let goes_on = |rollout: &Rollout| Rollout {
            max_unavailable: limit.unwrap_or(rollout.max_unavailable),
            ..rollout.clone()
        };
        return Ok(old.rollout.as_ref().map(goes_on));
    }
    match limit {
        Some(limit) if old.desired == JobState::Launched && !old.name.is_template() => {
            rollout::begin(tx, old, file, limit)
        }
        _ => Ok(None),
    }
}

/// Changes the roll of a unit that has this content, if there is one.
fn change_rollout(
    tx: &mut (impl Write + ?Sized),
    name: &UnitName,
    hash: &str,
    change: impl FnOnce(Rollout) -> Option<Rollout>,
) -> Applied {
    let Some(old) = read::unit(tx, name)? else {
        return Ok((Answer::NoSuchUnit(name.clone()), Vec::new()));
    };
    let Some(rollout) = old.rollout.clone().filter(|_| old.file.hash() == hash) else {
        return answered(Vec::new());
    };
    let new = UnitRecord {
        rollout: change(rollout),
        ..old.clone()
    };
    put_unit(tx, Some(&old), &new)
}

fn allow(
    tx: &mut (impl Write + ?Sized),
    name: &UnitName,
    hash: &str,
    machines: &BTreeSet<MachineId>,
    reason: &str,
) -> Applied {
    change_rollout(tx, name, hash, |mut rollout| {
        rollout.allow(machines);
        reason.clone_into(&mut rollout.reason);
        Some(rollout)
    })
}

fn set_desired(tx: &mut (impl Write + ?Sized), name: &UnitName, desired: JobState) -> Applied {
    let Some(old) = read::unit(tx, name)? else {
        return Ok((Answer::NoSuchUnit(name.clone()), Vec::new()));
    };
    let new = UnitRecord {
        desired,
        unplaced: old.unplaced.clone().filter(|_| old.desired == desired),
        rollout: old.rollout.clone().filter(|_| desired == JobState::Launched),
        ..old.clone()
    };
    put_unit(tx, Some(&old), &new)
}

fn destroy(tx: &mut (impl Write + ?Sized), name: &UnitName) -> Applied {
    tx.delete(Table::Rollouts, &key::unit(name))?;
    if !tx.delete(Table::Units, &key::unit(name))? {
        return Ok((Answer::NoSuchUnit(name.clone()), Vec::new()));
    }
    let mut changes = vec![Change::Unit(name.clone())];
    // What its machines started was this unit, not the next one of that name.
    for state in read::states_of(tx, name)?
        .into_iter()
        .filter(|state| state.launched)
    {
        let machine = state.machine.clone();
        let state = UnitState {
            launched: false,
            ..state
        };
        store(tx, Table::States, &key::state(name, &machine), &state)?;
        changes.push(Change::State {
            unit: name.clone(),
            machine,
        });
    }
    answered(changes)
}

fn assign(tx: &mut (impl Write + ?Sized), decisions: &[Decision]) -> Applied {
    let mut changes = Vec::new();
    for Decision {
        unit,
        machine,
        reason,
    } in decisions
    {
        let Some(old) = read::unit(tx, unit)? else {
            continue;
        };
        let assigned = machine.clone().map(|machine| Assignment {
            machine,
            reason: reason.clone(),
        });
        let unplaced = machine.is_none().then(|| reason.clone());
        let new = UnitRecord {
            assigned,
            unplaced,
            ..old.clone()
        };
        changes.extend(put_unit(tx, Some(&old), &new)?.1);
    }
    answered(changes)
}

fn patched(
    own: &BTreeMap<String, String>,
    patches: &BTreeMap<String, Option<String>>,
) -> BTreeMap<String, String> {
    let mut metadata = own.clone();
    // What is wrong with a machine only itself can say.
    for (key, value) in patches.iter().filter(|(key, _)| *key != TROUBLE) {
        match value {
            Some(value) => metadata.insert(key.clone(), value.clone()),
            None => metadata.remove(key),
        };
    }
    metadata
}

fn put_machine(tx: &mut (impl Write + ?Sized), old: Option<&MachineRecord>, new: &MachineRecord) -> Applied {
    if old == Some(new) {
        return answered(Vec::new());
    }
    store(tx, Table::Machines, &key::machine(&new.machine.id), new)?;
    answered(vec![Change::Machine(new.machine.id.clone())])
}

/// Fewer times than that a supervisor lets its machine join.
const JOINS: u64 = 1 << 32;

/// Was `session` begun before `other`, by the same supervisor? It counts on from a number that it draws.
fn is_before(session: u64, other: u64) -> bool {
    (1..JOINS).contains(&other.wrapping_sub(session))
}

fn join(tx: &mut (impl Write + ?Sized), machine: &Machine, session: u64) -> Applied {
    let old = read::machine(tx, &machine.id)?;
    if old.as_ref().is_some_and(|old| is_before(session, old.session)) {
        // The machine has waited for it in vain, and goes by what it asked for since.
        return answered(Vec::new());
    }
    let patches = old.as_ref().map(|old| old.patches.clone()).unwrap_or_default();
    let new = MachineRecord {
        machine: Machine {
            metadata: patched(&machine.metadata, &patches),
            ..machine.clone()
        },
        session,
        present: true,
        own_metadata: machine.metadata.clone(),
        patches,
    };
    put_machine(tx, old.as_ref(), &new)
}

fn leave(tx: &mut (impl Write + ?Sized), id: &MachineId, session: Option<u64>) -> Applied {
    let Some(old) = read::machine(tx, id)?.filter(|old| old.present) else {
        return Ok((Answer::NoSuchMachine(id.clone()), Vec::new()));
    };
    if session.is_some_and(|session| session != old.session) {
        return Ok((Answer::OtherSession(id.clone()), Vec::new()));
    }
    let new = MachineRecord {
        present: false,
        ..old.clone()
    };
    let mut changes = put_machine(tx, Some(&old), &new)?.1;
    for state in read::states_on(tx, id)? {
        changes.extend(drop_state(tx, &state.name, id)?);
    }
    answered(changes)
}

fn patch(tx: &mut (impl Write + ?Sized), id: &MachineId, key: &str, value: Option<&String>) -> Applied {
    let Some(old) = read::machine(tx, id)?.filter(|old| old.present) else {
        return Ok((Answer::NoSuchMachine(id.clone()), Vec::new()));
    };
    let mut new = old.clone();
    new.patches.insert(key.to_owned(), value.cloned());
    new.machine.metadata = patched(&new.own_metadata, &new.patches);
    put_machine(tx, Some(&old), &new)
}

fn report(
    tx: &mut (impl Write + ?Sized),
    id: &MachineId,
    states: &[UnitState],
    gone: &[UnitName],
) -> Applied {
    if !read::machine(tx, id)?.is_some_and(|machine| machine.present) {
        return Ok((Answer::NoSuchMachine(id.clone()), Vec::new()));
    }
    let mut changes = Vec::new();
    for state in states {
        let state = UnitState {
            machine: id.clone(),
            ..state.clone()
        };
        if read::state(tx, &state.name, id)?.as_ref() != Some(&state) {
            store(tx, Table::States, &key::state(&state.name, id), &state)?;
            tx.put(
                Table::StatesByMachine,
                &key::state_by_machine(id, &state.name),
                &[],
            )?;
            changes.push(Change::State {
                unit: state.name,
                machine: id.clone(),
            });
        }
    }
    for name in gone {
        changes.extend(drop_state(tx, name, id)?);
    }
    answered(changes)
}

fn drop_state(
    tx: &mut (impl Write + ?Sized),
    name: &UnitName,
    id: &MachineId,
) -> Result<Option<Change>, StoreFault> {
    tx.delete(Table::StatesByMachine, &key::state_by_machine(id, name))?;
    let was = tx.delete(Table::States, &key::state(name, id))?;
    Ok(was.then(|| Change::State {
        unit: name.clone(),
        machine: id.clone(),
    }))
}
