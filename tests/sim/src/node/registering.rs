//! What a machine tells the cluster: that it is there, and how its units do.

use std::collections::BTreeMap;

use corten_agent::report;
use corten_store::fleet::{self, Command};

use super::{Effect, Flight, Node, PROPOSAL_TIMEOUT_MS, Standing};
use crate::leader::TTL_MS;

impl Node {
    /// The leader has answered a proposal; true if that was a join.
    pub fn acknowledge(&mut self, ticket: u64, at: usize, now_ms: u64) -> bool {
        let Some(flight) = self.flight.take_if(|flight| flight.ticket == ticket) else {
            return false;
        };
        self.acknowledged = at;
        if flight.joins {
            self.standing = Standing::Joined(now_ms);
        }
        flight.joins
    }

    /// The leader has answered a heartbeat sent then; true if it is to be asked again.
    pub fn answered(&mut self, sent_ms: u64, known: bool, now_ms: u64) -> bool {
        match self.standing {
            _ if known => {
                self.heard_ms = self.heard_ms.max(Some(sent_ms));
                self.standing = Standing::Known;
                false
            }
            Standing::Joined(at_ms) if now_ms < at_ms + TTL_MS / 2 => true,
            _ => {
                self.standing = Standing::Unregistered;
                false
            }
        }
    }

    pub(super) fn report(&mut self, now_ms: u64, effects: &mut Vec<Effect>) {
        let id = self.machine.id.clone();
        self.reported
            .agree_with(fleet::states_on(&self.replica, &id).expect("memory does not fail"));
        let (out, next) = report(&id, &self.observed(&[]), &BTreeMap::new(), &self.reported);
        self.reported = next;
        if !out.is_empty() {
            self.propose(
                Command::Report {
                    machine: id,
                    states: out.states,
                    gone: out.gone,
                },
                now_ms,
                effects,
            );
        }
    }

    /// Each time in another session.
    pub(super) fn join(&mut self, now_ms: u64, effects: &mut Vec<Effect>) {
        self.session = self.session.wrapping_add(1);
        let command = Command::Join {
            machine: self.machine.clone(),
            session: self.session,
        };
        self.propose(command, now_ms, effects);
    }

    fn propose(&mut self, command: Command, now_ms: u64, effects: &mut Vec<Effect>) {
        self.tickets += 1;
        let until_ms = now_ms + PROPOSAL_TIMEOUT_MS;
        self.flight = Some(Flight {
            ticket: self.tickets,
            until_ms,
            joins: matches!(command, Command::Join { .. }),
        });
        effects.push(Effect::Propose {
            ticket: self.tickets,
            command,
        });
        effects.push(Effect::Wake(until_ms));
    }
}
