//! The clients: each asks one thing after the other, of any node that runs.

use std::sync::Arc;

use super::super::client::{self, Ask, End, Face, Operation, Seen};
use super::super::{FAULTS_END_MS, Mutation};
use super::{Event, PATIENCE_MS, World};
use crate::cluster::checkers::Recorded;

/// Of 100 operations, how many are about leases.
const OF_LEASES: u64 = 35;
/// Of 100 others, how many are about members, where an operator is at work.
const OF_MEMBERS: u64 = 3;

impl World {
    pub(super) fn ask(&mut self, client: usize) {
        if self.waits_for[client].is_some() || self.is_closing {
            return;
        }
        let up: Vec<usize> = (0..self.machines.len())
            .filter(|machine| self.machines[*machine].node().is_some())
            .collect();
        if up.is_empty() {
            self.at(self.now_ms + 50, Event::Ask(client));
            return;
        }
        let machine = *self.rng.pick(&up);
        let operation = self.draw(client);
        if let Ask::SetFor(value, ttl_ms) = operation.ask {
            self.lives.begin(value, self.now_ms, ttl_ms);
        }
        let number = self.recorded.len();
        self.say(format!(
            "client {client} asks m{machine} #{number}: {operation:?}"
        ));
        self.recorded.push(Recorded {
            operation: operation.clone(),
            began_ms: self.now_ms,
            ended: None,
        });
        self.waits_for[client] = Some(number);
        let target = &self.machines[machine];
        if let Some(running) = &target.running
            && let Some(member) = running.member.clone()
        {
            let (around, outbox) = (Arc::clone(&running.around), Arc::clone(&self.outbox));
            let ask = match (self.mutation, &operation.ask) {
                (Some(Mutation::ForgottenRemoval), Ask::Remove(_))
                | (Some(Mutation::ForgottenCompaction), Ask::Compact(_)) => Ask::Pretend,
                (_, ask) => ask.clone(),
            };
            let operation = Operation { ask, ..operation };
            target.spawn(client::perform(member, around, outbox, number, operation));
        }
        self.at(
            self.now_ms + PATIENCE_MS,
            Event::GivesUp {
                client,
                operation: number,
            },
        );
    }

    fn draw(&mut self, client: usize) -> Operation {
        if self.rng.chance(OF_LEASES) {
            let (face, key, ask) = (Face::V3, 0, self.draw_of_lease(client));
            return Operation { face, key, ask };
        }
        if self.plot.operated
            && self.rng.chance(OF_MEMBERS)
            && let Some(ask) = self.draw_of_operator()
        {
            let (face, key) = (Face::V3, 0);
            return Operation { face, key, ask };
        }
        let face = *self.rng.pick(&[Face::V2, Face::V3]);
        let key = self.rng.range(0, self.plot.keys);
        self.next_value += 1;
        let value = self.next_value;
        let last = self.last_seen.get(&(face, key)).copied().unwrap_or(0);
        let highest = self.highest.get(&face).copied().unwrap_or(1).max(1);
        let past = self.rng.range(highest.saturating_sub(50).max(1), highest + 2);
        let ask = match (self.rng.range(0, 40), face) {
            (0..12, _) => Ask::Set(value),
            (12..14, Face::V2) => Ask::SetFor(value, self.rng.range(200, 6_000)),
            (12..17, _) => Ask::Create(value),
            (17..23, _) => Ask::Swap(last, value),
            (23..27, _) => Ask::Delete,
            (27..30, _) => Ask::WatchFrom(past),
            (30, Face::V2) => self.plot.v2_history.map_or(Ask::Read, Ask::KeepHistory),
            (30, Face::V3) => Ask::Compact(past.min(highest)),
            (31, Face::V3) => Ask::Sweep,
            (32..34, Face::V3) => Ask::ReadAt(past.min(highest)),
            _ if self.mutation == Some(Mutation::StaleRead) => Ask::ReadStale,
            _ => Ask::Read,
        };
        Operation { face, key, ask }
    }

    pub(super) fn ended(&mut self, number: usize, at_ms: u64, end: End) {
        self.say(format!("#{number} ends at {at_ms}: {end:?}"));
        let mut added = None;
        let one = &mut self.recorded[number];
        let key = (one.operation.face, one.operation.key);
        let value = match (&one.operation.ask, &end) {
            (
                _,
                End::Answer {
                    seen: Seen::Value(value),
                    ..
                },
            ) => *value,
            (
                Ask::Set(value) | Ask::Create(value) | Ask::Swap(_, value),
                End::Answer { seen: Seen::Done, .. },
            ) => Some(*value),
            _ => None,
        };
        if one.began_ms >= FAULTS_END_MS && matches!(end, End::Answer { .. }) {
            self.answered_in_calm += 1;
        }
        if let End::Answer { place, .. } = end {
            let highest = self.highest.entry(key.0).or_default();
            *highest = place.max(*highest);
        }
        if let Ask::Add(machine, _) = one.operation.ask {
            added = Some((machine, end.clone()));
        }
        let is_gone = matches!(end, End::Answer { seen: Seen::Gone, .. });
        let lease = one.operation.ask.lease().filter(|_| is_gone);
        one.ended = Some((at_ms, end));
        if lease.is_some() {
            self.owned
                .iter_mut()
                .filter(|owned| **owned == lease)
                .for_each(|owned| *owned = None);
        }
        if let Some(value) = value {
            self.last_seen.insert(key, value);
        }
        if let Some((machine, end)) = added {
            self.was_added(machine, &end);
        }
        if let Some(client) = self.waits_for.iter().position(|waits| *waits == Some(number)) {
            self.waits_for[client] = None;
            self.goes_on(client);
        }
    }

    /// What the owner of a lease does: it makes one, hangs keys on it, keeps it alive, and ends it or falls silent.
    fn draw_of_lease(&mut self, client: usize) -> Ask {
        let Some(id) = self.owned[client] else {
            self.next_value += 1;
            self.owned[client] = Some(self.next_value);
            return Ask::Grant(self.next_value, *self.rng.pick(&[1, 1, 1, 2]));
        };
        match self.rng.range(0, 20) {
            0 => {
                self.owned[client] = None;
                Ask::Revoke(id)
            }
            1 => {
                self.owned[client] = None;
                self.draw_of_lease(client)
            }
            2..7 => {
                self.next_value += 1;
                Ask::Attach(id, self.next_value)
            }
            _ if self.mutation == Some(Mutation::DeafMember) => Ask::PretendAlive(id),
            _ => Ask::KeepAlive(id),
        }
    }

    pub(super) fn goes_on(&mut self, client: usize) {
        let pause_ms = if self.rng.chance(70) {
            self.rng.range(1, 40)
        } else {
            self.rng.range(40, 300)
        };
        self.at(self.now_ms + pause_ms, Event::Ask(client));
    }
}
