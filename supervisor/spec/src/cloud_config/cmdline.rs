//! `cloud-config-url=` on the kernel command line, as coreos-cloudinit reads it: `_` counts as `-`, the last one wins,
//! one without a value is passed over and named.

/// What a kernel command line says.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CommandLine {
    /// Where the user-data is.
    pub url: Option<String>,
    /// The parameter stood there without a value.
    pub valueless: bool,
}

/// Reads the text of `/proc/cmdline`.
pub fn parse(text: &str) -> CommandLine {
    let mut out = CommandLine::default();
    for word in text.split_whitespace() {
        let (key, value) = word.split_once('=').unwrap_or((word, ""));
        if key.replace('_', "-") != "cloud-config-url" {
            continue;
        }
        match value.trim_matches('"') {
            "" => out.valueless = true,
            url => out.url = Some(url.to_owned()),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_one_wins() {
        for (text, url, valueless) in [
            ("", None, false),
            (
                "root=x cloud-config-url=http://a/b?c=d quiet\n",
                Some("http://a/b?c=d"),
                false,
            ),
            (
                "cloud_config_url=http://a cloud-config-url=http://b",
                Some("http://b"),
                false,
            ),
            ("cloud-config-url cloud-config-url=", None, true),
            ("cloud-config-url=\"file:///x\"", Some("file:///x"), false),
            ("xcloud-config-url=http://a", None, false),
        ] {
            assert_eq!(
                parse(text),
                CommandLine {
                    url: url.map(str::to_owned),
                    valueless
                },
                "{text}"
            );
        }
    }
}
