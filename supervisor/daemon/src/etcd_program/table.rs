//! etcd 3.4's flags, by section: what each wants, what it is where it is not given, and what it does here.
//!
//! A flag's variable is its name in capitals behind `ETCD_`; what becomes of the value is in `settings::variables`.

use Kind::{Choice, Number, Signed, Switch, Text, Urls};

/// What a flag's value must be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Anything.
    Text,
    /// true or false; true where nothing is said.
    Switch,
    /// A number without a sign.
    Number,
    /// A number.
    Signed,
    /// URLs with commas.
    Urls,
    /// One of these.
    Choice(&'static [&'static str]),
}

/// A flag.
#[derive(Debug, Clone, Copy)]
pub struct Flag {
    /// Its section in the help.
    pub section: &'static str,
    /// Without dashes.
    pub name: &'static str,
    /// What it wants.
    pub kind: Kind,
    /// What it is where it is not given, for the help.
    pub default: &'static str,
    /// What it does.
    pub help: &'static str,
}

impl Flag {
    /// The variable of the same meaning.
    pub fn variable(&self) -> String {
        format!("ETCD_{}", self.name.to_ascii_uppercase().replace('-', "_"))
    }
}

const fn flag(
    section: &'static str,
    name: &'static str,
    kind: Kind,
    default: &'static str,
    help: &'static str,
) -> Flag {
    Flag {
        section,
        name,
        kind,
        default,
        help,
    }
}

/// All of them, in the order of the help.
#[rustfmt::skip] // A row per flag is a table; a word per line would be none.
pub const FLAGS: &[Flag] = &[
    flag("Member", "name", Text, "default", "This member's name, unique in the cluster, as it stands in --initial-cluster."),
    flag("Member", "data-dir", Text, "NAME.etcd", "Where log, state and snapshots lie. One process at a time; keep it with the member for its life."),
    flag("Member", "wal-dir", Text, "", "No effect: the log lies in the data directory."),
    flag("Member", "snapshot-count", Number, "100000", "Entries of the log between two snapshots; fewer keep the log shorter."),
    flag("Member", "heartbeat-interval", Number, "100", "How often the leader shows itself, in ms. About the round trip between members."),
    flag("Member", "election-timeout", Number, "1000", "Without a leader for this long, members elect one, in ms. At least five heartbeats, the same on every member."),
    flag("Member", "initial-election-tick-advance", Switch, "", "No effect: a single member leads at once."),
    flag("Member", "listen-peer-urls", Urls, "http://localhost:2380", "Where other members are listened to, with commas between several. https speaks TLS (--peer-cert-file)."),
    flag("Member", "listen-client-urls", Urls, "http://localhost:2379", "Where clients are listened to. https speaks TLS (--cert-file). Needs --advertise-client-urls."),
    flag("Member", "max-snapshots", Number, "", "No effect: one snapshot is kept."),
    flag("Member", "max-wals", Number, "", "No effect: the log is shortened after each snapshot."),
    flag("Member", "quota-backend-bytes", Signed, "0", "How much room the data may take until v3 writes are refused and the alarm NOSPACE is raised; 0 is 2 GiB, -1 no limit."),
    flag("Member", "backend-batch-interval", Text, "", "No effect: the state commits with each batch of the log."),
    flag("Member", "backend-batch-limit", Number, "", "No effect: the state commits with each batch of the log."),
    flag("Member", "max-txn-ops", Number, "128", "How many operations a v3 transaction may have."),
    flag("Member", "max-request-bytes", Number, "1572864", "How large a v3 request may be that writes, at most 10485760."),
    flag("Member", "max-concurrent-streams", Number, "", "No effect: streams are bounded by the server."),
    flag("Member", "grpc-keepalive-min-time", Text, "", "No effect: clients' pings are always answered."),
    flag("Member", "grpc-keepalive-interval", Text, "", "No effect: idle connections are kept."),
    flag("Member", "grpc-keepalive-timeout", Text, "", "No effect: idle connections are kept."),
    flag("Cluster", "initial-advertise-peer-urls", Urls, "http://localhost:2380", "Under which URLs the other members reach this one."),
    flag("Cluster", "initial-cluster", Text, "default=http://localhost:2380", "The founding members, NAME=URL with commas, the same on each of them. Only asked for while the data directory is empty."),
    flag("Cluster", "initial-cluster-state", Choice(&["new", "existing"]), "new", "'new' forms the cluster; 'existing' joins one that runs: as the member that was added to it, or, if --initial-cluster does not name it, as a learner that stands by."),
    flag("Cluster", "initial-cluster-token", Text, "etcd-cluster", "Any word; gives members other ids, so that two clusters on the same addresses never mix."),
    flag("Cluster", "advertise-client-urls", Urls, "http://localhost:2379", "Under which URLs clients reach this member: they ask any member and then use these."),
    flag("Cluster", "discovery", Text, "", "The members are found at another etcd: http://HOST:2379/v2/keys/discovery/TOKEN, where .../TOKEN/_config/size says how many."),
    flag("Cluster", "discovery-fallback", Choice(&["exit", "proxy"]), "proxy", "When the discovered cluster is full: 'proxy' serves as a proxy of it, 'exit' ends."),
    flag("Cluster", "discovery-proxy", Text, "", "An HTTP proxy on the way to the discovery service."),
    flag("Cluster", "discovery-srv", Text, "", "The members are found in the DNS: the records _etcd-server-ssl._tcp.DOMAIN and _etcd-server._tcp.DOMAIN."),
    flag("Cluster", "discovery-srv-name", Text, "", "Appended with a dash to the name of those records."),
    flag("Cluster", "cluster-active-size", Number, "0", "How many members are to vote, 1, 3, 5 or 7, by the leader's setting: learners become voters and voters learners until it is so. 0: as many as founded the cluster, and 'member add' and 'remove' have made of it."),
    flag("Cluster", "cluster-remove-delay", Text, "5m", "How long a voter may be silent before a learner that has caught up takes its place, by the leader's setting; in seconds, or like 5m. 0: for ever."),
    flag("Cluster", "strict-reconfig-check", Switch, "", "No effect: changes of members that would lose the quorum are always refused."),
    flag("Cluster", "pre-vote", Switch, "", "No effect: elections have no extra phase."),
    flag("Cluster", "auto-compaction-retention", Text, "0", "Revisions older than this go by themselves: hours, a duration, or with the mode 'revision' a number of them. 0 keeps them."),
    flag("Cluster", "auto-compaction-mode", Choice(&["periodic", "revision"]), "periodic", "What --auto-compaction-retention counts."),
    flag("Cluster", "enable-v2", Switch, "", "No effect: v2 is always served."),
    flag("TLS and who may ask", "cert-file", Text, "", "The certificate chain shown to clients, PEM. Read again when it changes."),
    flag("TLS and who may ask", "key-file", Text, "", "Its private key, PEM."),
    flag("TLS and who may ask", "client-cert-auth", Switch, "false", "Clients must show a certificate of a CA in --trusted-ca-file."),
    flag("TLS and who may ask", "client-crl-file", Text, "", "Certificates no longer believed, PEM or DER."),
    flag("TLS and who may ask", "client-cert-allowed-hostname", Text, "", "Clients' certificates must be for this host name."),
    flag("TLS and who may ask", "trusted-ca-file", Text, "", "The CAs clients must come from, PEM. Setting it asks for certificates."),
    flag("TLS and who may ask", "auto-tls", Switch, "false", "https without files: a certificate is generated, which clients cannot check."),
    flag("TLS and who may ask", "peer-cert-file", Text, "", "The certificate chain shown to other members, both as server and as client, PEM. Read again when it changes."),
    flag("TLS and who may ask", "peer-key-file", Text, "", "Its private key, PEM."),
    flag("TLS and who may ask", "peer-client-cert-auth", Switch, "false", "Other members must show a certificate of a CA in --peer-trusted-ca-file."),
    flag("TLS and who may ask", "peer-trusted-ca-file", Text, "", "The CAs other members must come from, PEM."),
    flag("TLS and who may ask", "peer-cert-allowed-cn", Text, "", "Refused: the common name of certificates is not looked at."),
    flag("TLS and who may ask", "peer-cert-allowed-hostname", Text, "", "Members' certificates must be for this host name."),
    flag("TLS and who may ask", "peer-auto-tls", Switch, "false", "https among members without files: encrypted, but nobody is checked."),
    flag("TLS and who may ask", "peer-crl-file", Text, "", "Certificates of members no longer believed, PEM or DER."),
    flag("TLS and who may ask", "cipher-suites", Text, "", "The TLS 1.2 cipher suites allowed, with commas; those of TLS 1.3 are always."),
    flag("TLS and who may ask", "cors", Text, "*", "Origins that scripts in browsers may come from."),
    flag("TLS and who may ask", "host-whitelist", Text, "*", "Host names that requests without TLS may be for; guards against DNS rebinding."),
    flag("Auth", "auth-token", Text, "", "No effect: tokens are simple ones."),
    flag("Auth", "bcrypt-cost", Number, "", "No effect: the cost is the default, 10."),
    flag("Auth", "auth-token-ttl", Number, "300", "How long a user's token holds that is not used, in seconds."),
    flag("Figures", "enable-pprof", Switch, "", "No effect: there is no Go runtime to profile."),
    flag("Figures", "metrics", Text, "", "No effect: all metrics are always served."),
    flag("Figures", "listen-metrics-urls", Urls, "", "Where /metrics and /health alone are served, besides the client URLs. https uses the clients' certificate."),
    flag("Log", "logger", Text, "", "No effect: the log has one form."),
    flag("Log", "log-outputs", Text, "default", "'stderr', 'stdout' or a file."),
    flag("Log", "log-level", Text, "info", "debug, info, warn, error, panic or fatal."),
    flag("Proxy", "proxy", Choice(&["off", "readonly", "on"]), "off", "Serve as a proxy of the cluster in --initial-cluster instead of as a member: 'on', or 'readonly' for reads only."),
    flag("Proxy", "proxy-failure-wait", Number, "5000", "How long a member that failed is left alone, in ms."),
    flag("Proxy", "proxy-refresh-interval", Number, "30000", "How often the members are asked for, in ms."),
    flag("Proxy", "proxy-dial-timeout", Number, "1000", "How long a connection to a member may take, in ms."),
    flag("Proxy", "proxy-write-timeout", Number, "", "No effect: answers are waited for as long as the client does."),
    flag("Proxy", "proxy-read-timeout", Number, "", "No effect: answers are waited for as long as the client does."),
    flag("Experimental", "experimental-initial-corrupt-check", Switch, "", "No effect: log and snapshots are always checked by their checksums."),
    flag("Experimental", "experimental-corrupt-check-time", Text, "", "No effect: log and snapshots are always checked by their checksums."),
    flag("Experimental", "experimental-enable-v2v3", Text, "", "No effect: v2 has its own place in the one state machine."),
    flag("Experimental", "experimental-backend-bbolt-freelist-type", Text, "", "No effect: there is no bbolt here."),
    flag("Experimental", "experimental-enable-lease-checkpoint", Switch, "", "No effect: leases restart in full on a new leader."),
    flag("Experimental", "experimental-compaction-batch-limit", Number, "", "No effect: compaction is bounded by itself."),
    flag("Experimental", "experimental-peer-skip-client-san-verification", Switch, "", "No effect: addresses in clients' certificates are not looked at."),
    flag("Experimental", "experimental-watch-progress-notify-interval", Text, "", "No effect: the interval is fixed."),
    flag("Experimental", "experimental-warning-apply-duration", Text, "100ms", "A request that takes longer gets a line in the log which says where the time went."),
    flag("Experimental", "experimental-v2-history", Number, "", "How many events v2 watchers can come back to, in the whole cluster: what the leader was told counts [at first: 1000]."),
    flag("Unsafe", "force-new-cluster", Switch, "false", "The other members are lost for good: keep the data and go on alone. Never while one of them may still run."),
    flag("Old", "debug", Switch, "false", "The same as --log-level=debug."),
    flag("Old", "log-package-levels", Text, "", "No effect: our modules are other ones: use CORTEN_LOG."),
    flag("Old", "ca-file", Text, "", "The same as --trusted-ca-file."),
    flag("Old", "peer-ca-file", Text, "", "The same as --peer-trusted-ca-file."),
];
