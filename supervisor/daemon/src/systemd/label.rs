//! systemd's object paths: a unit's name with every byte but letters and digits written `_xx` (sd_bus_path_encode(3)).

const PREFIX: &str = "/org/freedesktop/systemd1/unit/";

/// The unit an object path stands for.
pub fn unit_of_path(path: &str) -> Option<String> {
    let label = path.strip_prefix(PREFIX)?;
    let mut name = Vec::with_capacity(label.len());
    let mut bytes = label.bytes();
    while let Some(byte) = bytes.next() {
        name.push(match byte {
            b'_' => hex(bytes.next()?)? * 16 + hex(bytes.next()?)?,
            other => other,
        });
    }
    String::from_utf8(name).ok()
}

fn hex(digit: u8) -> Option<u8> {
    char::from(digit)
        .to_digit(16)
        .and_then(|value| u8::try_from(value).ok())
}

#[cfg(test)]
mod tests {
    use super::unit_of_path;

    #[test]
    fn table() {
        for (label, unit) in [
            ("web_2eservice", Some("web.service")),
            ("paas_2dmonitor_401_2eservice", Some("paas-monitor@1.service")),
            ("a_5fb_2esocket", Some("a_b.socket")),
            ("bad_2", None),
            ("bad_zz", None),
        ] {
            assert_eq!(
                unit_of_path(&format!("/org/freedesktop/systemd1/unit/{label}")).as_deref(),
                unit,
                "{label}"
            );
        }
        assert_eq!(unit_of_path("/org/freedesktop/systemd1"), None);
    }
}
