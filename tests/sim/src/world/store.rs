//! The store: one log, and the messages that go to it and come from it.

use corten_store::fleet::Command;

use super::{Event, World};
use crate::checkers;
use crate::commit;

impl World {
    pub(super) fn commit(&mut self, command: Command) -> Result<usize, String> {
        checkers::storm::before(self, &command)?;
        checkers::rolls::before(self, &command);
        self.say("store", &commit::print(&command));
        self.log.commit(command);
        checkers::fences::check(self)?;
        checkers::rolls::check(self)?;
        for node in 0..self.nodes.len() {
            self.send_log(node);
        }
        self.look_at_machines();
        self.plan_soon();
        Ok(self.log.len())
    }

    pub(super) fn send_log(&mut self, node: usize) {
        let (delay, upto) = (self.delay_ms(), self.log.len());
        self.after(delay, Event::Deliver { node, upto });
    }

    pub(super) fn deliver(&mut self, node: usize, upto: usize) -> Result<(), String> {
        let to = &mut self.nodes[node];
        if !to.is_well() || upto <= to.applied {
            return Ok(());
        }
        self.log.replay(&mut to.replica, to.applied, upto);
        to.applied = upto;
        self.step(node)
    }

    pub(super) fn operate(&mut self, command: Command) -> Result<(), String> {
        if self.leader.is_none() {
            self.after(200, Event::Operator(command));
            return Ok(());
        }
        self.commit(command).map(drop)
    }

    pub(super) fn arrive(
        &mut self,
        node: usize,
        life: u64,
        ticket: u64,
        command: Command,
    ) -> Result<(), String> {
        if self.leader.is_none() {
            return Ok(());
        }
        let at = self.commit(command)?;
        if !self.is_lost() {
            let delay = self.delay_ms();
            let ack = Event::Ack {
                node,
                life,
                ticket,
                at,
            };
            self.after(delay, ack);
        }
        Ok(())
    }

    pub(super) fn acknowledge(
        &mut self,
        node: usize,
        life: u64,
        ticket: u64,
        at: usize,
    ) -> Result<(), String> {
        if self.nodes[node].life != life || !self.nodes[node].is_well() {
            return Ok(());
        }
        if self.nodes[node].acknowledge(ticket, at, self.now_ms) {
            self.after(1, Event::Probe { node, life });
        }
        self.step(node)
    }
}
