//! The leader's loop, one thing after the other as the real one: while something is being written, nothing else is decided,
//! and what happens to machines meanwhile is looked at afterwards. Only heartbeats are answered at any time.

use super::{Event, FAULTS_END_MS, Mutation, TICK_MS, VOTERS, World};
use crate::checkers;
use crate::commit;
use crate::leader::{Leader, TTL_MS, Writing};

impl World {
    fn has_quorum(&self) -> bool {
        let voters = self.nodes.iter().take(VOTERS);
        let well = voters.filter(|node| node.is_well()).count();
        well > VOTERS / 2 && self.now_ms >= self.outage_until_ms
    }

    pub(super) fn elect(&mut self) -> Result<(), String> {
        if self.leader.is_some() {
            return Ok(());
        }
        let able: Vec<usize> = (0..VOTERS).filter(|node| self.nodes[*node].is_well()).collect();
        if !self.has_quorum() {
            self.after(200, Event::Elect);
            return Ok(());
        }
        self.terms += 1;
        let node = *self.rng.pick(&able);
        self.say("store", &format!("{} leads term {}", self.name(node), self.terms));
        let grace_ms = match self.mutation {
            Some(Mutation::NoGrace) => 0,
            _ => TTL_MS,
        };
        let mut leader = Leader::new(node, self.terms, self.now_ms, grace_ms);
        leader.look_at_machines(&self.log.head, (self.now_ms + grace_ms).saturating_sub(TTL_MS));
        self.leader = Some(leader);
        self.after(grace_ms + 1, Event::Plan { term: self.terms });
        self.plan_soon();
        Ok(())
    }

    /// Ends the term if it cannot go on.
    pub(super) fn check_leader(&mut self) -> Result<(), String> {
        let can_lead = |leader: &Leader| self.nodes[leader.node].is_well();
        if self.leader.as_ref().is_some_and(can_lead) && self.has_quorum() {
            return Ok(());
        }
        self.depose()
    }

    /// What was proposed is committed before the next term or never.
    pub(super) fn depose(&mut self) -> Result<(), String> {
        let Some(leader) = self.leader.take() else {
            return Ok(());
        };
        self.say("store", "the leader is lost");
        if let Some(writing) = leader.writing
            && self.rng.chance(50)
        {
            self.commit(writing.command())?;
        }
        let delay = self.rng.range(300, 1_500);
        self.after(delay, Event::Elect);
        Ok(())
    }

    /// Machines that joined or left have leases, or none any more.
    pub(super) fn look_at_machines(&mut self) {
        if let Some(leader) = &mut self.leader {
            leader.look_at_machines(&self.log.head, self.now_ms);
        }
    }

    pub(super) fn plan_soon(&mut self) {
        let Some(leader) = &mut self.leader else { return };
        if leader.plan_due || leader.writing.is_some() {
            return;
        }
        leader.plan_due = true;
        let term = leader.term;
        let delay = self.rng.range(1, 10);
        self.after(delay, Event::Plan { term });
    }

    pub(super) fn plan(&mut self, term: u64) -> Result<(), String> {
        let Some(leader) = self.leader.as_mut().filter(|leader| leader.term == term) else {
            return Ok(());
        };
        leader.plan_due = false;
        if leader.writing.is_some() {
            return Ok(());
        }
        let policy = leader.policy(self.now_ms);
        let view = commit::view(&self.log.head);
        let decisions = leader.decide(&view, &policy);
        checkers::plans::check(&view, &policy, &decisions)?;
        if !decisions.is_empty() {
            let delay = self.rng.range(1, 30);
            self.write(Writing::Assign(decisions), delay);
            return Ok(());
        }
        self.roll_on();
        Ok(())
    }

    /// One step of one roll; the others have their turn when it is written.
    fn roll_on(&mut self) {
        let Some(leader) = &self.leader else { return };
        let next = commit::rolls(&self.log.head)
            .into_iter()
            .find_map(|(unit, mut roll)| {
                if self.mutation == Some(Mutation::AnyVersionCounts) {
                    let hash = roll.hash.clone();
                    roll.states
                        .values_mut()
                        .for_each(|row| row.hash.clone_from(&hash));
                    roll.waiting
                        .values_mut()
                        .for_each(|kept| kept.hash.clone_from(&hash));
                }
                let step = leader.roll(&unit, &roll)?;
                Some(commit::roll_on(unit, roll.hash, step))
            });
        if let Some(command) = next {
            let delay = self.rng.range(1, 30);
            self.write(Writing::Roll(command), delay);
        }
    }

    fn write(&mut self, writing: Writing, delay_ms: u64) {
        let Some(leader) = &mut self.leader else { return };
        leader.writing = Some(writing);
        let term = leader.term;
        self.after(delay_ms, Event::Written { term });
    }

    pub(super) fn written(&mut self, term: u64) -> Result<(), String> {
        let Some(leader) = self.leader.as_mut().filter(|leader| leader.term == term) else {
            return Ok(());
        };
        let Some(writing) = leader.writing.take() else {
            return Ok(());
        };
        self.commit(writing.command())?;
        self.expire();
        Ok(())
    }

    /// One machine at a time; how long that takes to be written, the disks decide.
    fn expire(&mut self) {
        let Some(leader) = &mut self.leader else { return };
        if let Some(leave) = leader.end_next(self.now_ms) {
            let delay = match self.now_ms < FAULTS_END_MS && self.rng.chance(30) {
                true => self.rng.range(30, 1_500),
                false => self.rng.range(1, 30),
            };
            self.write(leave, delay);
        }
    }

    pub(super) fn tick(&mut self) -> Result<(), String> {
        self.after(TICK_MS, Event::Tick);
        self.expire();
        let now_ms = self.now_ms;
        let unwell = self.nodes.iter_mut().filter(|node| !node.is_well());
        unwell.for_each(|node| node.last_unwell_ms = now_ms);
        checkers::fences::check(self)?;
        checkers::leftovers::check(self)
    }
}
