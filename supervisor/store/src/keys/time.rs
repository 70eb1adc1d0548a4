//! Times as etcd prints them: Go's RFC3339Nano in UTC, without trailing zeros in the fraction.

/// `ms` since the Unix epoch as `2026-11-22T15:12:03.868Z`.
pub fn rfc3339(ms: u64) -> String {
    let (days, in_day) = (ms / 86_400_000, ms % 86_400_000);
    let (year, month, day) = civil(days);
    let (hour, minute, second) = (in_day / 3_600_000, in_day / 60_000 % 60, in_day / 1000 % 60);
    let fraction = match ms % 1000 {
        0 => String::new(),
        f => format!(".{f:03}").trim_end_matches('0').to_owned(),
    };
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}{fraction}Z")
}

/// Year, month and day of a day since 1970-01-01 (H. Hinnant, "chrono-compatible low-level date algorithms").
fn civil(days: u64) -> (u64, u64, u64) {
    let z = days + 719_468; // days since 0000-03-01
    let era = z / 146_097;
    let day_of_era = z % 146_097;
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 {
        shifted_month + 3
    } else {
        shifted_month - 9
    };
    let year = year_of_era + era * 400 + u64::from(month <= 2);
    (year, month, day)
}

/// Seconds from `now_ms` to `expire_ms`, rounded up; negative when more than a second has passed since.
pub fn ttl_seconds(expire_ms: u64, now_ms: u64) -> i64 {
    let left = i128::from(expire_ms) - i128::from(now_ms);
    let seconds = left / 1000 + i128::from(left % 1000 > 0);
    i64::try_from(seconds).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_printed_as_go_does() {
        for (ms, text) in [
            (0, "1970-01-01T00:00:00Z"),
            (951_782_400_000, "2000-02-29T00:00:00Z"),
            (951_868_799_999, "2000-02-29T23:59:59.999Z"),
            (1_795_360_323_860, "2026-11-22T15:12:03.86Z"),
            (4_102_444_800_100, "2100-01-01T00:00:00.1Z"),
            (4_107_542_400_000, "2100-03-01T00:00:00Z"),
        ] {
            assert_eq!(rfc3339(ms), text);
        }
    }

    #[test]
    fn seconds_left_are_rounded_up() {
        for (expire, now, ttl) in [
            (5000, 0, 5),
            (5000, 1, 5),
            (5000, 1000, 4),
            (5000, 5000, 0),
            (5000, 5999, 0),
            (5000, 6000, -1),
        ] {
            assert_eq!(ttl_seconds(expire, now), ttl, "{expire} {now}");
        }
    }
}
