//! Signals by name and number, as docker's users write them.

use crate::record::Record;

/// The signal that asks a container to end.
pub fn stop_signal(record: &Record) -> i32 {
    match record.config.stop_signal.as_str() {
        "" => libc::SIGTERM,
        text => signal_number(text).unwrap_or(libc::SIGTERM),
    }
}

/// Reads `TERM`, `SIGTERM`, `15`, `RTMIN+3`.
pub fn signal_number(text: &str) -> Option<i32> {
    if let Ok(number) = text.parse::<i32>() {
        return (1..=64).contains(&number).then_some(number);
    }
    let upper = text.to_ascii_uppercase();
    let bare = upper.strip_prefix("SIG").unwrap_or(&upper);
    let (base, rest) = match (bare.strip_prefix("RTMIN"), bare.strip_prefix("RTMAX")) {
        (Some(rest), _) => (libc::SIGRTMIN(), rest),
        (_, Some(rest)) => (libc::SIGRTMAX(), rest),
        _ => {
            return format!("SIG{bare}")
                .parse::<nix::sys::signal::Signal>()
                .ok()
                .map(|signal| signal as i32);
        }
    };
    let offset: i32 = if rest.is_empty() { 0 } else { rest.parse().ok()? };
    (libc::SIGRTMIN()..=libc::SIGRTMAX())
        .contains(&(base + offset))
        .then_some(base + offset)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signals_by_name_and_number() {
        for (text, number) in [
            ("TERM", 15),
            ("SIGKILL", 9),
            ("sigint", 2),
            ("10", 10),
            ("RTMIN+3", libc::SIGRTMIN() + 3),
        ] {
            assert_eq!(signal_number(text), Some(number), "{text}");
        }
        for text in ["", "0", "65", "SIGFOO", "RTMIN+99"] {
            assert_eq!(signal_number(text), None, "{text}");
        }
    }
}
