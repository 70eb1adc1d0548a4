//! The operator: adds machines as learners, promotes and removes members. What they do to machines comes of it.

use corten_raft::{Member, Node, new_member_id};

use super::{World, url};
use crate::cluster::client::{Ask, End, Seen};
use crate::cluster::machine::Machine;

/// So many voters are left at least.
const VOTERS: usize = 3;

impl World {
    /// What the operator does next, if there is anything.
    pub(super) fn draw_of_operator(&mut self) -> Option<Ask> {
        // Who has just been started may know none yet.
        let nodes = self.machines.iter().filter_map(Machine::node);
        let members = nodes.map(Node::members).find(|members| !members.is_empty())?;
        match self.rng.range(0, 3) {
            0 => {
                let spare = self.machines.iter().find(|machine| machine.is_spare)?.number;
                let id = new_member_id(&[url(spare)], "a token", self.now_ms);
                Some(Ask::Add(spare, id))
            }
            1 => {
                let learners: Vec<&Member> = members.iter().filter(|member| member.learner).collect();
                let id = (!learners.is_empty()).then(|| self.rng.pick(&learners).id)?;
                Some(Ask::Promote(id))
            }
            _ => {
                let one = self.rng.pick(&members);
                (one.learner || self.fewest_voters() > VOTERS).then_some(Ask::Remove(one.id))
            }
        }
    }

    /// How many vote, where that is fewest.
    pub(super) fn fewest_voters(&self) -> usize {
        let voters = |node: &Node| node.members().iter().filter(|member| !member.learner).count();
        let nodes = self.machines.iter().filter_map(Machine::node);
        nodes.map(voters).filter(|voters| *voters > 0).min().unwrap_or(0)
    }

    /// A machine was to be added: it is started, whatever came of it.
    pub(super) fn was_added(&mut self, machine: usize, end: &End) {
        if !self.machines[machine].is_spare {
            return;
        }
        match end {
            End::Answer { seen: Seen::Done, .. } => {
                let nodes = self.machines.iter().filter_map(Machine::node);
                let lists = nodes.map(Node::members).filter(|members| {
                    let mut urls = members.iter().flat_map(|member| &member.peer_urls);
                    urls.any(|it| *it == url(machine))
                });
                if let Some(members) = lists.max_by_key(Vec::len) {
                    let name = |url: &str| {
                        url.trim_start_matches("http://")
                            .trim_end_matches(":2380")
                            .to_owned()
                    };
                    let urls = members.into_iter().flat_map(|member| member.peer_urls);
                    self.machines[machine].config.initial_cluster =
                        urls.map(|url| (name(&url), url)).collect();
                }
            }
            // If it is a member all the same, it takes that one's place.
            End::Unknown(_) => {}
            _ => return,
        }
        self.machines[machine].is_spare = false;
        self.start(machine);
    }

    /// Has a machine join by itself from now on.
    pub(super) fn stands_by(&mut self, machine: usize) {
        self.machines[machine].config.initial_cluster = self.founders.clone();
    }
}
