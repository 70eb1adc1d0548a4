//! What breaks in a run, and what mends it.

use super::super::net::Weather;
use super::super::plot::Fault;
use super::{Event, FAULTS_END_MS, Heals, World};

/// How long a machine is watched before it begins to lag: the changes it tells must be live.
const GATHER_MS: u64 = 300;
/// How long before a machine that lags is reached again the others forget what it lacks.
const LAST_MS: u64 = 100;

impl World {
    pub(super) fn fault(&mut self, fault: Fault) {
        self.say(format!("fault: {fault:?}"));
        match fault {
            Fault::Kill { machine, for_ms } => self.kill(machine, for_ms),
            Fault::PowerCut {
                machine,
                operation,
                for_ms,
            } => {
                if let Some(running) = &self.machines[machine].running {
                    let start = running.start;
                    self.machines[machine].disk.cut_in(operation);
                    let event = Event::PowerGoes {
                        machine,
                        start,
                        for_ms,
                    };
                    self.at(self.now_ms + 300, event);
                }
            }
            Fault::PowerCutAll { for_ms } => {
                for machine in 0..self.machines.len() {
                    self.power_goes(machine, for_ms + 10 * machine as u64);
                }
            }
            Fault::Stall { machine, for_ms } => {
                self.machines[machine].stalled_until_ms = self.now_ms + for_ms
            }
            Fault::Slow {
                machine,
                slow_ms,
                for_ms,
            } => {
                self.machines[machine].set_slow(slow_ms);
                self.at(self.now_ms + for_ms, Event::Heals(Heals::Slow(machine)));
            }
            Fault::Full { machine, for_ms } => {
                self.machines[machine].disk.set_full(true);
                self.at(self.now_ms + for_ms, Event::Heals(Heals::Full(machine)));
            }
            Fault::Cut { one, both, for_ms } => {
                let mut pairs = Vec::new();
                for from in &one {
                    for to in (0..self.machines.len()).filter(|to| !one.contains(to)) {
                        pairs.push((*from, to));
                        if both {
                            pairs.push((to, *from));
                        }
                    }
                }
                self.net.weather.cut.extend(pairs.iter().copied());
                self.at(self.now_ms + for_ms, Event::Heals(Heals::Cut(pairs)));
            }
            Fault::Weather {
                lost,
                doubled,
                late,
                late_ms,
                for_ms,
            } => {
                let cut = std::mem::take(&mut self.net.weather.cut);
                self.net.weather = Weather {
                    lost,
                    doubled,
                    late,
                    late_ms,
                    cut,
                };
                self.at(self.now_ms + for_ms, Event::Heals(Heals::Weather));
            }
            Fault::Lag { machine, for_ms } => self.lag(machine, for_ms),
            Fault::Snapshot { machine } => {
                let target = &self.machines[machine];
                if let Some(node) = target.node().cloned() {
                    target.spawn(async move { drop(node.snapshot().await) });
                }
            }
            Fault::MoveLeader { machine } => {
                let Some(to) = self.machines[machine].node().map(corten_raft::Node::member_id) else {
                    return;
                };
                // Those that do not lead refuse.
                for target in &self.machines {
                    if let Some(node) = target.node().cloned() {
                        target.spawn(async move { drop(node.move_leader(to).await) });
                    }
                }
            }
            Fault::LoseDisk { machine, for_ms } => {
                // Of fewer voters, a lost disk may be a lost cluster.
                if self.fewest_voters() >= 3 {
                    self.lose_disk(machine, for_ms);
                }
            }
        }
    }

    /// Has some watch a machine and cuts it off; then others come, who know more than it does, and before it is reached again
    /// its peers forget what it lacks.
    fn lag(&mut self, machine: usize, for_ms: u64) {
        let cut_ms = self.now_ms + GATHER_MS;
        if cut_ms + for_ms >= FAULTS_END_MS {
            return;
        }
        self.gather(machine, 0);
        let late_ms = cut_ms + for_ms - LAST_MS;
        self.at(late_ms, Event::Gather { machine, half: 1 });
        let (one, both) = (vec![machine], true);
        self.at(cut_ms, Event::Fault(Fault::Cut { one, both, for_ms }));
        for other in (0..self.machines.len()).filter(|other| *other != machine) {
            let forgets = Fault::Snapshot { machine: other };
            self.at(late_ms, Event::Fault(forgets));
        }
    }

    /// Has one half of the watchers go to a machine.
    pub(super) fn gather(&mut self, machine: usize, half: usize) {
        let some = self.watchers.iter_mut().skip(half).step_by(2);
        some.for_each(|watcher| watcher.head_for(machine));
    }

    pub(super) fn heals(&mut self, heals: Heals) {
        self.say(format!("heals: {heals:?}"));
        match heals {
            Heals::Cut(pairs) => pairs.iter().for_each(|pair| {
                self.net.weather.cut.remove(pair);
            }),
            Heals::Weather => {
                let cut = std::mem::take(&mut self.net.weather.cut);
                self.net.weather = Weather {
                    cut,
                    ..Weather::default()
                };
            }
            Heals::Full(machine) => self.machines[machine].disk.set_full(false),
            Heals::Slow(machine) => self.machines[machine].set_slow(2),
        }
    }

    /// Everything is mended.
    pub(super) fn calm(&mut self) {
        self.say("calm");
        self.net.weather = Weather::default();
        for machine in 0..self.machines.len() {
            let target = &mut self.machines[machine];
            target.disk.set_full(false);
            target.set_slow(2);
            target.stalled_until_ms = 0;
            if target.running.is_none() && !target.is_spare {
                self.start(machine);
            }
        }
    }
}
