//! `$private_ipv4`, `$public_ipv4`, `$private_ipv6` and `$public_ipv6`: replaced in the text before it is read as
//! anything, as coreos-cloudinit does. `\$private_ipv4` stands for itself. An address nobody knows becomes nothing,
//! and the caller is told on which lines.

use serde::{Deserialize, Serialize};

/// The addresses a text may ask for.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Addresses {
    /// `$public_ipv4`
    pub public_ipv4: Option<String>,
    /// `$private_ipv4`
    pub private_ipv4: Option<String>,
    /// `$public_ipv6`
    pub public_ipv6: Option<String>,
    /// `$private_ipv6`
    pub private_ipv6: Option<String>,
}

impl Addresses {
    /// Name and value of each, in the order `/etc/environment` has them.
    pub fn named(&self) -> [(&'static str, Option<&str>); 4] {
        [
            ("public_ipv4", self.public_ipv4.as_deref()),
            ("private_ipv4", self.private_ipv4.as_deref()),
            ("public_ipv6", self.public_ipv6.as_deref()),
            ("private_ipv6", self.private_ipv6.as_deref()),
        ]
    }

    /// These, and where one is not known, the other's.
    #[must_use]
    pub fn or(self, other: Addresses) -> Addresses {
        Addresses {
            public_ipv4: self.public_ipv4.or(other.public_ipv4),
            private_ipv4: self.private_ipv4.or(other.private_ipv4),
            public_ipv6: self.public_ipv6.or(other.public_ipv6),
            private_ipv6: self.private_ipv6.or(other.private_ipv6),
        }
    }

    /// The addresses an environment file (`/etc/environment`) names.
    pub fn from_environment(text: &str) -> Addresses {
        let value = |name: &str| {
            let start = format!("COREOS_{}=", name.to_uppercase());
            let line = text
                .lines()
                .filter_map(|line| line.strip_prefix(&start))
                .next_back()?;
            Some(line.trim().trim_matches('"').to_owned()).filter(|value| !value.is_empty())
        };
        Addresses {
            public_ipv4: value("public_ipv4"),
            private_ipv4: value("private_ipv4"),
            public_ipv6: value("public_ipv6"),
            private_ipv6: value("private_ipv6"),
        }
    }
}

/// The text with every address filled in, and the lines on which an unknown one was asked for.
pub fn substitute(text: &str, addresses: &Addresses) -> (String, Vec<(usize, &'static str)>) {
    let mut out = String::with_capacity(text.len());
    let mut unknown = Vec::new();
    let mut rest = text;
    while let Some(at) = rest.find('$') {
        let escaped = rest[..at].ends_with('\\');
        let after = &rest[at + 1..];
        match addresses
            .named()
            .into_iter()
            .find(|(name, _)| after.starts_with(name))
        {
            Some((name, _)) if escaped => {
                out.push_str(&rest[..at - 1]);
                out.push('$');
                out.push_str(name);
                rest = &after[name.len()..];
            }
            Some((name, value)) => {
                out.push_str(&rest[..at]);
                if value.is_none() {
                    unknown.push((1 + out.matches('\n').count(), name));
                }
                out.push_str(value.unwrap_or_default());
                rest = &after[name.len()..];
            }
            None => {
                out.push_str(&rest[..=at]);
                rest = after;
            }
        }
    }
    out.push_str(rest);
    (out, unknown)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fills_in_and_escapes() {
        let known = Addresses {
            public_ipv4: Some("203.0.113.2".into()),
            private_ipv4: Some("10.0.0.2".into()),
            ..Addresses::default()
        };
        for (text, wanted, unknown) in [
            ("a: $private_ipv4:4001", "a: 10.0.0.2:4001", vec![]),
            ("$public_ipv4$private_ipv4", "203.0.113.210.0.0.2", vec![]),
            ("\\$private_ipv4 $private_ipv4", "$private_ipv4 10.0.0.2", vec![]),
            ("$unknown $ $$private_ipv4", "$unknown $ $10.0.0.2", vec![]),
            ("x\ny: [$public_ipv6]", "x\ny: []", vec![(2, "public_ipv6")]),
            ("\\$", "\\$", vec![]),
            ("", "", vec![]),
        ] {
            assert_eq!(substitute(text, &known), (wanted.to_owned(), unknown), "{text}");
        }
    }

    #[test]
    fn reads_an_environment_file() {
        let read = Addresses::from_environment(
            "A=b\nCOREOS_PUBLIC_IPV4=1.2.3.4\nCOREOS_PRIVATE_IPV4=\"10.0.0.1\"\n",
        );
        assert_eq!(read.public_ipv4.as_deref(), Some("1.2.3.4"));
        assert_eq!(read.private_ipv4.as_deref(), Some("10.0.0.1"));
        assert_eq!(read.public_ipv6, None);
    }
}
