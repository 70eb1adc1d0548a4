//! The command line: what may be said, and the help that teaches it.

use clap::{Arg, ArgAction, Command, value_parser};

use crate::go;

/// Commands of etcdctl that do nothing here but say what to do instead.
pub(super) const LATER: [&str; 2] = ["backup", "import"];

const EXAMPLES: &str = "\
Examples:
  etcdctl set /services/web 10.0.0.1:80        write a key (directories above it appear by themselves)
  etcdctl set --ttl 30 /services/web up        ... that goes away after 30 seconds
  etcdctl get /services/web                    read it
  etcdctl set --swap-with-value a /lock b      write only if the value is still a (compare and swap)
  etcdctl ls --recursive -p /                  list everything; directories end in /
  etcdctl watch --forever --recursive /services
  etcdctl exec-watch --recursive /services -- sh -c 'echo $ETCD_WATCH_KEY is $ETCD_WATCH_VALUE'
  etcdctl -C http://10.0.0.1:2379 cluster-health

Environment: ETCDCTL_ENDPOINTS, ETCDCTL_CA_FILE, ETCDCTL_CERT_FILE, ETCDCTL_KEY_FILE stand for the options of that name.
Exit codes: 0 ok, 1 wrong arguments, 2 no connection, 4 error of the server, 5 cluster not healthy.";

/// The whole command line.
pub(super) fn command() -> Command {
    let mut command = Command::new("etcdctl")
        .about("A simple command line client for etcd's v2 keys API")
        .after_help(EXAMPLES)
        .disable_version_flag(true)
        // The last one counts, as for etcdctl.
        .args_override_self(true)
        .subcommand_value_name("COMMAND")
        .args(globals());
    for sub in key_commands() {
        command = command.subcommand(sub);
    }
    command = command
        .subcommand(watch())
        .subcommand(exec_watch())
        .subcommand(cluster_health())
        .subcommand(member())
        .subcommand(user())
        .subcommand(role())
        .subcommand(auth());
    for name in LATER {
        command = command.subcommand(
            Command::new(name).hide(true).disable_help_flag(true).arg(
                Arg::new("rest")
                    .num_args(0..)
                    .trailing_var_arg(true)
                    .allow_hyphen_values(true),
            ),
        );
    }
    command
}

fn globals() -> Vec<Arg> {
    let text = |name: &'static str, help: &'static str| Arg::new(name).long(name).help(help).global(true);
    let file = |name, help| text(name, help).value_name("FILE");
    let urls = |name, help| text(name, help).value_name("URL[,URL...]");
    vec![
        go::switch(
            "debug",
            "Print cURL commands which can be used to reproduce the requests",
        )
        .global(true),
        go::switch(
            "no-sync",
            "Don't ask the cluster for its members' addresses before the request",
        )
        .global(true),
        text("output", "Print the answer as simple, extended or json")
            .short('o')
            .default_value("simple")
            .value_name("FORMAT"),
        urls(
            "endpoints",
            "Members to talk to [default: http://127.0.0.1:2379,http://127.0.0.1:4001]",
        )
        .env("ETCDCTL_ENDPOINTS"),
        urls("endpoint", "The older name of --endpoints")
            .env("ETCDCTL_ENDPOINT")
            .hide(true),
        urls("peers", "The oldest name of --endpoints")
            .short('C')
            .env("ETCDCTL_PEERS")
            .hide_env(true),
        text(
            "discovery-srv",
            "Ask the DNS of this domain for the members (SRV records etcd-client-ssl and etcd-client)",
        )
        .short('D')
        .value_name("DOMAIN")
        .env("ETCDCTL_DISCOVERY_SRV")
        .hide_env(true),
        go::switch(
            "insecure-discovery",
            "Accept members found at http:// URLs; they always are",
        )
        .hide(true)
        .global(true),
        file("cert-file", "Our certificate, for https")
            .env("ETCDCTL_CERT_FILE")
            .hide_env(true),
        file("key-file", "Its key").env("ETCDCTL_KEY_FILE").hide_env(true),
        file(
            "ca-file",
            "Check the servers' certificates against this CA bundle",
        )
        .env("ETCDCTL_CA_FILE")
        .hide_env(true),
        text(
            "username",
            "Who we are; the password is asked for when it is not given",
        )
        .short('u')
        .value_name("NAME[:PASSWORD]")
        .env("ETCDCTL_USERNAME")
        .hide_env_values(true),
        duration("timeout", "2s", "Time one request to one member may take"),
        duration(
            "total-timeout",
            "5s",
            "Time the whole command may take (watches excepted)",
        ),
        go::switch("version", "Print the version").short('v'),
    ]
}

fn duration(name: &'static str, default: &'static str, help: &'static str) -> Arg {
    Arg::new(name)
        .long(name)
        .help(help)
        .default_value(default)
        .value_name("DURATION")
        .value_parser(go::parse_duration)
        .global(true)
}

fn key_commands() -> Vec<Command> {
    let quorum = || go::switch("quorum", "Ask the whole cluster, not one member's memory").short('q');
    let sort = || go::switch("sort", "In sorted order");
    let recursive = |help| go::switch("recursive", help).short('r');
    vec![
        sub("set", "Set the value of a key")
            .after_help("The value is read from standard input when it is not given.\nA value that begins with - stands after --: etcdctl set -- KEY -5")
            .args([ttl(), value_was("swap-with-value"), index_was("swap-with-index"), key(), value()]),
        sub("mk", "Make a new key with a given value")
            .args([go::switch("in-order", "Make a key with the next number under directory KEY"), ttl(), key(), value()]),
        sub("update", "Update an existing key with a given value").args([ttl(), key(), value()]),
        sub("get", "Retrieve the value of a key").args([sort(), quorum(), key()]),
        sub("rm", "Remove a key or a directory").args([
            go::switch("dir", "Also remove an empty directory"),
            recursive("Also remove all below it"),
            value_was("with-value"),
            index_was("with-index"),
            key(),
        ]),
        sub("rmdir", "Remove a key or an empty directory").arg(key()),
        sub("mkdir", "Make a new directory").args([ttl(), key()]),
        sub("setdir", "Make a directory, or set the TTL of an existing one").args([ttl(), key()]),
        sub("updatedir", "Set the TTL of an existing directory").args([ttl(), key()]),
        sub("ls", "List a directory").args([
            sort(),
            recursive("List all below it"),
            go::switch("p", "Append a slash to directories").short('p'),
            quorum(),
            key(),
        ]),
    ]
}

fn watch() -> Command {
    sub("watch", "Watch a key for changes").args([
        go::switch("forever", "Watch until CTRL+C, not for one change").short('f'),
        after_index(),
        go::switch("recursive", "Watch all below it too").short('r'),
        key(),
    ])
}

fn exec_watch() -> Command {
    sub("exec-watch", "Watch a key for changes and run a program at each")
        .after_help("The program finds ETCD_WATCH_ACTION, ETCD_WATCH_KEY, ETCD_WATCH_VALUE and ETCD_WATCH_MODIFIED_INDEX in its environment.")
        .args([
            after_index(),
            go::switch("recursive", "Watch all below it too").short('r'),
            key(),
            Arg::new("command")
                .help("The program and its arguments, after --")
                .num_args(0..)
                .trailing_var_arg(true)
                .allow_hyphen_values(true),
        ])
}

fn cluster_health() -> Command {
    sub("cluster-health", "Check the health of the cluster")
        .arg(go::switch("forever", "Check every 10 seconds until CTRL+C").short('f'))
}

fn member() -> Command {
    let rest = || Arg::new("rest").num_args(0..).hide(true);
    sub("member", "List, add, remove and update members")
        .subcommand_required(true)
        .arg_required_else_help(true)
        .subcommand(sub("list", "List the members").arg(rest()))
        .subcommand(
            sub("add", "Add a member: NAME PEER-URL").arg(rest().value_name("NAME PEER-URL").hide(false)),
        )
        .subcommand(sub("remove", "Remove a member: ID").arg(rest().value_name("ID").hide(false)))
        .subcommand(
            sub("update", "Change a member: ID PEER-URL[,URL...]")
                .arg(rest().value_name("ID URLS").hide(false)),
        )
}

fn words(name: &'static str) -> Arg {
    Arg::new("rest").num_args(0..).value_name(name)
}

fn user() -> Command {
    let roles = || {
        Arg::new("roles")
            .long("roles")
            .value_name("ROLE")
            .help("A role; may be given several times")
            .action(ArgAction::Append)
    };
    sub("user", "Add, change and remove users")
        .subcommand_required(true)
        .arg_required_else_help(true)
        .subcommand(sub("list", "List the users").arg(words("").hide(true)))
        .subcommand(
            sub(
                "add",
                "Add a user; the password is asked for when it is not given",
            )
            .arg(words("NAME[:PASSWORD]")),
        )
        .subcommand(sub("get", "Show a user's roles").arg(words("NAME")))
        .subcommand(sub("remove", "Remove a user").arg(words("NAME")))
        .subcommand(sub("grant", "Give a user roles").args([roles(), words("NAME")]))
        .subcommand(sub("revoke", "Take roles from a user").args([roles(), words("NAME")]))
        .subcommand(sub("passwd", "Change a user's password").arg(words("NAME")))
}

fn role() -> Command {
    let change = |name, about| {
        sub(name, about).args([
            Arg::new("path")
                .long("path")
                .value_name("PATH")
                .help("A key, or with * at its end all that begin so"),
            go::switch("read", "Reading"),
            go::switch("write", "Writing"),
            go::switch("readwrite", "Both").visible_alias("rw"),
            words("NAME"),
        ])
    };
    sub("role", "Add, change and remove roles")
        .subcommand_required(true)
        .arg_required_else_help(true)
        .subcommand(sub("list", "List the roles").arg(words("").hide(true)))
        .subcommand(sub("add", "Add a role").arg(words("NAME")))
        .subcommand(sub("get", "Show what a role permits").arg(words("NAME")))
        .subcommand(sub("remove", "Remove a role").arg(words("NAME")))
        .subcommand(change("grant", "Let a role use keys"))
        .subcommand(change("revoke", "Let a role use keys no longer"))
}

fn auth() -> Command {
    sub("auth", "Whether users and roles matter")
        .subcommand_required(true)
        .arg_required_else_help(true)
        .subcommand(sub("enable", "They do: a user root must be there").arg(words("").hide(true)))
        .subcommand(sub("disable", "They do not").arg(words("").hide(true)))
}

fn sub(name: &'static str, about: &'static str) -> Command {
    Command::new(name).about(about)
}

fn key() -> Arg {
    Arg::new("key").value_name("KEY").help("The key, as in /dir/key")
}

fn value() -> Arg {
    // Go's etcdctl lets further words pass; the value is the first.
    Arg::new("value")
        .value_name("VALUE")
        .help("Its value; standard input when absent")
        .num_args(0..)
}

fn ttl() -> Arg {
    number("ttl", "SECONDS", "The time after which it goes away; 0 is never")
}

fn after_index() -> Arg {
    number(
        "after-index",
        "INDEX",
        "Watch for changes after this index, the past included",
    )
}

fn value_was(name: &'static str) -> Arg {
    Arg::new(name)
        .long(name)
        .value_name("VALUE")
        .help("Only if this is the value now")
}

fn index_was(name: &'static str) -> Arg {
    number(name, "INDEX", "Only if this is the index of the last change")
}

fn number(name: &'static str, value_name: &'static str, help: &'static str) -> Arg {
    Arg::new(name)
        .long(name)
        .value_name(value_name)
        .help(help)
        .action(ArgAction::Set)
        .default_value("0")
        .hide_default_value(true)
        .allow_negative_numbers(true)
        .value_parser(value_parser!(i64))
}
