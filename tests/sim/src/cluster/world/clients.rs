//! The clients: each asks one thing after the other, of any node that runs.

use std::sync::Arc;

use super::super::client::{self, Ask, End, Face, Operation, Seen};
use super::super::{FAULTS_END_MS, Mutation};
use super::{Event, PATIENCE_MS, World};
use crate::cluster::checkers::Recorded;

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
        let operation = self.draw();
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
            && let Some(node) = running.node.clone()
        {
            let (around, outbox) = (Arc::clone(&running.around), Arc::clone(&self.outbox));
            target.spawn(client::perform(node, around, outbox, number, operation));
        }
        self.at(
            self.now_ms + PATIENCE_MS,
            Event::GivesUp {
                client,
                operation: number,
            },
        );
    }

    pub(super) fn draw(&mut self) -> Operation {
        let face = *self.rng.pick(&[Face::V2, Face::V3]);
        let key = self.rng.range(0, self.plot.keys);
        self.next_value += 1;
        let value = self.next_value;
        let last = self.last_seen.get(&(face, key)).copied().unwrap_or(0);
        let ask = match self.rng.range(0, 20) {
            0..6 => Ask::Set(value),
            6 if face == Face::V2 => Ask::SetFor(value, self.rng.range(200, 6_000)),
            6 => Ask::Set(value),
            7..9 => Ask::Create(value),
            9..12 => Ask::Swap(last, value),
            12..14 => Ask::Delete,
            _ if self.mutation == Some(Mutation::StaleRead) => Ask::ReadStale,
            _ => Ask::Read,
        };
        Operation { face, key, ask }
    }

    pub(super) fn ended(&mut self, number: usize, at_ms: u64, end: End) {
        self.say(format!("#{number} ends at {at_ms}: {end:?}"));
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
        one.ended = Some((at_ms, end));
        if let Some(value) = value {
            self.last_seen.insert(key, value);
        }
        if let Some(client) = self.waits_for.iter().position(|waits| *waits == Some(number)) {
            self.waits_for[client] = None;
            self.goes_on(client);
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
