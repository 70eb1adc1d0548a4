//! Waiting: every wait names its condition and its deadline, and a failed one says both and what was last seen.

use std::time::{Duration, Instant};

/// How long between two looks at a condition.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// A condition did not come true in time.
#[derive(Debug, thiserror::Error)]
#[error("waited {waited_s:.1} s for: {condition}; last seen: {last}")]
pub struct WaitError {
    /// What was waited for.
    pub condition: String,
    /// How long.
    pub waited_s: f64,
    /// What the last look said.
    pub last: String,
}

/// Looks again and again until `look` gives a value, or the deadline passes; the error keeps the last reason.
pub fn wait_until<T>(
    condition: &str,
    deadline: Duration,
    mut look: impl FnMut() -> Result<T, String>,
) -> Result<T, WaitError> {
    let start = Instant::now();
    loop {
        let last = match look() {
            Ok(value) => return Ok(value),
            Err(reason) => reason,
        };
        if start.elapsed() >= deadline {
            let waited_s = start.elapsed().as_secs_f64();
            return Err(WaitError {
                condition: condition.to_owned(),
                waited_s,
                last,
            });
        }
        std::thread::sleep(LOOK_EVERY);
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn gives_the_value_or_the_last_reason() {
        let mut looks = 0;
        let value = wait_until("three looks", Duration::from_secs(5), || {
            looks += 1;
            if looks == 3 {
                Ok(looks)
            } else {
                Err(format!("look {looks}"))
            }
        });
        assert_eq!(value.unwrap(), 3);
        let error = wait_until::<()>("the moon", Duration::ZERO, || Err("dark".to_owned()))
            .unwrap_err()
            .to_string();
        assert!(error.contains("the moon") && error.contains("dark"), "{error}");
    }
}
