//! Where Debian packages come from: the mirror that the host's own apt uses, with our suite; reading is pure.
//!
//! Understands one-line sources.list(5) entries and deb822 `.sources` files, takes the first Debian archive and the
//! first security archive, and refuses to know any mirror by itself.

use std::fs;
use std::io;
use std::path::Path;

/// The two archives of a Debian suite.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mirror {
    /// The main archive.
    pub main: String,
    /// The security archive, where the host has one.
    pub security: Option<String>,
}

/// Suites that tell a Debian archive from another's repository.
const SUITES: [&str; 8] = [
    "bookworm",
    "trixie",
    "forky",
    "sid",
    "stable",
    "oldstable",
    "testing",
    "unstable",
];

impl Mirror {
    /// sources.list lines for `suite`.
    pub fn lines(&self, suite: &str) -> Vec<String> {
        let mut lines = vec![
            format!("deb {} {suite} main", self.main),
            format!("deb {} {suite}-updates main", self.main),
        ];
        lines.extend(
            self.security
                .iter()
                .map(|uri| format!("deb {uri} {suite}-security main")),
        );
        lines
    }

    /// Reads the host's apt sources below `etc`, usually /etc/apt.
    pub fn of_host(etc: &Path) -> io::Result<Option<Self>> {
        let mut files = vec![etc.join("sources.list")];
        if let Ok(folder) = fs::read_dir(etc.join("sources.list.d")) {
            files.extend(folder.flatten().map(|e| e.path()));
        }
        files.sort();
        let mut archives = Vec::new();
        for file in files.iter().filter(|f| f.is_file()) {
            let text = fs::read_to_string(file)?;
            match file.extension().and_then(|e| e.to_str()) {
                Some("sources") => archives.extend(parse_deb822(&text)),
                Some("list") => archives.extend(parse_lines(&text)),
                _ => {}
            }
        }
        Ok(choose(&archives))
    }
}

/// Finds the main archive by its suites and the security archive by its own.
fn choose(archives: &[(String, String)]) -> Option<Mirror> {
    let first = |accept: &dyn Fn(&str) -> bool| {
        archives
            .iter()
            .find(|(_, s)| accept(s))
            .map(|(uri, _)| uri.clone())
    };
    let main = first(&|suite| SUITES.contains(&suite))?;
    let security = first(&|suite| {
        suite
            .strip_suffix("-security")
            .is_some_and(|s| SUITES.contains(&s))
    });
    Some(Mirror { main, security })
}

/// `deb [options] URI SUITE COMPONENT..` -> (URI, suite)
fn parse_lines(text: &str) -> Vec<(String, String)> {
    text.lines()
        .filter_map(|line| {
            let line = line.split('#').next()?.trim();
            let rest = line.strip_prefix("deb ")?.trim_start();
            let rest = match rest.strip_prefix('[') {
                Some(options) => options.split_once(']')?.1,
                None => rest,
            };
            let mut words = rest.split_ascii_whitespace();
            Some((words.next()?.to_owned(), words.next()?.to_owned()))
        })
        .collect()
}

/// Stanzas of `URIs:` and `Suites:` -> every pair.
fn parse_deb822(text: &str) -> Vec<(String, String)> {
    let mut pairs = Vec::new();
    for stanza in text.split("\n\n") {
        let field = |name: &str| -> Vec<&str> {
            stanza
                .lines()
                .filter_map(|l| l.split_once(':'))
                .filter(|(key, _)| key.eq_ignore_ascii_case(name))
                .flat_map(|(_, value)| value.split_ascii_whitespace())
                .collect()
        };
        let disabled = field("Enabled").iter().any(|v| v.eq_ignore_ascii_case("no"));
        if disabled || !field("Types").contains(&"deb") {
            continue;
        }
        for uri in field("URIs") {
            pairs.extend(
                field("Suites")
                    .iter()
                    .map(|suite| (uri.to_owned(), (*suite).to_owned())),
            );
        }
    }
    pairs
}

#[cfg(test)]
mod tests {
    use super::*;

    const DEB822: &str = "# a comment\nTypes: deb\nURIs: http://mirror.example/debian\nSuites: bookworm bookworm-updates\n\
        Components: main\n\nTypes: deb\nURIs: http://mirror.example/security\nSuites: bookworm-security\n\n\
        Types: deb\nEnabled: no\nURIs: http://off.example\nSuites: trixie\n";

    #[test]
    fn deb822_sources() {
        let mirror = choose(&parse_deb822(DEB822));
        let expected = Mirror {
            main: "http://mirror.example/debian".into(),
            security: Some("http://mirror.example/security".into()),
        };
        assert_eq!(mirror, Some(expected));
    }

    #[test]
    fn one_line_sources() {
        let text = "deb https://other.example/repo nodistro main\n#deb http://no.example trixie main\n\
            deb [signed-by=/k.gpg arch=amd64] http://m.example/debian bookworm-backports main\n\
            deb http://m.example/debian trixie main # here\n";
        let mirror = choose(&parse_lines(text));
        assert_eq!(
            mirror,
            Some(Mirror {
                main: "http://m.example/debian".into(),
                security: None
            })
        );
    }

    #[test]
    fn no_debian_archive() {
        assert_eq!(choose(&parse_lines("deb http://x.example noble main")), None);
    }

    #[test]
    fn lines_for_our_suite() {
        let m = Mirror {
            main: "http://m".into(),
            security: Some("http://s".into()),
        };
        assert_eq!(
            m.lines("x"),
            [
                "deb http://m x main",
                "deb http://m x-updates main",
                "deb http://s x-security main"
            ]
        );
    }
}
