//! Who asks wrongly asks again at once: what is to be said of him is said once, and then once a minute with how often it was
//! left out.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// How long the same is not said again.
const PAUSE: Duration = Duration::from_secs(60);
/// So many subjects are kept in mind; of more, the one that was spoken of longest ago is forgotten.
const SUBJECTS: usize = 256;

/// What has been said, by subject.
#[derive(Debug, Default)]
pub struct Seldom(Mutex<BTreeMap<String, Said>>);

#[derive(Debug)]
struct Said {
    at: Instant,
    left_out: u64,
}

impl Seldom {
    /// Whether to speak of `subject` now: with how often that was left out since the last time.
    pub fn speaks_of(&self, subject: &str, now: Instant) -> Option<u64> {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(said) = all.get_mut(subject) {
            if now.saturating_duration_since(said.at) < PAUSE {
                said.left_out += 1;
                return None;
            }
            said.at = now;
            return Some(std::mem::take(&mut said.left_out));
        }
        if all.len() >= SUBJECTS {
            let oldest = all.iter().min_by_key(|(_, said)| said.at);
            if let Some(subject) = oldest.map(|(subject, _)| subject.clone()) {
                all.remove(&subject);
            }
        }
        all.insert(subject.to_owned(), Said { at: now, left_out: 0 });
        Some(0)
    }
}

/// How often something was left out, to stand behind a line; nothing if it was not.
pub fn left_out(times: u64) -> String {
    match times {
        0 => String::new(),
        times => format!(" (and {times} times more since this was last said)"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn once_and_then_once_a_minute() {
        let (seldom, begin) = (Seldom::default(), Instant::now());
        let at = |subject: &str, ms| seldom.speaks_of(subject, begin + Duration::from_millis(ms));
        let said: Vec<(u64, u64)> = (0..1500)
            .filter_map(|round| Some((round * 100, at("a", round * 100)?)))
            .collect();
        assert_eq!(said, [(0, 0), (60_000, 599), (120_000, 599)]);
        assert_eq!(at("b", 150_000), Some(0), "somebody else");
    }

    #[test]
    fn memory_is_bounded() {
        let (seldom, now) = (Seldom::default(), Instant::now());
        for subject in 0..2 * SUBJECTS {
            assert_eq!(seldom.speaks_of(&subject.to_string(), now), Some(0));
        }
        assert_eq!(seldom.0.lock().map(|all| all.len()).ok(), Some(SUBJECTS));
    }
}
