//! What to say to OpenSSH's `ssh`: pure functions from settings to its command line.
//!
//! fleet's client had an SSH of its own, which knew agents only; ours is the system's, so that key files,
//! ~/.ssh/config, hashed known hosts and certificates work as everywhere else (ssh(1), ssh_config(5)).
//!
//! The danger is quoting: ssh joins the words of a remote command with blanks and gives them to a shell, and a
//! ProxyCommand goes through a shell here, after ssh has replaced its `%` tokens.

use std::path::PathBuf;

/// `[user@]host[:port]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Host {
    pub(super) user: Option<String>,
    /// A name or an address; IPv6 without brackets.
    pub(super) name: String,
    pub(super) port: Option<u16>,
}

/// Everything the global options say about SSH.
#[derive(Debug, Clone)]
pub(super) struct SshSettings {
    pub(super) user: String,
    /// Seconds a connection may take to come about.
    pub(super) timeout_s: u64,
    /// False: any host key will do, and none is remembered.
    pub(super) strict: bool,
    /// Files of known host keys; new ones are added to the first.
    pub(super) known_hosts: Vec<PathBuf>,
    pub(super) identity: Option<PathBuf>,
    pub(super) config: Option<PathBuf>,
    /// Nobody is there to be asked for anything.
    pub(super) batch: bool,
    pub(super) debug: bool,
    /// The way into the cluster.
    pub(super) tunnel: Option<Host>,
}

/// What one connection to a machine of the cluster is for.
#[derive(Debug, Clone, Default)]
pub(super) struct Visit {
    /// What the shell there gets to read; none is a login.
    pub(super) command: Option<String>,
    /// Let the machine use our agent.
    pub(super) forward_agent: bool,
    /// Another port than ssh would take.
    pub(super) port: Option<u16>,
}

impl Host {
    /// Reads `host`, `host:port`, `[v6]:port`, `v6`, each with `user@` or without.
    pub(super) fn parse(text: &str) -> Result<Host, String> {
        let (user, rest) = text
            .rsplit_once('@')
            .map_or((None, text), |(user, rest)| (Some(user.to_owned()), rest));
        let (name, port) = match rest.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
            Some((name, "")) => (name, None),
            Some((name, port)) => (name, Some(port.strip_prefix(':').unwrap_or("no port"))),
            None => match rest.split_once(':') {
                Some((_, port)) if port.contains(':') => (rest, None),
                Some((name, port)) => (name, Some(port)),
                None => (rest, None),
            },
        };
        let port = port
            .map(str::parse)
            .transpose()
            .map_err(|_| format!("{text:?} has no valid port: write host:port"))?;
        if name.is_empty() || user.as_deref() == Some("") {
            return Err(format!("{text:?} is no address: write host or host:port"));
        }
        Ok(Host {
            user,
            name: name.to_owned(),
            port,
        })
    }
}

impl SshSettings {
    /// The connection to fleet's socket at `socket`, on the machine at the end of the tunnel.
    pub(super) fn to_socket(&self, tunnel: &Host, socket: &str) -> Vec<String> {
        let mut argv = self.common();
        argv.push("-T".to_owned());
        self.add_destination(&mut argv, tunnel);
        argv.push(format!("fleetctl fd-forward {}", quote(socket)));
        argv
    }

    /// The connection to `host:port`, as the machine at the end of the tunnel reaches it.
    pub(super) fn to_address(&self, tunnel: &Host, host: &str, port: u16) -> Vec<String> {
        let mut argv = self.common();
        argv.extend(["-W".to_owned(), format!("[{host}]:{port}")]);
        self.add_destination(&mut argv, tunnel);
        argv
    }

    /// A visit to the machine with address `address`, through the tunnel if there is one.
    pub(super) fn to_machine(&self, address: &str, visit: &Visit) -> Vec<String> {
        let mut argv = self.common();
        if visit.forward_agent {
            argv.push("-A".to_owned());
        }
        if let Some(tunnel) = &self.tunnel {
            argv.extend(["-o".to_owned(), format!("ProxyCommand={}", self.proxy(tunnel))]);
        }
        self.add_destination(
            &mut argv,
            &Host {
                user: None,
                name: address.to_owned(),
                port: visit.port,
            },
        );
        argv.extend(visit.command.clone());
        argv
    }

    /// The command that carries a connection through `tunnel`. `-J` would not do: it takes none of our options along.
    fn proxy(&self, tunnel: &Host) -> String {
        let mut argv = self.common();
        argv.push("-W".to_owned());
        let before: Vec<String> = argv.iter().map(|word| quote(word).replace('%', "%%")).collect();
        let mut destination = Vec::new();
        self.add_destination(&mut destination, tunnel);
        let after: Vec<String> = destination
            .iter()
            .map(|word| quote(word).replace('%', "%%"))
            .collect();
        format!("{} '[%h]:%p' {}", before.join(" "), after.join(" "))
    }

    fn common(&self) -> Vec<String> {
        let mut argv = vec!["ssh".to_owned()];
        if let Some(config) = &self.config {
            argv.extend(["-F".to_owned(), config.to_string_lossy().into_owned()]);
        }
        if let Some(identity) = &self.identity {
            argv.extend(["-i".to_owned(), identity.to_string_lossy().replace('%', "%%")]);
        }
        if self.debug {
            argv.push("-v".to_owned());
        }
        let mut set = |option: String| argv.extend(["-o".to_owned(), option]);
        set(format!("ConnectTimeout={}", self.timeout_s.max(1)));
        // A tunnel that is dead is noticed within a minute.
        set("ServerAliveInterval=15".to_owned());
        set("ServerAliveCountMax=4".to_owned());
        if self.strict {
            // Asks on a terminal, refuses where nobody can answer.
            set("StrictHostKeyChecking=ask".to_owned());
            set(format!("UserKnownHostsFile={}", self.known_hosts_option()));
        } else {
            set("StrictHostKeyChecking=no".to_owned());
            set("UserKnownHostsFile=/dev/null".to_owned());
            if !self.debug {
                // Else it would say each time that it has remembered the key, in /dev/null.
                set("LogLevel=ERROR".to_owned());
            }
        }
        if self.batch {
            set("BatchMode=yes".to_owned());
        }
        argv
    }

    /// ssh_config's own quoting: double quotes around each path, `%` doubled.
    fn known_hosts_option(&self) -> String {
        let files = self
            .known_hosts
            .iter()
            .map(|path| format!("\"{}\"", path.display()).replace('%', "%%"));
        files.collect::<Vec<_>>().join(" ")
    }

    fn add_destination(&self, argv: &mut Vec<String>, host: &Host) {
        if let Some(port) = host.port {
            argv.extend(["-p".to_owned(), port.to_string()]);
        }
        argv.extend([
            "-l".to_owned(),
            host.user.clone().unwrap_or_else(|| self.user.clone()),
        ]);
        // Behind `--` nothing is taken for an option, not even a host called -oProxyCommand=...
        argv.extend(["--".to_owned(), host.name.clone()]);
    }
}

/// `word` so that a POSIX shell takes it for one word, as it is.
pub(super) fn quote(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_.,:/@%+=".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', r"'\''"))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn settings() -> SshSettings {
        SshSettings {
            user: "core".into(),
            timeout_s: 10,
            strict: true,
            known_hosts: vec!["/home/a b/50%/known_hosts".into(), "/k".into()],
            identity: None,
            config: None,
            batch: false,
            debug: false,
            tunnel: None,
        }
    }

    #[test]
    fn hosts_are_read() {
        let host = |user: Option<&str>, name: &str, port| Host {
            user: user.map(Into::into),
            name: name.into(),
            port,
        };
        let table = [
            ("10.0.0.1", host(None, "10.0.0.1", None)),
            ("10.0.0.1:2222", host(None, "10.0.0.1", Some(2222))),
            ("me@box:22", host(Some("me"), "box", Some(22))),
            ("fe80::1%eth0", host(None, "fe80::1%eth0", None)),
            ("[::1]:22", host(None, "::1", Some(22))),
            ("u@[::1]", host(Some("u"), "::1", None)),
        ];
        for (text, expected) in table {
            assert_eq!(Host::parse(text).unwrap(), expected, "{text}");
        }
        for text in ["", "h:", "h:x", "h:99999", "@h", "[::1]22", ":22"] {
            assert!(Host::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn words_survive_a_shell() {
        for word in [
            "plain",
            "",
            "a b",
            "it's",
            "$HOME `id` \"x\" \\x2d",
            "a;b|c&d>e",
            "new\nline",
            "*?[]~",
            "ü",
        ] {
            let output = std::process::Command::new("sh")
                .arg("-c")
                .arg(format!("printf %s {}", quote(word)))
                .output()
                .unwrap();
            assert_eq!(String::from_utf8(output.stdout).unwrap(), word);
        }
    }

    #[test]
    fn a_visit_without_tunnel_goes_straight() {
        let visit = Visit {
            command: Some("uptime".into()),
            forward_agent: true,
            port: Some(2222),
        };
        let argv = settings().to_machine("10.0.0.7", &visit).join("|");
        let expected = "ssh|-o|ConnectTimeout=10|-o|ServerAliveInterval=15|-o|ServerAliveCountMax=4\
                        |-o|StrictHostKeyChecking=ask|-o|UserKnownHostsFile=\"/home/a b/50%%/known_hosts\" \"/k\"\
                        |-A|-p|2222|-l|core|--|10.0.0.7|uptime";
        assert_eq!(argv, expected);
    }

    #[test]
    fn a_visit_through_the_tunnel_takes_every_option_along() {
        let tunnel = Some(Host::parse("me@gate:2200").unwrap());
        let settings = SshSettings {
            strict: false,
            batch: true,
            identity: Some("/k e%y".into()),
            tunnel,
            ..settings()
        };
        let argv = settings.to_machine("10.0.0.7", &Visit::default());
        let proxy = argv
            .iter()
            .find_map(|word| word.strip_prefix("ProxyCommand="))
            .unwrap();
        let expected = "ssh -i '/k e%%%%y' -o ConnectTimeout=10 -o ServerAliveInterval=15 -o ServerAliveCountMax=4 \
                        -o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null -o LogLevel=ERROR -o BatchMode=yes \
                        -W '[%h]:%p' -p 2200 -l me -- gate";
        assert_eq!(proxy, expected);
        assert_eq!(argv[argv.len() - 4..].join(" "), "-l core -- 10.0.0.7");
    }

    #[test]
    fn the_api_comes_through_fd_forward_or_straight() {
        let tunnel = Host::parse("gate").unwrap();
        let argv = settings().to_socket(&tunnel, "/var/run/my fleet.sock");
        assert_eq!(
            argv[argv.len() - 6..].join("|"),
            "-T|-l|core|--|gate|fleetctl fd-forward '/var/run/my fleet.sock'"
        );
        let argv = settings().to_address(&tunnel, "::1", 49153);
        assert_eq!(argv[argv.len() - 6..].join("|"), "-W|[::1]:49153|-l|core|--|gate");
    }
}
