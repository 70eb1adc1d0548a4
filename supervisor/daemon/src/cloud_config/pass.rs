//! One pass: each source planned and its steps carried out, then one reload of systemd, and the unit commands left for
//! `corten-cloudinit-commands`, so that starting a unit never blocks the boot that its start belongs to.

use std::path::{Path, PathBuf};

use corten_spec::cloud_config::encoding;
use corten_spec::cloud_config::plan::{self, Command, Facts, Plan};
use corten_spec::cloud_config::report::Severity;
use corten_spec::cloud_config::substitute::substitute;
use corten_spec::cloud_config::user_data::{self, Form, Parsed, UNRECOGNIZED};

use super::commands;
use super::facts;
use super::say::Say;
use super::sources::Source;
use super::steps;
use super::system::Manager;

/// A pass over sources.
pub struct Pass<'a, M> {
    root: PathBuf,
    name: &'a str,
    say: &'a Say,
    manager: M,
    late: bool,
    reload: bool,
    commands: Vec<Command>,
}

impl<'a, M: Manager> Pass<'a, M> {
    /// A pass of early boot: what it configures has not been started yet.
    pub fn new(root: &Path, name: &'a str, say: &'a Say, manager: M) -> Pass<'a, M> {
        Pass {
            root: root.to_owned(),
            name,
            say,
            manager,
            late: false,
            reload: false,
            commands: Vec::new(),
        }
    }

    /// A pass while the machine is running.
    #[must_use]
    pub fn late(self) -> Pass<'a, M> {
        Pass { late: true, ..self }
    }

    /// Applies one source; false if anything of it could not be.
    pub fn source(&mut self, source: &Source) -> bool {
        let (facts, mut good) = facts::gather(&self.root, source, self.late, self.say);
        let plan = match &source.user_data {
            None => {
                self.say.info(format!("{}: there is no user-data", source.place));
                plan::plan(&Default::default(), &facts)
            }
            Some(bytes) => self.plan(source, bytes.clone(), &facts, &mut good),
        };
        for entry in &plan.report.entries {
            self.say.entry(&source.place, entry);
            good &= entry.severity != Severity::Error;
        }
        good & self.carry_out(source, plan)
    }

    /// From bytes to a plan; says what is wrong with the bytes, and then plans with what there is.
    fn plan(&self, source: &Source, bytes: Vec<u8>, facts: &Facts, good: &mut bool) -> Plan {
        let place = &source.place;
        let nothing = || plan::plan(&Default::default(), facts);
        let bytes = match encoding::unpacked(bytes) {
            Ok(bytes) => bytes,
            Err(e) => {
                self.say.error(format!("{place}: {e}; nothing of it is used"));
                *good = false;
                return nothing();
            }
        };
        let text = String::from_utf8(bytes).unwrap_or_else(|e| {
            let line = 1 + e.as_bytes()[..e.utf8_error().valid_up_to()]
                .iter()
                .filter(|b| **b == b'\n')
                .count();
            self.say
                .error(format!("{place}: line {line}: not UTF-8; read as far as it is"));
            *good = false;
            String::from_utf8_lossy(e.as_bytes()).into_owned()
        });
        let (text, unknown) = substitute(&text, &facts.addresses);
        for (line, name) in unknown {
            self.say.warning(format!(
                "{place}: line {line}: ${name} is not known and becomes nothing"
            ));
        }
        match user_data::form(&text) {
            Form::Empty => nothing(),
            Form::Script => plan::plan_script(text.as_bytes(), facts),
            Form::CloudConfig => self.cloud_config(place, &user_data::parse(&text), facts, good),
            Form::Ignition => {
                self.say.warning(format!(
                    "{place}: Detected an Ignition config; it is not for this program"
                ));
                nothing()
            }
            Form::Unrecognized => {
                self.say.error(format!(
                    "{place}: line 1: Unrecognized user-data format: {UNRECOGNIZED}"
                ));
                *good = false;
                nothing()
            }
        }
    }

    fn cloud_config(&self, place: &str, parsed: &Parsed, facts: &Facts, good: &mut bool) -> Plan {
        for entry in &parsed.report.entries {
            self.say.entry(place, entry);
        }
        *good &= !parsed.report.has_errors();
        plan::plan(&parsed.config, facts)
    }

    fn carry_out(&mut self, source: &Source, plan: Plan) -> bool {
        let mut good = true;
        for planned in &plan.steps {
            match steps::apply(&self.root, &planned.value, &mut self.manager) {
                Ok(Some(done)) => {
                    self.reload |= planned.value.touches_units();
                    self.say.info(format!("{}: {done}", source.name));
                }
                Ok(None) => {}
                Err(e) => {
                    good = false;
                    let line = match planned.line {
                        0 => String::new(),
                        line => format!("line {line}: "),
                    };
                    self.say.error(format!("{}: {line}{e}", source.place));
                }
            }
        }
        self.commands.extend(plan.commands);
        good
    }

    /// Tells systemd, once, and leaves the commands for their own service; false if that failed.
    pub fn finish(&mut self) -> bool {
        let mut good = true;
        if self.reload {
            if let Err(why) = self.manager.systemctl(&["daemon-reload"]) {
                self.say
                    .error(format!("systemd does not read its units again: {why}"));
                good = false;
            }
            self.reload = false;
        }
        if self.commands.is_empty() {
            return good;
        }
        if let Err(e) = commands::leave(&self.root, self.name, &std::mem::take(&mut self.commands)) {
            self.say.error(format!("the unit commands are lost: {e}"));
            return false;
        }
        // In early boot the service is part of the boot; later somebody has to start it.
        match self.late {
            true => good & self.start(&format!("corten-cloudinit-commands@{}.service", self.name)),
            false => good,
        }
    }

    /// Starts a unit without waiting for it.
    pub fn start(&mut self, unit: &str) -> bool {
        let started = self.manager.systemctl(&["--no-block", "start", unit]);
        if let Err(why) = &started {
            self.say.error(format!("{unit} is not started: {why}"));
        }
        started.is_ok()
    }
}
