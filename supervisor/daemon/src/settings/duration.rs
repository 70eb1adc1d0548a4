//! Go's duration text (`30s`, `1m30s`, `1.5h`), which fleet's and etcd's configuration is written in.
//! Source: the grammar of Go's `time.ParseDuration`. Refuses negative durations: no setting of ours can mean one.

use std::time::Duration;

/// Why a text is no duration.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DurationError {
    /// Nothing there.
    #[error("it is empty")]
    Empty,
    /// Starts with a minus sign.
    #[error("it is negative")]
    Negative,
    /// A number without `s`, `ms`, `m`, `h`, ...
    #[error("the number has no unit")]
    NoUnit,
    /// Not a number, or an unknown unit.
    #[error("{0:?} is not a number with one of the units ns, us, ms, s, m, h")]
    Malformed(String),
    /// More than can be counted in nanoseconds of 64 bits.
    #[error("it is too long")]
    TooLong,
}

/// Parses Go's duration text. `0` needs no unit.
///
/// # Errors
/// What is wrong with the text, to be read after "because".
pub fn parse(text: &str) -> Result<Duration, DurationError> {
    if text.starts_with('-') {
        return Err(DurationError::Negative);
    }
    let mut rest = text.strip_prefix('+').unwrap_or(text);
    if rest.is_empty() {
        return Err(DurationError::Empty);
    }
    if rest == "0" {
        return Ok(Duration::ZERO);
    }
    let mut nanos = 0f64;
    while !rest.is_empty() {
        let (part, after) = first_part(rest)?;
        nanos += part;
        rest = after;
    }
    if nanos > i64::MAX as f64 {
        return Err(DurationError::TooLong);
    }
    Ok(Duration::from_nanos(nanos as u64))
}

/// The first `number unit` of `text` in nanoseconds, and what follows it.
fn first_part(text: &str) -> Result<(f64, &str), DurationError> {
    let malformed = || DurationError::Malformed(text.to_owned());
    let digits = text
        .find(|c: char| !c.is_ascii_digit() && c != '.')
        .unwrap_or(text.len());
    let (number, rest) = text.split_at(digits);
    let number: f64 = number.parse().map_err(|_| malformed())?;
    let letters = rest
        .find(|c: char| c.is_ascii_digit() || c == '.')
        .unwrap_or(rest.len());
    let (unit, after) = rest.split_at(letters);
    let factor = match unit {
        "" => return Err(DurationError::NoUnit),
        "ns" => 1e0,
        "us" | "µs" | "μs" => 1e3,
        "ms" => 1e6,
        "s" => 1e9,
        "m" => 60e9,
        "h" => 3600e9,
        _ => return Err(malformed()),
    };
    Ok((number * factor, after))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn table() {
        let cases: &[(&str, Result<u64, DurationError>)] = &[
            ("30s", Ok(30_000)),
            ("1m30s", Ok(90_000)),
            ("1.5h", Ok(5_400_000)),
            ("250ms", Ok(250)),
            ("0", Ok(0)),
            ("+2s", Ok(2_000)),
            ("", Err(DurationError::Empty)),
            ("-1s", Err(DurationError::Negative)),
            ("30", Err(DurationError::NoUnit)),
            ("30x", Err(DurationError::Malformed("30x".into()))),
            ("s", Err(DurationError::Malformed("s".into()))),
            ("9999999999h", Err(DurationError::TooLong)),
        ];
        for (text, expected) in cases {
            assert_eq!(parse(text).map(|d| d.as_millis() as u64), *expected, "{text}");
        }
    }
}
