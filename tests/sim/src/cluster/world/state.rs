//! What the checkers get to see: what nodes apply, what watchers get, and the end.

use corten_raft::Node;
use tokio::sync::broadcast::error::TryRecvError;

use super::super::checkers::watch::Watcher;
use super::super::checkers::{acknowledged, current, expiry, leases, linear, members, past, replicas};
use super::super::machine::{Machine, Member, now};
use super::World;

/// How long a leader may take to begin, once it is elected and all is well.
const SETTLES_MS: u64 = 1_000;

impl World {
    /// Reads what was applied; restarts nodes whose storage failed, as systemd does.
    pub(super) fn look(&mut self) -> Result<(), String> {
        let mut reset = Vec::new();
        for machine in 0..self.machines.len() {
            if let Some(stream) = self.streams.get_mut(&machine) {
                loop {
                    match stream.events.try_recv() {
                        Ok(batch) => {
                            self.history
                                .take(&mut stream.upto, &batch)
                                .and_then(|()| self.lives.look(&batch, self.now_ms))
                                .and_then(|()| self.leases.look(&batch, self.now_ms))
                                .map_err(|e| format!("m{machine} (start {}): {e}", stream.start))?;
                            if batch.reset {
                                reset.push(machine);
                            }
                        }
                        Err(TryRecvError::Lagged(_)) => {}
                        Err(_) => break,
                    }
                }
            }
        }
        for machine in reset {
            self.say(format!("m{machine} got the state as a whole"));
        }
        self.restart_failed()
    }

    /// Takes note of elections.
    pub(super) fn notice_terms(&mut self) {
        let terms = self.machines.iter().filter_map(Machine::node).map(Node::term);
        let newest = terms.max().unwrap_or(0);
        if newest > self.newest_term {
            (self.newest_term, self.elected_ms) = (newest, self.now_ms);
        }
    }

    /// Lets the watchers read on, at another node where theirs has died.
    pub(super) fn watch(&mut self) -> Result<(), String> {
        let mut watchers = std::mem::take(&mut self.watchers);
        for watcher in &mut watchers {
            watcher.look(&self.machines, self.now_ms, self.is_closing)?;
        }
        self.watchers = watchers;
        Ok(())
    }

    pub(super) fn standing(&self) -> String {
        let status = |machine: &Machine| match machine.node() {
            Some(node) => format!("m{} {:?}", machine.number, node.status()),
            None => format!("m{} does not run", machine.number),
        };
        self.machines.iter().map(status).collect::<Vec<_>>().join("; ")
    }

    /// All nodes run, agree who leads and who the members are, have applied the same, told it to those who watch and forgotten
    /// what has expired, and no client waits.
    pub(super) fn is_healed(&self) -> bool {
        let nodes: Vec<_> = self.machines.iter().filter_map(Machine::node).collect();
        let mut ids: Vec<u64> = nodes.iter().map(|node| node.member_id()).collect();
        ids.sort_unstable();
        let first = nodes.first().map(|node| node.status());
        let voters = members::voters(self.plot.founders, &self.recorded);
        let is_well = |node: &&Node| {
            let (status, members) = (node.status(), node.members());
            let same = first.as_ref().is_some_and(|first| {
                (first.leader_id, first.term, first.raft_index)
                    == (status.leader_id, status.term, status.raft_index)
            });
            same && status.leader_id != 0
                && status.applied_index == status.raft_index
                && members.iter().map(|member| member.id).eq(ids.iter().copied())
                && voters.contains(&members.iter().filter(|member| !member.learner).count())
                && expiry::is_tidy(node, self.now_ms)
                && leases::is_tidy(node)
        };
        nodes.len() == self.machines.iter().filter(|machine| !machine.is_spare).count()
            && nodes.iter().all(is_well)
            && self.machines.iter().filter_map(Machine::member).all(has_told)
            && self.waits_for.iter().all(Option::is_none)
    }

    pub(super) fn at_the_end(&mut self) -> Result<(), String> {
        self.watch()?;
        let nodes: Vec<_> = self.machines.iter().filter_map(Machine::node).collect();
        replicas::at_the_end(&nodes)?;
        let end = nodes[0]
            .read(|tx| {
                let v3 = corten_store::kv::revision(tx)?;
                Ok((corten_store::meta::etcd_index(tx)?, v3 as u64))
            })
            .map_err(|e| e.to_string())?;
        acknowledged::at_the_end(&self.history, end, &self.recorded)?;
        current::at_the_end(&self.recorded)?;
        let calm_ms = self.elected_ms.max(super::FAULTS_END_MS) + SETTLES_MS;
        self.leases.at_the_end(&self.history, &self.recorded, calm_ms)?;
        let compactions = past::Compactions::of(&self.recorded);
        self.watchers
            .iter()
            .try_for_each(|watcher| watcher.at_the_end(&self.history, &compactions))?;
        past::at_the_end(&self.history, &self.recorded)?;
        members::at_the_end(&nodes[0].members(), &self.recorded)?;
        linear::at_the_end(&self.recorded)?;
        let fates: Vec<String> = self.watchers.iter().map(Watcher::to_string).collect();
        fates.iter().for_each(|fate| self.say(fate));
        self.say(format!(
            "healed: index {}, revision {}, {} operations, {} answered in the calm",
            end.0,
            end.1,
            self.recorded.len(),
            self.answered_in_calm
        ));
        Ok(())
    }
}

/// Whether the hub of v3 has handed out all that was applied.
fn has_told(member: &Member) -> bool {
    let revision = member.node.read(|tx| corten_store::kv::revision(tx));
    revision.is_ok_and(|revision| now(member.hubs.v3.reached(revision)).is_some())
}
