//! Whether the supervisor's loops still move. Each loop holds a [`Pulse`] and beats once per turn, and at least every
//! [`BEAT`] when nothing happens; the watchdog is fed only while all of them have beaten recently.
//!
//! The danger: a loop that waits for something with no deadline of its own stops beating, and systemd restarts the
//! supervisor. That is the purpose; so every await in such a loop has a deadline well under the watchdog's.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// The longest a healthy idle loop goes without a beat.
pub const BEAT: Duration = Duration::from_secs(2);

/// All loops of one supervisor.
#[derive(Debug, Clone, Default)]
pub struct Pulses {
    last: Arc<Mutex<Vec<(&'static str, Instant)>>>,
}

/// One loop's.
#[derive(Debug)]
pub struct Pulse {
    place: usize,
    all: Pulses,
}

impl Pulses {
    /// A new loop, counted as moving from now on.
    pub fn register(&self, name: &'static str) -> Pulse {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        last.push((name, Instant::now()));
        Pulse {
            place: last.len() - 1,
            all: self.clone(),
        }
    }

    /// The loops that have not moved for `limit` before `now`.
    pub fn stuck(&self, now: Instant, limit: Duration) -> Vec<&'static str> {
        let last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        last.iter()
            .filter(|(_, at)| now.duration_since(*at) > limit)
            .map(|(name, _)| *name)
            .collect()
    }
}

impl Pulse {
    /// The loop has made a turn.
    pub fn beat(&self) {
        let mut last = self.all.last.lock().unwrap_or_else(PoisonError::into_inner);
        last[self.place].1 = Instant::now();
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_loop_that_stops_is_named() {
        let pulses = Pulses::default();
        let later = Instant::now() + Duration::from_secs(3);
        let a = pulses.register("a");
        pulses.last.lock().unwrap().push(("b", later));
        assert_eq!(pulses.stuck(later, Duration::from_secs(2)), ["a"]);
        a.beat();
        assert!(pulses.stuck(later, Duration::from_secs(4)).is_empty());
    }
}
