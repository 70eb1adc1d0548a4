//! The machines: their heartbeats, the steps of their agents, the jobs of their systemds.

use super::{Event, FAULTS_END_MS, Mutation, World};
use crate::checkers;
use crate::commit;
use crate::leader::TTL_MS;
use crate::node::{Effect, Standing};
use crate::systemd::Job;

/// Between heartbeats of one machine.
const BEAT_MS: u64 = TTL_MS / 4;
/// Until the leader has seen the join.
const PROBE_MS: u64 = 50;

impl World {
    pub(super) fn begin_life(&mut self, node: usize) {
        let life = self.nodes[node].life;
        self.after(1, Event::Wake { node, life });
        self.after(2, Event::Beat { node, life });
        self.send_log(node);
    }

    pub(super) fn beat(&mut self, node: usize, life: u64) -> Result<(), String> {
        if self.nodes[node].life == life && self.nodes[node].is_alive() {
            self.after(BEAT_MS, Event::Beat { node, life });
        }
        self.probe(node, life)
    }

    /// Sends a heartbeat, if the machine has registered.
    pub(super) fn probe(&mut self, node: usize, life: u64) -> Result<(), String> {
        let from = &self.nodes[node];
        if from.life == life && from.is_well() && from.standing != Standing::Unregistered {
            let (session, sent_ms) = (from.session, self.now_ms);
            let delay = self.beat_delay_ms();
            self.after(
                delay,
                Event::BeatArrives {
                    node,
                    session,
                    sent_ms,
                },
            );
        }
        Ok(())
    }

    /// In the end, slow heartbeats would still be faults.
    fn beat_delay_ms(&mut self) -> u64 {
        match self.now_ms < FAULTS_END_MS {
            true => self.delay_ms(),
            false => self.rng.range(1, 40),
        }
    }

    pub(super) fn beat_arrives(&mut self, node: usize, session: u64, sent_ms: u64) -> Result<(), String> {
        let (now_ms, id) = (self.now_ms, self.nodes[node].machine.id.clone());
        let is_own = self.leader.as_ref().is_some_and(|leader| leader.node == node);
        if !is_own && !self.nodes[node].linked {
            return Ok(());
        }
        let stored = self.mutation == Some(Mutation::KnownWhileLeaving) && self.is_stored(node, session);
        let Some(leader) = &mut self.leader else {
            return Ok(());
        };
        let known = leader.beat(&id, session, now_ms) || stored;
        let delay = self.beat_delay_ms();
        let answer = Event::BeatAnswered {
            node,
            session,
            sent_ms,
            known,
        };
        self.after(delay, answer);
        Ok(())
    }

    fn is_stored(&self, node: usize, session: u64) -> bool {
        let machines = commit::machines(&self.log.head);
        let id = &self.nodes[node].machine.id;
        let mut present = machines.iter().filter(|record| record.present);
        present.any(|record| record.machine.id == *id && record.session == session)
    }

    pub(super) fn beat_answered(
        &mut self,
        node: usize,
        session: u64,
        sent_ms: u64,
        known: bool,
    ) -> Result<(), String> {
        let to = &mut self.nodes[node];
        if !to.is_well() || to.session != session {
            return Ok(());
        }
        let life = to.life;
        if to.answered(sent_ms, known, self.now_ms) {
            self.after(PROBE_MS, Event::Probe { node, life });
        }
        self.step(node)
    }

    pub(super) fn step(&mut self, node: usize) -> Result<(), String> {
        let leads = self.leader.is_some() && self.nodes[node].linked;
        let head = leads.then(|| self.log.len());
        let effects = self.nodes[node].step(self.now_ms, head, &mut self.rng)?;
        let (life, name) = (self.nodes[node].life, self.name(node));
        for effect in effects {
            match effect {
                Effect::Note(text) => self.say(&name, &text),
                Effect::Job(job) => self.begin_job(node, job),
                Effect::Wake(at_ms) => self.at(at_ms.max(self.now_ms), Event::Wake { node, life }),
                Effect::Propose { ticket, command } => {
                    let delay = self.delay_ms();
                    if self.nodes[node].linked && !self.is_lost() {
                        let arrive = Event::Arrive {
                            node,
                            life,
                            ticket,
                            command,
                        };
                        self.after(delay, arrive);
                    }
                }
            }
        }
        checkers::neighbours::check(&self.nodes[node])
    }

    pub(super) fn begin_job(&mut self, node: usize, job: Job) {
        let delay = job.after_ms;
        self.after(delay, Event::JobDone { node, job });
    }

    pub(super) fn job_done(&mut self, node: usize, job: &Job) -> Result<(), String> {
        if !self.nodes[node].powered {
            return Ok(());
        }
        let Some(next) = self.nodes[node].systemd.done(job, &mut self.rng) else {
            return Ok(());
        };
        let active = self.nodes[node].systemd.active(&job.unit);
        self.say(&self.name(node), &format!("systemd: {} is {active}", job.unit));
        if let Some(job) = next {
            self.begin_job(node, job);
        }
        checkers::rolls::check(self)?;
        self.step(node)
    }
}
