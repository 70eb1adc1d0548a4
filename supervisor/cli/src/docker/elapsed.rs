//! Times as Docker shows them: `3 minutes ago`, `Up 2 hours`.

use std::time::{SystemTime, UNIX_EPOCH};

/// Seconds since the epoch.
pub(super) fn now() -> i64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| i64::try_from(since.as_secs()).unwrap_or(i64::MAX))
}

/// Microseconds since the epoch of an RFC 3339 time.
pub(super) fn micros(rfc3339: &str) -> Option<i64> {
    Some(
        chrono::DateTime::parse_from_rfc3339(rfc3339)
            .ok()?
            .timestamp_micros(),
    )
}

/// How long ago a time was: `3 minutes ago`.
pub(super) fn ago(rfc3339: &str) -> Option<String> {
    since(rfc3339).map(|span| format!("{span} ago"))
}

/// How long since a time: `3 minutes`.
pub(super) fn since(rfc3339: &str) -> Option<String> {
    Some(span(now() - micros(rfc3339)?.div_euclid(1_000_000)))
}

/// Docker's units.HumanDuration.
pub(super) fn span(seconds: i64) -> String {
    let (minutes, hours) = (seconds / 60, (seconds as f64 / 3600.0).round() as i64);
    match seconds {
        ..1 => "Less than a second".into(),
        1 => "1 second".into(),
        2..60 => format!("{seconds} seconds"),
        _ if minutes == 1 => "About a minute".into(),
        _ if minutes < 60 => format!("{minutes} minutes"),
        _ if hours == 1 => "About an hour".into(),
        _ if hours < 48 => format!("{hours} hours"),
        _ if hours < 24 * 7 * 2 => format!("{} days", hours / 24),
        _ if hours < 24 * 30 * 2 => format!("{} weeks", hours / 24 / 7),
        _ if hours < 24 * 365 * 2 => format!("{} months", hours / 24 / 30),
        _ => format!("{} years", hours / 24 / 365),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_are_dockers() {
        for (seconds, text) in [
            (0, "Less than a second"),
            (1, "1 second"),
            (59, "59 seconds"),
            (60, "About a minute"),
            (3599, "59 minutes"),
            (3600, "About an hour"),
            (2 * 3600, "2 hours"),
            (3 * 86_400, "3 days"),
            (20 * 86_400, "2 weeks"),
            (100 * 86_400, "3 months"),
            (800 * 86_400, "2 years"),
        ] {
            assert_eq!(span(seconds), text);
        }
    }
}
