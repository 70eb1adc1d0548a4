//! Every target over its good inputs and over random changes of them, on any toolchain, in seconds. A failure names target,
//! seed and input; `SEED=n` runs that one alone.
#![allow(clippy::unwrap_used)]

use std::panic::catch_unwind;
use std::time::{Duration, Instant};

use corten_fuzz::{TARGETS, Target};
use rand::prelude::*;

/// How long each target is tried beyond its good inputs.
const TIME: Duration = Duration::from_millis(1500);
/// Pieces that mean something to one parser or another.
const WORDS: &[&[u8]] = &[
    b"%",
    b"%zz",
    b"%2f",
    b"..",
    b"/",
    b"//",
    b"&",
    b"=",
    b";",
    b"?",
    b"true",
    b"-1",
    b"18446744073709551615",
    b"\0",
    b"\xff",
    b"\xc3",
    b"{",
    b"}",
    b"[",
    b"]",
    b"null",
    b"\"",
    b"\\",
    b"\\u0000",
    b"\n",
    b"\r\n",
    b"  ",
    b"\t",
    b":",
    b"- ",
    b"&x ",
    b"*x",
    b"|",
    b">",
    b"#",
    b"%i",
    b"$private_ipv4",
    b"\x1f\x8b",
    b"\xe2\x80\xa8",
    b"1e999",
    b"~",
];

/// A good input, changed a few times: bytes flipped, cut, doubled, words put in, another's end put on.
fn changed(rng: &mut StdRng, seeds: &[Vec<u8>]) -> Vec<u8> {
    let mut data = seeds.choose(rng).unwrap().clone();
    for _ in 0..rng.random_range(1..8) {
        let at = rng.random_range(0..=data.len());
        match rng.random_range(0..6) {
            0 if at < data.len() => data[at] ^= 1u8 << rng.random_range(0..8u32),
            1 if at < data.len() => data[at] = rng.random(),
            2 => {
                let end = rng.random_range(at..=data.len().min(at + 20));
                data.drain(at..end);
            }
            3 => {
                let end = rng.random_range(at..=data.len().min(at + 20));
                let piece = data[at..end].to_vec();
                data.splice(at..at, piece);
            }
            4 => {
                let other = seeds.choose(rng).unwrap();
                data.truncate(at);
                data.extend_from_slice(&other[rng.random_range(0..=other.len())..]);
            }
            _ => {
                data.splice(at..at, WORDS.choose(rng).unwrap().iter().copied());
            }
        }
    }
    data
}

fn run(target: &Target, seed: u64, data: &[u8]) {
    let checked = catch_unwind(|| (target.check)(data));
    assert!(
        checked.is_ok(),
        "{} fails, SEED={seed}: {:?}\n{data:?}",
        target.name,
        String::from_utf8_lossy(data)
    );
}

#[test]
fn every_target_holds_for_inputs_changed_at_random() {
    let only: Option<u64> = std::env::var("SEED").ok().map(|seed| seed.parse().unwrap());
    for target in TARGETS {
        let seeds = (target.seeds)();
        for (number, seed) in seeds.iter().enumerate() {
            run(target, number as u64, seed);
        }
        let begun = Instant::now();
        let mut seed = only.unwrap_or_default();
        while begun.elapsed() < TIME {
            let data = changed(&mut StdRng::seed_from_u64(seed), &seeds);
            run(target, seed, &data);
            if only.is_some() {
                break;
            }
            seed += 1;
        }
        println!("{}: {seed} inputs", target.name);
    }
}
