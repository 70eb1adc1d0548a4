//! What each machine is doing now, for a user who asks or wants something of it.

use anyhow::{Result, anyhow, bail};
use serde_json::Value;

use crate::cluster::Cluster;

/// What a machine is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Condition {
    /// Its power is on; it may still be booting.
    On,
    /// Its processors are stopped.
    Paused,
    /// Its power is off.
    Off,
}

impl Condition {
    /// What a user has to do before anything can be asked of the machine `name`; `program` is ours as typed.
    pub fn obstacle(self, name: &str, program: &str) -> Option<String> {
        match self {
            Condition::On => None,
            Condition::Paused => Some(format!("{name} is paused; `{program} pause --off {name}`")),
            Condition::Off => Some(format!("{name} is off; `{program} start {name}`")),
        }
    }

    /// One word.
    pub fn word(self) -> &'static str {
        match self {
            Condition::On => "on",
            Condition::Paused => "paused",
            Condition::Off => "off",
        }
    }
}

impl Cluster {
    /// What a machine is doing. One whose monitor does not answer counts as on: SSH will show.
    pub fn condition(&self, name: &str) -> Result<Condition> {
        let machine = self.machine(name)?;
        if !machine.is_running() {
            return Ok(Condition::Off);
        }
        let status = machine.qmp("query-status", Value::Null).unwrap_or_default();
        Ok(if status["status"] == "paused" {
            Condition::Paused
        } else {
            Condition::On
        })
    }

    /// Fails, saying what to do, unless a machine is on.
    pub fn require_on(&self, name: &str, program: &str) -> Result<()> {
        match self.condition(name)?.obstacle(name, program) {
            Some(obstacle) => bail!(obstacle),
            None => Ok(()),
        }
    }

    /// The first machine that is on, and why the ones before it are not taken. One that is cut off the others is taken
    /// only where there is no other: it cannot speak for the cluster.
    pub fn first_on(&self, program: &str) -> Result<(String, Vec<String>)> {
        let mut machines = Vec::new();
        for name in self.names() {
            let condition = self.condition(&name)?;
            let cut = condition == Condition::On && self.network().is_cut(&name).unwrap_or(false);
            machines.push((name, condition, cut));
        }
        pick(&machines).ok_or_else(|| anyhow!("no machine is on; `{program} start node1` turns one on"))
    }
}

fn pick(machines: &[(String, Condition, bool)]) -> Option<(String, Vec<String>)> {
    let on = |cut_too: bool| {
        machines
            .iter()
            .position(|(_, condition, cut)| *condition == Condition::On && (cut_too || !cut))
    };
    let at = on(false).or_else(|| on(true))?;
    let why = |(name, condition, _): &(String, Condition, bool)| match condition {
        Condition::On => format!("{name} is cut off"),
        other => format!("{name} is {}", other.word()),
    };
    let (name, _, _) = machines.get(at)?;
    Some((name.clone(), machines[..at].iter().map(why).collect()))
}

/// Does a console's text show anything: more than blanks, control characters and terminal escapes (ECMA-48)?
pub fn shows_anything(console: &str) -> bool {
    let mut rest = console.chars();
    while let Some(c) = rest.next() {
        match c {
            '\u{1b}' => skip_escape(&mut rest),
            c if c.is_control() || c.is_whitespace() => {}
            _ => return true,
        }
    }
    false
}

/// Goes past what follows an ESC: a CSI has parameters and then one final character, a string (OSC, DCS and their like)
/// ends with BEL or another escape, anything else is one character long.
fn skip_escape(rest: &mut std::str::Chars<'_>) {
    match rest.next() {
        Some('[') => {
            rest.find(|c| ('@'..='~').contains(c));
        }
        Some(']' | 'P' | 'X' | '^' | '_') => {
            let end = rest.find(|c| matches!(c, '\u{7}' | '\u{1b}'));
            if let Some('\u{1b}') = end {
                rest.next();
            }
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_machine_that_can_answer_is_taken() {
        let machine = |number: usize, condition, cut| (format!("node{number}"), condition, cut);
        use Condition::{Off, On, Paused};
        let picked =
            |machines: &[(String, Condition, bool)]| pick(machines).map(|(name, why)| (name, why.join(", ")));
        let found = |name: &str, why: &str| Some((name.to_owned(), why.to_owned()));
        assert_eq!(picked(&[machine(1, On, false)]), found("node1", ""));
        let rest = [
            machine(1, Off, false),
            machine(2, Paused, false),
            machine(3, On, false),
        ];
        assert_eq!(picked(&rest), found("node3", "node1 is off, node2 is paused"));
        let cut = [machine(1, On, true), machine(2, On, false)];
        assert_eq!(picked(&cut), found("node2", "node1 is cut off"));
        assert_eq!(
            picked(&[machine(1, On, true), machine(2, Off, false)]),
            found("node1", "")
        );
        assert_eq!(picked(&[machine(1, Off, false)]), None);
    }

    #[test]
    fn a_machine_that_is_not_on_names_the_way() {
        assert_eq!(
            Condition::Off.obstacle("node2", "corten-vm").as_deref(),
            Some("node2 is off; `corten-vm start node2`")
        );
        assert_eq!(
            Condition::Paused.obstacle("node2", "corten-vm").as_deref(),
            Some("node2 is paused; `corten-vm pause --off node2`")
        );
        assert_eq!(Condition::On.obstacle("node2", "corten-vm"), None);
    }

    #[test]
    fn escapes_alone_show_nothing() {
        assert!(!shows_anything(
            "\u{1b}c\u{1b}[?7l\u{1b}[2J\u{1b}[0m\r\n \u{1b}[1;31m"
        ));
        // What systemd writes to a console at boot, with either end of a string.
        assert!(!shows_anything("\u{1b}[!p\u{1b}]104\u{7}\u{1b}[?7h"));
        assert!(!shows_anything("\u{1b}[!p\u{1b}]104\u{1b}\\\u{1b}[?7h"));
        assert!(shows_anything("\u{1b}[2J[    0.0] Linux"));
        assert!(!shows_anything(""));
    }
}
