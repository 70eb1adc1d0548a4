//! The command line of the v3 face.

use clap::{Arg, ArgAction, Command, value_parser};

use crate::go;

/// The whole command line.
pub(super) fn command() -> Command {
    let mut command = Command::new("etcdctl")
        .about("A simple command line client for etcd3 (ETCDCTL_API=3)")
        .after_help("Exit codes: 0 ok, 1 error of the server, no connection, or an option or command that is unknown, 2 no login,\n3 input that cannot be read, 4 an option that asks for what is not there, 5 a watch that ended, 6 a file, 128 arguments that\nare missing, too many or cannot be used.")
        .disable_version_flag(true)
        // The last one counts, as for etcdctl.
        .args_override_self(true)
        .subcommand_value_name("COMMAND")
        .args(globals());
    for sub in key_value() {
        command = command.subcommand(sub);
    }
    command
        .subcommand(
            leaf("compaction", "REVISION", "Compact the history").arg(go::switch(
                "physical",
                "Wait until old revisions are gone from disk",
            )),
        )
        .subcommand(
            leaf("txn", "", "Carry out requests if comparisons hold")
                .arg(go::switch("interactive", "Say what is read").short('i')),
        )
        .subcommand(watch())
        .subcommand(group(
            "lease",
            "Leases",
            vec![
                leaf("grant", "TTL", "Make a lease of so many seconds"),
                leaf("revoke", "ID", "End a lease"),
                leaf("timetolive", "ID", "Show what is left of a lease")
                    .arg(go::switch("keys", "And its keys")),
                leaf("list", "", "List the leases"),
                leaf("keep-alive", "ID", "Keep a lease").arg(go::switch("once", "Once")),
            ],
        ))
        .subcommand(group(
            "member",
            "Members",
            vec![
                leaf("list", "", "List the members"),
                leaf("add", "NAME", "Add a member").args([
                    option("peer-urls", "URL[,URL...]", "Its peer URLs"),
                    go::switch("learner", "Without a vote"),
                ]),
                leaf("remove", "ID", "Remove a member"),
                leaf("update", "ID", "Change a member's peer URLs").arg(option(
                    "peer-urls",
                    "URL[,URL...]",
                    "The new ones",
                )),
                leaf("promote", "ID", "Give a learner its vote"),
            ],
        ))
        .subcommand(group(
            "endpoint",
            "Each of --endpoints by itself",
            vec![
                leaf("health", "", "Whether it is healthy").arg(cluster()),
                leaf("status", "", "How it is").arg(cluster()),
                leaf("hashkv", "", "The hash of its history")
                    .args([cluster(), integer("rev", "REVISION", "Up to this revision")]),
            ],
        ))
        .subcommand(group(
            "alarm",
            "Alarms",
            vec![leaf("list", "", "List them"), leaf("disarm", "", "End them all")],
        ))
        .subcommand(leaf("defrag", "", "Defragment the members' stores").arg(cluster()))
        .subcommand(leaf("move-leader", "ID", "Let another member lead"))
        .subcommand(group(
            "snapshot",
            "Snapshots of a member's store",
            vec![
                leaf("save", "FILE", "Store one in a file"),
                not_here("status"),
                not_here("restore"),
            ],
        ))
        .subcommand(
            leaf(
                "lock",
                "NAME [COMMAND...]",
                "Hold a lock until CTRL+C, or while a program runs; its own options stand behind --",
            )
            .arg(integer("ttl", "SECONDS", "How long it outlives us").default_value("10")),
        )
        .subcommand(
            leaf("elect", "NAME [PROPOSAL]", "Be elected, or see who is")
                .arg(go::switch("listen", "Only see").short('l')),
        )
        .subcommand(group(
            "auth",
            "Whether users and roles matter",
            vec![leaf("enable", "", "They do"), leaf("disable", "", "They do not")],
        ))
        .subcommand(users())
        .subcommand(roles())
        .subcommand(leaf("version", "", "Print the version"))
}

/// The lines of a transaction.
pub(super) fn operations() -> Command {
    Command::new("txn").no_binary_name(true).subcommands(key_value())
}

fn globals() -> Vec<Arg> {
    let text = |name: &'static str, help: &'static str| Arg::new(name).long(name).help(help).global(true);
    let file = |name, env, help| text(name, help).value_name("FILE").env(env).hide_env(true);
    let time = |name: &'static str, default: &'static str, help: &'static str| {
        text(name, help)
            .default_value(default)
            .value_name("DURATION")
            .value_parser(go::parse_duration)
    };
    vec![
        text("endpoints", "Members to talk to [default: 127.0.0.1:2379]")
            .action(ArgAction::Append)
            .value_name("HOST:PORT[,...]")
            .env("ETCDCTL_ENDPOINTS")
            .hide_env(true),
        text("write-out", "simple, json, or for members and endpoints table")
            .short('w')
            .default_value("simple")
            .value_name("FORMAT")
            .env("ETCDCTL_WRITE_OUT")
            .hide_env(true),
        go::switch("hex", "Print keys and values in hexadecimal").global(true),
        text(
            "user",
            "Who we are; the password is asked for when it is not given",
        )
        .value_name("NAME[:PASSWORD]")
        .env("ETCDCTL_USER")
        .hide_env(true)
        .hide_env_values(true),
        text("password", "Our password")
            .value_name("PASSWORD")
            .env("ETCDCTL_PASSWORD")
            .hide_env(true)
            .hide_env_values(true),
        file(
            "cacert",
            "ETCDCTL_CACERT",
            "Check the servers' certificates against this CA bundle",
        ),
        file("cert", "ETCDCTL_CERT", "Our certificate, for TLS"),
        file("key", "ETCDCTL_KEY", "Its key"),
        text("discovery-srv", "Ask the DNS of this domain for the members")
            .short('d')
            .value_name("DOMAIN")
            .env("ETCDCTL_DISCOVERY_SRV")
            .hide_env(true),
        time("dial-timeout", "2s", "Time a connection may take"),
        time("command-timeout", "5s", "Time a command may take"),
        go::switch("debug", "No effect").global(true).hide(true),
        go::switch(
            "insecure-transport",
            "Speak TLS only to https:// and where files for it are named [default: true]",
        )
        .default_value("true")
        .env("ETCDCTL_INSECURE_TRANSPORT")
        .hide_env(true)
        .global(true),
        go::switch(
            "insecure-skip-tls-verify",
            "Take any certificate of a server: against listeners, not against impostors",
        )
        .env("ETCDCTL_INSECURE_SKIP_TLS_VERIFY")
        .hide_env(true)
        .global(true),
        time(
            "keepalive-time",
            "2s",
            "Silence after which a server is asked for a sign of life; at least 10s",
        ),
        time(
            "keepalive-timeout",
            "6s",
            "Time it has for one, before another is tried",
        ),
    ]
}

fn key_value() -> Vec<Command> {
    let prefix = || go::switch("prefix", "All keys that begin so");
    let from_key = || go::switch("from-key", "All keys from this one on");
    let prev_kv = || go::switch("prev-kv", "And what was before");
    vec![
        leaf(
            "put",
            "KEY [VALUE]",
            "Put a key; the value is read from standard input when it is not given",
        )
        .args([
            option("lease", "ID", "A lease the key ends with, in hexadecimal"),
            prev_kv(),
            go::switch("ignore-value", "Leave the value"),
            go::switch("ignore-lease", "Leave the lease"),
        ]),
        leaf("get", "KEY [END]", "Get a key, or those from KEY up to END").args([
            prefix(),
            from_key(),
            option("consistency", "l|s", "Linearizable, or what the member knows"),
            option("order", "ORDER", "ASCEND or DESCEND"),
            option("sort-by", "WHAT", "CREATE, KEY, MODIFY, VALUE or VERSION"),
            integer("limit", "COUNT", "At most so many"),
            integer("rev", "REVISION", "As of this revision"),
            go::switch("keys-only", "No values"),
            go::switch("count-only", "Only how many"),
            go::switch("print-value-only", "No keys"),
        ]),
        leaf("del", "KEY [END]", "Delete a key, or those from KEY up to END").args([
            prefix(),
            from_key(),
            prev_kv(),
        ]),
    ]
}

fn watch() -> Command {
    Command::new("watch")
        .about("Watch a key, or those from KEY up to END; a program behind -- is run at each change")
        .args([
            Arg::new("rest").num_args(0..=2).value_name("KEY [END]"),
            Arg::new("command").num_args(0..).last(true).value_name("COMMAND"),
            go::switch("prefix", "All keys that begin so"),
            go::switch("prev-kv", "And what was before"),
            go::switch("progress-notify", "Say from time to time how far the watch is"),
            go::switch("interactive", "Not there").short('i').hide(true),
            integer("rev", "REVISION", "From this revision on"),
        ])
}

fn users() -> Command {
    let interactive = || go::switch("interactive", "Ask twice, without showing").default_value("true");
    group(
        "user",
        "Users",
        vec![
            leaf("list", "", "List the users"),
            leaf("add", "NAME[:PASSWORD]", "Add a user").args([
                interactive(),
                option("new-user-password", "PASSWORD", "The password"),
                go::switch("no-password", "None: a certificate's name is enough"),
            ]),
            leaf("get", "NAME", "Show a user's roles").arg(go::switch("detail", "And what they permit")),
            leaf("delete", "NAME", "Remove a user"),
            leaf("passwd", "NAME", "Change a user's password").arg(interactive()),
            leaf("grant-role", "NAME ROLE", "Give a user a role"),
            leaf("revoke-role", "NAME ROLE", "Take a role from a user"),
        ],
    )
}

fn roles() -> Command {
    let range = |sub: Command| {
        sub.args([
            go::switch("prefix", "All keys that begin so"),
            go::switch("from-key", "All keys from this one on"),
        ])
    };
    group(
        "role",
        "Roles",
        vec![
            leaf("list", "", "List the roles"),
            leaf("add", "NAME", "Add a role"),
            leaf("get", "NAME", "Show what a role permits"),
            leaf("delete", "NAME", "Remove a role"),
            range(leaf(
                "grant-permission",
                "NAME read|write|readwrite KEY [END]",
                "Let a role use keys",
            )),
            range(leaf(
                "revoke-permission",
                "NAME KEY [END]",
                "Let a role use keys no longer",
            )),
        ],
    )
}

fn group(name: &'static str, about: &'static str, verbs: Vec<Command>) -> Command {
    Command::new(name)
        .about(about)
        .subcommand_required(true)
        .arg_required_else_help(true)
        .subcommands(verbs)
}

/// A command with any number of words, so that what is wrong with them is said as etcdctl says it.
fn leaf(name: &'static str, words: &'static str, about: &'static str) -> Command {
    let rest = Arg::new("rest")
        .num_args(0..)
        .value_name(words)
        .hide(words.is_empty());
    Command::new(name).about(about).arg(rest)
}

/// A command of another program; says so whatever is behind it.
fn not_here(name: &'static str) -> Command {
    Command::new(name)
        .about("Not here: see etcdutl")
        .disable_help_flag(true)
        .arg(
            Arg::new("rest")
                .num_args(0..)
                .hide(true)
                .trailing_var_arg(true)
                .allow_hyphen_values(true),
        )
}

fn option(name: &'static str, value_name: &'static str, help: &'static str) -> Arg {
    Arg::new(name).long(name).value_name(value_name).help(help)
}

fn integer(name: &'static str, value_name: &'static str, help: &'static str) -> Arg {
    option(name, value_name, help)
        .action(ArgAction::Set)
        .allow_negative_numbers(true)
        .value_parser(value_parser!(i64))
}

fn cluster() -> Arg {
    go::switch("cluster", "Every member the cluster names, not --endpoints")
}
