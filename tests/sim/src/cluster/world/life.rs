//! Machines come and go: starts, kills, power cuts, lost disks.

use super::super::disk::SimDisk;
use super::super::machine::{Member, has_failed};
use super::{Event, FASTEST_MS, Mutation, Stream, World};
use crate::cluster::checkers::history::Upto;
use crate::rng::Rng;

/// What makes a node of no use although nothing is wrong with it.
const REASONS: [&str; 2] = ["permanently removed", "has been part of this cluster before"];
/// Why a machine cannot join as the member an operator has made of it: the members have changed since, or none answers.
const JOINING: [&str; 2] = ["error validating peerURLs", "cannot fetch cluster info"];

impl World {
    pub(super) fn start(&mut self, machine: usize) {
        if self.machines[machine].running.is_some() || self.machines[machine].is_spare {
            return;
        }
        self.starts += 1;
        let election_ms = self.plot.election_ms + self.rng.range(0, self.plot.election_ms);
        let rng = Rng::new(self.rng.number());
        let target = &mut self.machines[machine];
        target.config.election_ms = election_ms;
        target.start(self.starts, self.now_ms, rng, &self.outbox);
        self.say(format!("m{machine} starts"));
    }

    fn stop(&mut self, machine: usize, why: &str) {
        // What the checkers have not read yet was applied all the same.
        self.streams.remove(&machine);
        self.say(format!("m{machine} {why}"));
    }

    pub(super) fn started(
        &mut self,
        machine: usize,
        start: u64,
        member: Result<Box<Member>, String>,
    ) -> Result<(), String> {
        let target = &mut self.machines[machine];
        let off = target.disk.is_off();
        let Some(running) = target.running.as_mut().filter(|running| running.start == start) else {
            return Ok(());
        };
        match member {
            Ok(member) => {
                let stream = Stream {
                    start,
                    events: member.node.events(),
                    upto: Upto::default(),
                };
                let leases = member.lessor.peer_router();
                running.router = Some(member.node.peer_router().merge(leases));
                running.member = Some(*member);
                self.streams.insert(machine, stream);
                Ok(())
            }
            // It died while it started.
            Err(_) if off => Ok(()),
            Err(e) if e.contains("StorageFull") || e.contains("no storage space") => {
                self.say(format!("m{machine} does not start: {e}"));
                self.kill(machine, 500);
                Ok(())
            }
            Err(e) if JOINING.iter().any(|reason| e.contains(reason)) => {
                self.say(format!("m{machine} does not start: {e}"));
                self.kill(machine, 200);
                self.stands_by(machine);
                Ok(())
            }
            Err(e) => Err(format!("m{machine} does not start: {e}")),
        }
    }

    pub(super) fn kill(&mut self, machine: usize, for_ms: u64) {
        if self.machines[machine].running.is_some() {
            self.stop(machine, "is killed");
            self.machines[machine].kill();
            self.machines[machine].stalled_until_ms = 0;
            self.at(self.now_ms + for_ms, Event::Start(machine));
        }
    }

    pub(super) fn power_goes(&mut self, machine: usize, for_ms: u64) {
        if self.machines[machine].running.is_some() {
            self.stop(machine, "loses its power");
            self.machines[machine].cut_power();
            self.machines[machine].stalled_until_ms = 0;
            if self.mutation == Some(Mutation::Rollback) {
                self.machines[machine].disk.roll_back();
            }
            self.at(self.now_ms + for_ms, Event::Start(machine));
        }
    }

    /// The machine's disk is replaced by an empty one.
    pub(super) fn lose_disk(&mut self, machine: usize, for_ms: u64) {
        if self.machines[machine].running.is_some() {
            self.stop(machine, "loses its disk");
        }
        let disk = SimDisk::new(Rng::new(self.rng.number()));
        disk.set_lies(self.mutation == Some(Mutation::SyncLies));
        self.machines[machine].lose_disk(disk);
        self.machines[machine].stalled_until_ms = 0;
        self.at(self.now_ms + for_ms, Event::Start(machine));
    }

    /// Cuts the power where a disk wants it; restarts nodes that are of no use any more, as systemd does.
    pub(super) fn restart_failed(&mut self) -> Result<(), String> {
        for machine in 0..self.machines.len() {
            if self.machines[machine].disk.is_off() {
                let for_ms = self.rng.range(20, 1_500);
                self.power_goes(machine, for_ms);
                continue;
            }
            if self.now_ms % 20 >= FASTEST_MS {
                continue; // it costs
            }
            let Some(why) = self.machines[machine].node().and_then(has_failed) else {
                continue;
            };
            self.say(format!("m{machine} has failed: {why}"));
            if !REASONS.iter().any(|reason| why.contains(reason)) {
                return Err(format!("m{machine} has failed: {why}"));
            }
            if why.contains("permanently removed") {
                // What its operator does who wants the machine back.
                self.lose_disk(machine, 200);
            } else {
                self.kill(machine, 200);
            }
        }
        Ok(())
    }
}
