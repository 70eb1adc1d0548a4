//! The deciding half of the switch: learns where addresses are, and says to which ports a frame goes and when. Pure: the
//! time and the seed are arguments, nothing is sent here.
//!
//! A path is a pair of ports, from and to; either side may stand for all. Every rule that fits a frame's path applies:
//! it is dropped if one of them cuts or loses it, and its delays add up. A path never reorders what it carries: a frame
//! with a shorter delay waits for the one before it, as on a wire.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// What a path through the switch suffers. The default is a sound path.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Fault {
    /// Nothing passes.
    pub cut: bool,
    /// How many of a million frames are lost.
    pub loss_ppm: u32,
    /// Every frame arrives this much later, in microseconds.
    pub delay_us: u64,
    /// Up to this much more is added to each delay, in microseconds.
    pub jitter_us: u64,
}

/// One frame for one port.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Delivery {
    /// The port it goes to.
    pub port: usize,
    /// When, in the microseconds of the `now` it was given with.
    pub at_us: u64,
}

/// An Ethernet address.
pub type Mac = [u8; 6];

/// Both sides of a path; `None` stands for every port.
pub type Path = (Option<usize>, Option<usize>);

/// The switch's memory: learned addresses, faults, the random state and each path's last delivery.
#[derive(Debug, Clone)]
pub struct Fabric {
    ports: usize,
    learned: BTreeMap<Mac, usize>,
    faults: BTreeMap<Path, Fault>,
    last_us: BTreeMap<(usize, usize), u64>,
    random: u64,
}

impl Fabric {
    /// A switch of `ports` sound ports, its losses and jitter drawn from `seed`.
    pub fn new(ports: usize, seed: u64) -> Fabric {
        Fabric {
            ports,
            learned: BTreeMap::new(),
            faults: BTreeMap::new(),
            last_us: BTreeMap::new(),
            random: seed,
        }
    }

    /// Sets what a path suffers from now on; the default fault removes the rule.
    pub fn set_fault(&mut self, path: Path, fault: Fault) {
        if fault == Fault::default() {
            self.faults.remove(&path);
        } else {
            self.faults.insert(path, fault);
        }
    }

    /// Makes every path sound again.
    pub fn heal_all(&mut self) {
        self.faults.clear();
    }

    /// The rules in force, ordered by path.
    pub fn faults(&self) -> impl Iterator<Item = (Path, Fault)> + '_ {
        self.faults.iter().map(|(path, fault)| (*path, *fault))
    }

    /// Where a frame that came in at `from` goes. A frame shorter than an Ethernet header goes nowhere.
    pub fn forward(&mut self, now_us: u64, from: usize, frame: &[u8]) -> Vec<Delivery> {
        let (Some(target), Some(source)) = (mac(frame, 0), mac(frame, 6)) else {
            return Vec::new();
        };
        if frame.len() < 14 {
            return Vec::new();
        }
        if !self
            .faults
            .get(&(Some(from), None))
            .is_some_and(|fault| fault.cut)
            && !is_group(source)
        {
            self.learned.insert(source, from);
        }
        let targets = match self.learned.get(&target) {
            Some(port) if !is_group(target) => *port..*port + 1,
            _ => 0..self.ports,
        };
        let mut deliveries = Vec::new();
        for port in targets.filter(|port| *port != from) {
            if let Some(at_us) = self.passes(now_us, from, port) {
                deliveries.push(Delivery { port, at_us });
            }
        }
        deliveries
    }

    /// When a frame given at `now_us` comes out of a path, or `None` if it is lost on it.
    fn passes(&mut self, now_us: u64, from: usize, to: usize) -> Option<u64> {
        let mut at_us = now_us;
        for path in [
            (Some(from), Some(to)),
            (Some(from), None),
            (None, Some(to)),
            (None, None),
        ] {
            let Some(fault) = self.faults.get(&path).copied() else {
                continue;
            };
            if fault.cut || (fault.loss_ppm > 0 && self.draw(1_000_000) < u64::from(fault.loss_ppm)) {
                return None;
            }
            at_us += fault.delay_us;
            if fault.jitter_us > 0 {
                at_us += self.draw(fault.jitter_us + 1);
            }
        }
        let last_us = self.last_us.entry((from, to)).or_insert(0);
        *last_us = at_us.max(*last_us);
        Some(*last_us)
    }

    /// A number below `bound`, by SplitMix64 (Steele, Lea, Flood: "Fast splittable pseudorandom number generators").
    fn draw(&mut self, bound: u64) -> u64 {
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut word = self.random;
        word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (word ^ (word >> 31)) % bound
    }
}

fn mac(frame: &[u8], offset: usize) -> Option<Mac> {
    frame.get(offset..offset + 6)?.try_into().ok()
}

/// Broadcast and multicast: the lowest bit of the first byte is set (IEEE 802.3, 3.2.3).
fn is_group(mac: Mac) -> bool {
    mac[0] & 1 == 1
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn frame(to: u8, from: u8) -> Vec<u8> {
        let address = |last| {
            if last == 0xff {
                [0xff; 6]
            } else {
                [2, 0, 0, 0, 0, last]
            }
        };
        [&address(to)[..], &address(from)[..], &[8, 0], b"payload"].concat()
    }

    fn ports(deliveries: &[Delivery]) -> Vec<usize> {
        deliveries.iter().map(|delivery| delivery.port).collect()
    }

    const CUT: Fault = Fault {
        cut: true,
        loss_ppm: 0,
        delay_us: 0,
        jitter_us: 0,
    };

    #[test]
    fn floods_until_it_has_learned() {
        let mut fabric = Fabric::new(3, 1);
        assert_eq!(
            ports(&fabric.forward(0, 0, &frame(2, 1))),
            [1, 2],
            "unknown: everywhere but back"
        );
        assert_eq!(
            ports(&fabric.forward(0, 1, &frame(1, 2))),
            [0],
            "learned from the first frame"
        );
        assert_eq!(ports(&fabric.forward(0, 0, &frame(2, 1))), [1]);
        assert_eq!(
            ports(&fabric.forward(0, 0, &frame(0xff, 1))),
            [1, 2],
            "broadcast stays broadcast"
        );
        assert_eq!(
            ports(&fabric.forward(0, 2, &frame(2, 1))),
            [1],
            "an address may move"
        );
        assert_eq!(ports(&fabric.forward(0, 1, &frame(1, 2))), [2]);
    }

    #[test]
    fn short_frames_go_nowhere() {
        assert!(Fabric::new(2, 1).forward(0, 0, &[0xff; 13]).is_empty());
        assert!(Fabric::new(2, 1).forward(0, 0, &[]).is_empty());
    }

    #[test]
    fn a_cut_is_one_way_until_both_are_cut_and_heals() {
        let mut fabric = Fabric::new(3, 1);
        fabric.set_fault((Some(0), Some(1)), CUT);
        assert_eq!(ports(&fabric.forward(0, 0, &frame(0xff, 1))), [2]);
        assert_eq!(
            ports(&fabric.forward(0, 1, &frame(0xff, 2))),
            [0, 2],
            "the way back is sound"
        );
        fabric.set_fault((None, Some(0)), CUT);
        assert_eq!(
            ports(&fabric.forward(0, 1, &frame(0xff, 2))),
            [2],
            "nothing reaches port 0"
        );
        fabric.set_fault((None, Some(0)), Fault::default());
        assert_eq!(ports(&fabric.forward(0, 1, &frame(0xff, 2))), [0, 2]);
        fabric.heal_all();
        assert_eq!(ports(&fabric.forward(0, 0, &frame(0xff, 1))), [1, 2]);
    }

    #[test]
    fn delays_add_up_and_never_reorder() {
        let mut fabric = Fabric::new(2, 7);
        fabric.set_fault(
            (Some(0), None),
            Fault {
                delay_us: 100,
                ..Fault::default()
            },
        );
        fabric.set_fault(
            (None, Some(1)),
            Fault {
                delay_us: 20,
                ..Fault::default()
            },
        );
        assert_eq!(
            fabric.forward(1000, 0, &frame(9, 1)),
            [Delivery { port: 1, at_us: 1120 }]
        );
        fabric.heal_all();
        assert_eq!(
            fabric.forward(1010, 0, &frame(9, 1)),
            [Delivery { port: 1, at_us: 1120 }]
        );
        fabric.set_fault(
            (None, None),
            Fault {
                jitter_us: 500,
                ..Fault::default()
            },
        );
        let times: Vec<u64> = (0..200)
            .map(|n| fabric.forward(2000 + n, 0, &frame(9, 1))[0].at_us)
            .collect();
        assert!(times.is_sorted(), "{times:?}");
        assert!(times.iter().all(|at| (2000..=2700).contains(at)));
    }

    #[test]
    fn losses_follow_the_seed() {
        let run = |seed| {
            let mut fabric = Fabric::new(2, seed);
            fabric.set_fault(
                (None, None),
                Fault {
                    loss_ppm: 300_000,
                    ..Fault::default()
                },
            );
            (0..1000)
                .map(|n| fabric.forward(n, 0, &frame(9, 1)).len())
                .collect::<Vec<_>>()
        };
        assert_eq!(run(5), run(5));
        assert_ne!(run(5), run(6));
        let passed: usize = run(5).iter().sum();
        assert!(
            (600..800).contains(&passed),
            "{passed} of 1000 passed at 30 % loss"
        );
    }
}
