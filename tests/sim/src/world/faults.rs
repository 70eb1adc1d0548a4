//! What breaks, and how it is mended.

use super::{Event, FAULTS_END_MS, World};
use crate::scenario::Fault;

impl World {
    fn mend_at(&self, for_ms: u64) -> u64 {
        (self.now_ms + for_ms).min(FAULTS_END_MS + 500)
    }

    pub(super) fn break_something(&mut self, fault: &Fault) -> Result<(), String> {
        self.say("fault", &format!("{fault:?}"));
        match fault {
            Fault::PowerCut { node, for_ms } if self.nodes[*node].powered => {
                self.nodes[*node].powered = false;
                self.at(self.mend_at(*for_ms), Event::PowerOn(*node));
            }
            Fault::Kill { node, for_ms } if self.nodes[*node].is_alive() => {
                self.nodes[*node].supervised = false;
                self.at(self.mend_at(*for_ms), Event::Restart(*node));
            }
            Fault::Cut { node, for_ms } if self.nodes[*node].linked => {
                self.nodes[*node].linked = false;
                self.at(self.mend_at(*for_ms), Event::Heal(*node));
            }
            Fault::Depose => self.depose()?,
            Fault::Outage { for_ms } => self.outage_until_ms = self.mend_at(*for_ms),
            Fault::UnitDies { node } if self.nodes[*node].powered => {
                if let Some(job) = self.nodes[*node].systemd.crash(&mut self.rng) {
                    self.begin_job(*node, job);
                    self.step(*node)?;
                }
            }
            _ => {}
        }
        for node in &mut self.nodes {
            if !node.is_well() {
                node.last_unwell_ms = self.now_ms;
            }
        }
        self.check_leader()
    }

    pub(super) fn power_on(&mut self, node: usize) -> Result<(), String> {
        self.say(&self.name(node), "boots");
        self.nodes[node].boot(self.now_ms);
        self.begin_life(node);
        Ok(())
    }

    pub(super) fn restart(&mut self, node: usize) -> Result<(), String> {
        if self.nodes[node].powered && !self.nodes[node].supervised {
            self.say(&self.name(node), "supervisor starts");
            self.nodes[node].start_supervisor(self.now_ms);
            self.begin_life(node);
        }
        Ok(())
    }

    pub(super) fn heal(&mut self, node: usize) -> Result<(), String> {
        self.say(&self.name(node), "link is back");
        self.nodes[node].linked = true;
        let life = self.nodes[node].life;
        self.after(1, Event::Wake { node, life });
        self.send_log(node);
        Ok(())
    }
}
