//! Numbers on the command line, with Go's complaints, and durations and sizes as Go's etcdctl writes them.

use std::time::Duration;

/// `strconv.ParseInt`.
pub(super) fn int(text: &str, radix: u32) -> Result<i64, String> {
    i64::from_str_radix(text, radix).map_err(|error| complaint("ParseInt", text, &error))
}

/// `strconv.ParseUint`.
pub(super) fn uint(text: &str, radix: u32) -> Result<u64, String> {
    if text.starts_with('+') {
        return Err(format!("strconv.ParseUint: parsing {text:?}: invalid syntax"));
    }
    u64::from_str_radix(text, radix).map_err(|error| complaint("ParseUint", text, &error))
}

fn complaint(function: &str, text: &str, error: &std::num::ParseIntError) -> String {
    use std::num::IntErrorKind::{NegOverflow, PosOverflow};
    let why = match error.kind() {
        PosOverflow | NegOverflow => "value out of range",
        _ => "invalid syntax",
    };
    format!("strconv.{function}: parsing {text:?}: {why}")
}

/// `1.395338ms`
pub(super) fn duration(duration: Duration) -> String {
    let nanoseconds = duration.as_nanos();
    let (unit, name) = match nanoseconds {
        0 => return "0s".to_owned(),
        1..1_000 => (1, "ns"),
        1_000..1_000_000 => (1_000, "µs"),
        1_000_000..1_000_000_000 => (1_000_000, "ms"),
        _ => (1_000_000_000, "s"),
    };
    let digits = unit.to_string().len() - 1;
    let number = format!("{}.{:0digits$}", nanoseconds / unit, nanoseconds % unit);
    format!("{}{name}", number.trim_end_matches('0').trim_end_matches('.'))
}

/// `20 kB`: thousands, with one digit behind the point below ten.
pub(super) fn size(bytes: i64) -> String {
    const UNITS: [&str; 7] = ["B", "kB", "MB", "GB", "TB", "PB", "EB"];
    if bytes < 10 {
        return format!("{bytes} B");
    }
    let (mut value, mut unit) = (bytes as f64, 0);
    while value >= 1000.0 {
        value /= 1000.0;
        unit += 1;
    }
    let value = (value * 10.0 + 0.5).floor() / 10.0;
    if value < 10.0 {
        format!("{value:.1} {}", UNITS[unit])
    } else {
        format!("{value:.0} {}", UNITS[unit])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_go_writes_them() {
        for (nanoseconds, text) in [
            (1_395_338, "1.395338ms"),
            (11_000_000, "11ms"),
            (5_007_351_328, "5.007351328s"),
            (1_500, "1.5µs"),
            (20, "20ns"),
        ] {
            assert_eq!(duration(Duration::from_nanos(nanoseconds)), text);
        }
        for (bytes, text) in [
            (20480, "20 kB"),
            (9, "9 B"),
            (1500, "1.5 kB"),
            (999, "999 B"),
            (2_000_000, "2.0 MB"),
        ] {
            assert_eq!(size(bytes), text);
        }
        assert_eq!(
            int("zz", 16),
            Err("strconv.ParseInt: parsing \"zz\": invalid syntax".to_owned())
        );
        assert_eq!(int("1234", 16), Ok(0x1234));
        assert!(uint("-1", 16).is_err());
    }
}
