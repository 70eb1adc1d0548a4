//! Waiting until units are as the user asked: looks at them several times a second, prints what is reached, says what
//! it waits for and why. What is reached is [`wait::judge`]'s to say.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use super::api::Api;
use super::fault::ApiFault;
use super::progress::Progress;
use super::wait::{self, Goal, Verdict};
use super::wire::{Machine, State, Unit};

/// Between two looks, at first and later; and at most, where looking takes long.
const TICKS: [Duration; 3] = [
    Duration::from_millis(20),
    Duration::from_millis(150),
    Duration::from_secs(2),
];
/// One attempt of fleet's `--block-attempts`.
const ATTEMPT: Duration = Duration::from_secs(2);
/// A unit that is on no machine for this long is worth a line.
const UNPLACED_PATIENCE: Duration = Duration::from_secs(2);
/// For the look that says what a wait has failed for.
const LAST_LOOK: Duration = Duration::from_secs(2);
/// An API that fails for this long will not come back while we wait.
const FAULT_PATIENCE: Duration = Duration::from_secs(60);
/// Above this it is cheaper to ask for all units than for each.
pub(super) const FEW: usize = 6;

/// How long the user wants to wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Patience {
    /// `--no-block`.
    None,
    /// `--timeout`, `--block-attempts`.
    For(Duration),
    /// Until it is done.
    Endless,
}

impl Patience {
    /// Reads the three options.
    pub(super) fn of(matches: &clap::ArgMatches) -> Patience {
        let attempts = matches
            .get_one::<i64>("block-attempts")
            .copied()
            .unwrap_or_default();
        let attempts = u32::try_from(attempts).unwrap_or_default();
        match matches.get_one::<Duration>("timeout") {
            _ if crate::go::switch_on(matches, "no-block") => Patience::None,
            Some(timeout) => Patience::For(*timeout),
            None if attempts > 0 => Patience::For(ATTEMPT * attempts),
            None => Patience::Endless,
        }
    }

    fn is_over(self) -> bool {
        self == Patience::For(Duration::ZERO)
    }

    /// Has a look take no longer than what is left, and [`LAST_LOOK`].
    async fn bound<T>(self, look: impl Future<Output = Result<T, ApiFault>>) -> Result<T, ApiFault> {
        let Patience::For(left) = self else {
            return look.await;
        };
        let longest = left + LAST_LOOK;
        let answer = tokio::time::timeout(longest, look).await;
        answer.unwrap_or_else(|_| {
            Err(ApiFault::Timeout {
                request: "A look at the units".to_owned(),
                seconds: longest.as_secs(),
            })
        })
    }

    /// What is left of it after so long.
    pub(super) fn after(self, elapsed: Duration) -> Patience {
        match self {
            Patience::For(limit) => Patience::For(limit.saturating_sub(elapsed)),
            other => other,
        }
    }
}

/// A unit to wait for.
#[derive(Debug)]
pub(super) struct Wait {
    name: String,
    goal: Goal,
    announced: bool,
    /// Machines that were said to run it, of a unit that is rolled.
    running: BTreeSet<String>,
    launched_at: Option<Instant>,
    waits_since: Option<Instant>,
    told: String,
    last: String,
}

impl Wait {
    /// Waits for `name` to reach `goal`.
    pub(super) fn new(name: &str, goal: Goal) -> Wait {
        Wait {
            name: name.to_owned(),
            goal,
            announced: false,
            running: BTreeSet::new(),
            launched_at: None,
            waits_since: None,
            told: String::new(),
            last: String::new(),
        }
    }

    fn is_told(&self) -> bool {
        self.told == self.last
    }
}

/// Waits for all of them; true when each reached its goal. What went wrong stands on standard error.
pub(super) async fn follow(api: &mut Api, mut waits: Vec<Wait>, patience: Patience) -> bool {
    let mut progress = Progress::new();
    let mut good = true;
    let start = Instant::now();
    let mut well_at = start;
    while !waits.is_empty() {
        let begun = Instant::now();
        let left = patience.after(start.elapsed());
        let is_late = start.elapsed() >= UNPLACED_PATIENCE || left.is_over();
        let looked = left.bound(look(api, &waits, is_late)).await;
        let took = begun.elapsed();
        let fault = match looked {
            Ok(seen) => {
                well_at = Instant::now();
                good &= step(api, &mut waits, &seen, &mut progress).await;
                None
            }
            Err(fault) if fault.is_passing() && well_at.elapsed() < FAULT_PATIENCE => Some(fault.to_string()),
            Err(fault) => {
                progress.tell(&format!("Error waiting for units: {fault}"));
                return false;
            }
        };
        let has_looked = is_late || fault.is_some();
        if has_looked && patience.after(start.elapsed()).is_over() && !waits.is_empty() {
            let over = |wait| progress.tell(&timed_out(wait, fault.as_deref()));
            waits.iter().for_each(over);
            return false;
        }
        let untold = waits.iter().find(|wait| !wait.is_told());
        if let Some(wait) = untold.or(waits.first()) {
            let why = fault.as_deref().unwrap_or(&wait.last);
            let text = format!("unit {}: {why}{}", wait.name, more(waits.len() - 1));
            progress.show(&text, start.elapsed());
            if untold.is_some() || fault.is_some() {
                progress.remind(&text);
            }
            let left = match patience.after(start.elapsed()) {
                Patience::For(left) => left,
                Patience::None | Patience::Endless => Duration::MAX,
            };
            let took = if fault.is_none() { took } else { Duration::ZERO };
            tokio::time::sleep(pause(start.elapsed(), took).min(left)).await;
        }
    }
    good
}

/// ` (and 2 more)`.
fn more(others: usize) -> String {
    match others {
        0 => String::new(),
        others => format!(" (and {others} more)"),
    }
}

/// How long to wait after `waited` for the next look, where the last one took `look`. Most that is waited for is a matter of
/// moments; looking at many units is work that the cluster has beside what is waited for.
fn pause(waited: Duration, look: Duration) -> Duration {
    let [first, later, longest] = TICKS;
    (waited / 4).clamp(first, later).max(look.min(longest))
}

fn timed_out(wait: &Wait, fault: Option<&str>) -> String {
    let (name, state) = (&wait.name, wait.goal.state());
    let why = match fault.unwrap_or(&wait.last) {
        "" => String::new(),
        why => format!(": {why}"),
    };
    format!("Error waiting for units: timed out waiting for unit {name} to report state {state}{why}")
}

/// What the cluster says of the units.
#[derive(Default)]
struct Seen {
    units: BTreeMap<String, Unit>,
    states: BTreeMap<String, Vec<State>>,
    /// What is wrong with machines, by id; not looked at before it has taken long.
    troubles: BTreeMap<String, String>,
}

async fn look(api: &mut Api, waits: &[Wait], is_late: bool) -> Result<Seen, ApiFault> {
    let mut seen = Seen::default();
    if is_late && waits.iter().any(|wait| wait.goal.is_to_leave()) {
        let trouble = |machine: Machine| Some((machine.id.clone(), machine.trouble()?));
        seen.troubles = api.machines().await?.into_iter().filter_map(trouble).collect();
    }
    if waits.len() > FEW {
        seen.units = api
            .units()
            .await?
            .into_iter()
            .map(|unit| (unit.name.clone(), unit))
            .collect();
        for state in api.states().await? {
            seen.states.entry(state.name.clone()).or_default().push(state);
        }
        return Ok(seen);
    }
    for wait in waits {
        if let Some(unit) = api.unit(&wait.name).await? {
            seen.units.insert(wait.name.clone(), unit);
        }
        seen.states
            .insert(wait.name.clone(), api.states_of(&wait.name).await?);
    }
    Ok(seen)
}

/// Takes out what is done; false when something failed.
async fn step(api: &mut Api, waits: &mut Vec<Wait>, seen: &Seen, progress: &mut Progress) -> bool {
    let mut good = true;
    let mut still = Vec::new();
    for mut wait in waits.drain(..) {
        let unit = seen.units.get(&wait.name);
        let states = seen.states.get(&wait.name).map_or(&[][..], Vec::as_slice);
        let since = wait.launched_at.map_or(Duration::ZERO, |at| at.elapsed());
        let verdict = match wait::judge(&wait.goal, unit, states, since) {
            Verdict::Pending(why) => {
                wait::held(&wait.goal, states, &seen.troubles).map_or(Verdict::Pending(why), Verdict::Held)
            }
            verdict => verdict,
        };
        if matches!(wait.goal, Goal::Rolled { .. }) {
            announce_machines(api, &mut wait, states, progress).await;
        } else if matches!(verdict, Verdict::Reached | Verdict::Launched(_)) && !wait.announced {
            wait.announced = true;
            announce(api, &wait, unit, progress).await;
        }
        match verdict {
            Verdict::Reached => continue,
            Verdict::Failed(why) => {
                good = false;
                progress.tell(&failed(&wait, &why));
                continue;
            }
            Verdict::Launched(why) => {
                wait.launched_at.get_or_insert_with(Instant::now);
                wait.last = why;
            }
            Verdict::Pending(why) => {
                wait.launched_at = wait.launched_at.filter(|_| wait.announced);
                wait.last = why;
            }
            Verdict::Unplaced(why) => waits_for("a machine", &mut wait, why, progress),
            Verdict::Held(why) => waits_for("its machine", &mut wait, why, progress),
        }
        still.push(wait);
    }
    *waits = still;
    good
}

fn failed(wait: &Wait, why: &str) -> String {
    let journal = match wait.goal {
        Goal::Started { .. } if wait.announced => format!("; fleetctl journal {} may say why", wait.name),
        _ => String::new(),
    };
    format!(
        "Error waiting for units: unit {} did not get to {}: {why}{journal}",
        wait.name,
        wait.goal.state()
    )
}

/// A reason is told when it has stood for a while, and again when it changes.
fn waits_for(what: &str, wait: &mut Wait, why: String, progress: &mut Progress) {
    let since = wait.waits_since.get_or_insert_with(Instant::now).elapsed();
    let why = if why.is_empty() {
        "the scheduler has not looked at it yet".to_owned()
    } else {
        why
    };
    wait.last = format!("it waits for {what}: {why}");
    if since >= UNPLACED_PATIENCE && !wait.is_told() {
        progress.tell(&format!("Unit {} waits for {what}: {why}", wait.name));
        wait.told.clone_from(&wait.last);
    }
}

/// A line for each machine on which the new content is active now.
async fn announce_machines(api: &mut Api, wait: &mut Wait, states: &[State], progress: &mut Progress) {
    let Goal::Rolled { hash } = &wait.goal else { return };
    let active = states
        .iter()
        .filter(|state| state.hash == *hash && state.active == "active");
    for state in active {
        if wait.running.insert(state.machine_id.clone()) {
            let machine = api.machine(&state.machine_id).await.legend(false);
            progress.say(&format!("Unit {} launched on {machine}", wait.name));
        }
    }
}

async fn announce(api: &mut Api, wait: &Wait, unit: Option<&Unit>, progress: &mut Progress) {
    let (name, state) = (&wait.name, wait.goal.state());
    let is_away = matches!(wait.goal, Goal::Away { .. });
    let text = match unit {
        _ if wait.goal == Goal::Gone => format!("Destroyed {name}"),
        Some(unit) if matches!(wait.goal, Goal::Stopped { .. }) && unit.current_state == "inactive" => {
            format!("Unit {name} inactive")
        }
        Some(unit) if !unit.machine_id.is_empty() => {
            let waits = match unit.unplaced_reason.as_str() {
                reason if is_away && !reason.is_empty() => format!(", and waits for it: {reason}"),
                _ => String::new(),
            };
            let word = if is_away {
                "moved to"
            } else {
                &format!("{state} on")
            };
            format!(
                "Unit {name} {word} {}{waits}",
                api.machine(&unit.machine_id).await.legend(false)
            )
        }
        Some(unit) if is_away && !unit.unplaced_reason.is_empty() => {
            format!("Unit {name} waits for a machine: {}", unit.unplaced_reason)
        }
        _ => format!("Unit {name} inactive"),
    };
    progress.say(&text);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn looks_come_less_often_and_take_no_more_than_half_of_the_time() {
        // waited, the last look, the pause; in ms
        for (waited, look, pauses) in [
            (0, 0, 20),
            (200, 5, 50),
            (10_000, 5, 150),
            (10_000, 400, 400),
            (10_000, 30_000, 2000),
        ] {
            let ms = Duration::from_millis;
            assert_eq!(pause(ms(waited), ms(look)), ms(pauses));
        }
    }
}
