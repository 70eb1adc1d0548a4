//! What single values must look like: the contract's `valid` patterns as functions, and names that become paths or
//! arguments. The empty text is always allowed where a value is optional; the caller skips it.

/// The types of units systemd has, and the three kinds of files systemd-networkd reads.
const UNIT_TYPES: &[&str] = &[
    "service",
    "socket",
    "device",
    "mount",
    "automount",
    "swap",
    "target",
    "path",
    "timer",
    "slice",
    "scope",
];
const NETWORK_TYPES: &[&str] = &["network", "netdev", "link"];

/// `^(start|stop|restart|reload|try-restart|reload-or-restart|reload-or-try-restart)$`
pub fn unit_command(text: &str) -> bool {
    let known = [
        "start",
        "stop",
        "restart",
        "reload",
        "try-restart",
        "reload-or-restart",
        "reload-or-try-restart",
    ];
    known.contains(&text)
}

/// `^(base64|b64|gz|gzip|gz\+base64|gzip\+base64|gz\+b64|gzip\+b64)$`
pub fn encoding(text: &str) -> bool {
    let base64 = |part: &str| matches!(part, "base64" | "b64");
    let gzip = |part: &str| matches!(part, "gz" | "gzip");
    match text.split_once('+') {
        Some((outer, inner)) => gzip(outer) && base64(inner),
        None => gzip(text) || base64(text),
    }
}

/// `^0?[0-7]{3,4}$`
pub fn permissions(text: &str) -> bool {
    let octal = text.bytes().all(|b| (b'0'..=b'7').contains(&b));
    octal && (matches!(text.len(), 3 | 4) || text.len() == 5 && text.starts_with('0'))
}

/// `^((?i:sun|mon|…|sat) )?0*([0-9]|1[0-9]|2[0-3]):0*([0-9]|[1-5][0-9])$`
pub fn window_start(text: &str) -> bool {
    let days = ["sun", "mon", "tue", "wed", "thu", "fri", "sat"];
    let time = match text.split_once(' ') {
        Some((day, time)) if days.contains(&day.to_lowercase().as_str()) => time,
        Some(_) => return false,
        None => text,
    };
    let below = |digits: &str, limit: u32| {
        let all = !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit());
        all && digits.parse::<u32>().is_ok_and(|n| n < limit)
    };
    time.split_once(':')
        .is_some_and(|(hour, minute)| below(hour, 24) && below(minute, 60))
}

/// `^[-+]?([0-9]*(\.[0-9]*)?[a-z]+)+$`, a Go duration
pub fn window_length(text: &str) -> bool {
    let mut rest = text.trim_start_matches(['-', '+']);
    if text.len() - rest.len() > 1 || rest.is_empty() {
        return false;
    }
    while !rest.is_empty() {
        let digits = |s: &str| s.trim_start_matches(|c: char| c.is_ascii_digit()).len();
        rest = &rest[rest.len() - digits(rest)..];
        if let Some(fraction) = rest.strip_prefix('.') {
            rest = &fraction[fraction.len() - digits(fraction)..];
        }
        let after = rest.trim_start_matches(|c: char| c.is_ascii_lowercase());
        if after.len() == rest.len() {
            return false;
        }
        rest = after;
    }
    true
}

/// A host name: labels of letters, digits and `-`, at most 64 bytes in all (`HOST_NAME_MAX`).
pub fn hostname(text: &str) -> bool {
    let label = |l: &str| {
        let word = l
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_');
        !l.is_empty() && l.len() <= 63 && word && !l.starts_with('-') && !l.ends_with('-')
    };
    text.len() <= 64 && text.split('.').all(label)
}

/// A user name: `[a-z_][a-z0-9_-]*`, with a `$` allowed at the end, at most 32 bytes.
pub fn user_name(text: &str) -> bool {
    let body = text.strip_suffix('$').unwrap_or(text);
    let first = body
        .bytes()
        .next()
        .is_some_and(|b| b.is_ascii_alphabetic() || b == b'_');
    let rest = body
        .bytes()
        .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'.'));
    text.len() <= 32 && first && rest
}

/// Where a file of this name belongs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UnitKind {
    /// systemd reads it.
    System,
    /// systemd-networkd reads it.
    Network,
}

/// The kind of a unit by its name; `None` for a name that is not one, or that would leave its folder.
pub fn unit_kind(name: &str) -> Option<UnitKind> {
    let (stem, kind) = name.rsplit_once('.')?;
    let good = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b':' | b'-' | b'_' | b'.' | b'\\' | b'@');
    if stem.is_empty() || stem.starts_with(['.', '-']) && kind != "mount" || name.len() > 255 {
        return None;
    }
    if !stem.bytes().all(good) {
        return None;
    }
    if UNIT_TYPES.contains(&kind) {
        return Some(UnitKind::System);
    }
    NETWORK_TYPES.contains(&kind).then_some(UnitKind::Network)
}

/// A drop-in's file name: one component that ends in `.conf`.
pub fn drop_in_name(name: &str) -> bool {
    name.len() > ".conf".len()
        && name.len() <= 255
        && name.ends_with(".conf")
        && !name.contains(['/', '\0', '\n'])
        && !name.starts_with('.')
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn values_by_pattern() {
        type Case = (
            &'static str,
            fn(&str) -> bool,
            &'static [&'static str],
            &'static [&'static str],
        );
        let cases: &[Case] = &[
            (
                "command",
                unit_command,
                &["start", "reload-or-try-restart"],
                &["", "lol", "Start"],
            ),
            (
                "encoding",
                encoding,
                &["b64", "gz", "gzip+base64", "gz+b64"],
                &["", "base64+gz", "zip", "gz+gz", "+"],
            ),
            (
                "permissions",
                permissions,
                &["644", "0644", "4755", "04755"],
                &["", "64", "0888", "14755", "u+x", "00644x"],
            ),
            (
                "start",
                window_start,
                &["14:00", "Thu 23:00", "0:0", "sun 007:059"],
                &["24:00", "xyz 1:00", "1:60", "1", ":", "1:+5"],
            ),
            (
                "length",
                window_length,
                &["1h", "1h30m", "-1.5h", "30m"],
                &["", "5", "1H", "+", "--1h", "1h5"],
            ),
            (
                "hostname",
                hostname,
                &["core1", "a.example.com", "A-1"],
                &["", "-a", "a b", "a..b", "h\u{e9}", "a/b"],
            ),
            (
                "user",
                user_name,
                &["core", "_x", "a-b", "m$"],
                &["", "-rf", "a b", "a:b", "0x", "a/b"],
            ),
            (
                "drop-in",
                drop_in_name,
                &["10-a.conf"],
                &["", ".conf", "a", "../a.conf", ".a.conf"],
            ),
        ];
        for (what, check, good, bad) in cases {
            for text in *good {
                assert!(check(text), "{what}: {text:?} should pass");
            }
            for text in *bad {
                assert!(!check(text), "{what}: {text:?} should not pass");
            }
        }
    }

    #[test]
    fn unit_names() {
        for name in [
            "a.service",
            "a@1.service",
            "etcd2.service",
            "dev-sda.swap",
            "media-c\\x2dd.mount",
            "-.mount",
        ] {
            assert_eq!(unit_kind(name), Some(UnitKind::System), "{name}");
        }
        assert_eq!(unit_kind("00-eth0.network"), Some(UnitKind::Network));
        for name in [
            "",
            "a",
            ".service",
            "../a.service",
            "a/b.service",
            "a b.service",
            "a.conf",
            "-a.service",
        ] {
            assert_eq!(unit_kind(name), None, "{name}");
        }
    }
}
