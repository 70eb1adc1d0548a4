//! Every key cloud-config knows, as a table: its type, what a value must look like, why it is deprecated, and the
//! environment variable it becomes. Validation and decoding both walk this table, so they cannot disagree.
//!
//! Source: the contract `os-image.md` section 2.2 (coreos-cloudinit at f1f0405). Refuses to do anything with values.

use super::checks;

/// What a value must be.
#[derive(Debug, Clone, Copy)]
pub enum Type {
    /// Any scalar, taken as text.
    Str,
    /// An integer.
    Int,
    /// An integer or a number.
    Float,
    /// A boolean of YAML 1.1.
    Bool,
    /// A sequence of one type.
    List(&'static Type),
    /// A mapping with known keys.
    Struct(&'static [Key]),
}

/// One key.
#[derive(Debug, Clone, Copy)]
pub struct Key {
    /// As written, with `_`.
    pub name: &'static str,
    /// What its value must be.
    pub of: Type,
    /// The suffix of its environment variable where that is not the name in capitals; a full name after `=`.
    pub env: Option<&'static str>,
    /// What its text must look like.
    pub valid: Option<fn(&str) -> bool>,
    /// Why it should not be used any more.
    pub deprecated: Option<&'static str>,
}

/// A mapping whose keys become environment variables.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Group {
    /// `coreos.etcd`, etcd 0.4.
    Etcd,
    /// `coreos.etcd2`.
    Etcd2,
    /// `coreos.flannel`.
    Flannel,
    /// `coreos.fleet`.
    Fleet,
    /// `coreos.locksmith`.
    Locksmith,
    /// `coreos.update`.
    Update,
}

impl Group {
    /// All of them, in the order they are applied.
    pub const ALL: [Group; 6] = [
        Group::Etcd,
        Group::Etcd2,
        Group::Flannel,
        Group::Fleet,
        Group::Locksmith,
        Group::Update,
    ];

    /// The key under `coreos`.
    pub fn name(self) -> &'static str {
        match self {
            Group::Etcd => "etcd",
            Group::Etcd2 => "etcd2",
            Group::Flannel => "flannel",
            Group::Fleet => "fleet",
            Group::Locksmith => "locksmith",
            Group::Update => "update",
        }
    }

    /// What its variables start with.
    pub fn prefix(self) -> &'static str {
        match self {
            Group::Etcd | Group::Etcd2 => "ETCD_",
            Group::Flannel => "FLANNELD_",
            Group::Fleet => "FLEET_",
            Group::Locksmith => "LOCKSMITHD_",
            Group::Update => "",
        }
    }

    /// Its keys.
    pub fn keys(self) -> &'static [Key] {
        match self {
            Group::Etcd => ETCD,
            Group::Etcd2 => ETCD2,
            Group::Flannel => FLANNEL,
            Group::Fleet => FLEET,
            Group::Locksmith => LOCKSMITH,
            Group::Update => UPDATE,
        }
    }

    /// The environment variable `key` becomes.
    pub fn variable(self, key: &Key) -> String {
        match key.env {
            Some(env) => env
                .strip_prefix('=')
                .map_or_else(|| format!("{}{env}", self.prefix()), str::to_owned),
            None => format!("{}{}", self.prefix(), key.name.to_uppercase()),
        }
    }
}

impl Type {
    /// The type as the validation report names it.
    pub fn human(self) -> String {
        match self {
            Type::Str => "string".to_owned(),
            Type::Int => "int".to_owned(),
            Type::Float => "float64".to_owned(),
            Type::Bool => "bool".to_owned(),
            Type::Struct(_) => "struct".to_owned(),
            Type::List(of) => format!("[]{}", of.human()),
        }
    }
}

const fn key(name: &'static str, of: Type) -> Key {
    Key {
        name,
        of,
        env: None,
        valid: None,
        deprecated: None,
    }
}

const fn text(name: &'static str) -> Key {
    key(name, Type::Str)
}

const fn int(name: &'static str) -> Key {
    key(name, Type::Int)
}

const fn float(name: &'static str) -> Key {
    key(name, Type::Float)
}

const fn flag(name: &'static str) -> Key {
    key(name, Type::Bool)
}

impl Key {
    const fn valid(self, check: fn(&str) -> bool) -> Key {
        Key {
            valid: Some(check),
            ..self
        }
    }
    const fn env(self, env: &'static str) -> Key {
        Key {
            env: Some(env),
            ..self
        }
    }
    const fn deprecated(self, why: &'static str) -> Key {
        Key {
            deprecated: Some(why),
            ..self
        }
    }
    const fn etcd2(self) -> Key {
        self.deprecated("etcd2 options no longer work for etcd")
    }
    const fn remote(self) -> Key {
        self.deprecated("trying to fetch from a remote endpoint introduces too many intermittent errors")
    }
}

const STRINGS: Type = Type::List(&Type::Str);

/// The whole document.
pub const CLOUD_CONFIG: Type = Type::Struct(TOP);

/// The keys of the whole document.
pub const TOP: &[Key] = &[
    key("ssh_authorized_keys", STRINGS),
    key("coreos", Type::Struct(COREOS)),
    key("write_files", Type::List(&Type::Struct(FILE))),
    text("hostname"),
    key("users", Type::List(&Type::Struct(USER))),
    text("manage_etc_hosts").valid(|v| v == "localhost"),
];

const COREOS: &[Key] = &[
    key("etcd", Type::Struct(ETCD)),
    key("etcd2", Type::Struct(ETCD2)),
    key("flannel", Type::Struct(FLANNEL)),
    key("fleet", Type::Struct(FLEET)),
    key("locksmith", Type::Struct(LOCKSMITH)),
    key("oem", Type::Struct(OEM)),
    key("update", Type::Struct(UPDATE)),
    key("units", Type::List(&Type::Struct(UNIT))),
];

/// The keys of an entry of `coreos.units`.
pub const UNIT: &[Key] = &[
    text("name"),
    flag("mask"),
    flag("enable"),
    flag("runtime"),
    text("content"),
    text("command").valid(checks::unit_command),
    key("drop_ins", Type::List(&Type::Struct(DROP_IN))),
];

/// The keys of a drop-in.
pub const DROP_IN: &[Key] = &[text("name"), text("content")];

/// The keys of an entry of `write_files`.
pub const FILE: &[Key] = &[
    text("encoding").valid(checks::encoding),
    text("content"),
    text("owner"),
    text("path"),
    text("permissions").valid(checks::permissions),
];

/// The keys of an entry of `users`.
pub const USER: &[Key] = &[
    text("name"),
    text("passwd"),
    key("ssh_authorized_keys", STRINGS),
    text("coreos_ssh_import_github").remote(),
    key("coreos_ssh_import_github_users", STRINGS).remote(),
    text("coreos_ssh_import_url").remote(),
    text("gecos"),
    text("homedir"),
    flag("no_create_home"),
    text("primary_group"),
    key("groups", STRINGS),
    flag("no_user_group"),
    flag("system"),
    flag("no_log_init"),
    text("shell"),
];

/// The keys of `coreos.oem`.
pub const OEM: &[Key] = &[
    text("id"),
    text("name"),
    text("version_id"),
    text("home_url"),
    text("bug_report_url"),
];

const FLANNEL: &[Key] = &[
    text("etcd_endpoints"),
    text("etcd_cafile"),
    text("etcd_certfile"),
    text("etcd_keyfile"),
    text("etcd_prefix"),
    text("etcd_username"),
    text("etcd_password"),
    text("ip_masq"),
    text("subnet_file"),
    text("interface").env("IFACE"),
    text("public_ip"),
];

const FLEET: &[Key] = &[
    text("agent_ttl"),
    text("authorized_keys_file"),
    flag("disable_engine"),
    float("engine_reconcile_interval"),
    text("etcd_cafile"),
    text("etcd_certfile"),
    text("etcd_keyfile"),
    text("etcd_key_prefix"),
    float("etcd_request_timeout"),
    text("etcd_servers"),
    text("etcd_username"),
    text("etcd_password"),
    text("metadata"),
    text("public_ip"),
    int("token_limit"),
    int("verbosity"),
    flag("verify_units"),
];

const LOCKSMITH: &[Key] = &[
    text("endpoint"),
    text("etcd_cafile"),
    text("etcd_certfile"),
    text("etcd_keyfile"),
    text("etcd_username"),
    text("etcd_password"),
    text("group"),
    text("window_start")
        .env("=REBOOT_WINDOW_START")
        .valid(checks::window_start),
    text("window_length")
        .env("=REBOOT_WINDOW_LENGTH")
        .valid(checks::window_length),
];

const UPDATE: &[Key] = &[
    text("reboot_strategy").valid(|v| matches!(v, "etcd-lock" | "reboot" | "off")),
    text("group"),
    text("server"),
];

const ETCD2: &[Key] = &[
    text("advertise_client_urls"),
    text("ca_file").deprecated("ca_file obsoleted by trusted_ca_file and client_cert_auth"),
    text("cert_file"),
    flag("client_cert_auth"),
    text("cors"),
    text("data_dir"),
    flag("debug"),
    text("discovery"),
    text("discovery_fallback"),
    text("discovery_srv"),
    text("discovery_proxy"),
    int("election_timeout"),
    flag("enable_pprof"),
    flag("force_new_cluster"),
    int("heartbeat_interval"),
    text("initial_advertise_peer_urls"),
    text("initial_cluster"),
    text("initial_cluster_state"),
    text("initial_cluster_token"),
    text("key_file"),
    text("listen_client_urls"),
    text("listen_peer_urls"),
    text("log_package_levels"),
    int("max_snapshots"),
    int("max_wals"),
    text("name"),
    text("peer_ca_file").deprecated("peer_ca_file obsoleted peer_trusted_ca_file and peer_client_cert_auth"),
    text("peer_cert_file"),
    text("peer_key_file"),
    flag("peer_client_cert_auth"),
    text("peer_trusted_ca_file"),
    text("proxy").valid(|v| matches!(v, "on" | "off" | "readonly")),
    int("proxy_dial_timeout"),
    int("proxy_failure_wait"),
    int("proxy_read_timeout"),
    int("proxy_refresh_interval"),
    int("proxy_write_timeout"),
    int("snapshot_count"),
    flag("strict_reconfig_check"),
    text("trusted_ca_file"),
    text("wal_dir"),
];

const ETCD: &[Key] = &[
    text("addr"),
    text("advertise_client_urls").etcd2(),
    text("bind_addr"),
    text("ca_file"),
    text("cert_file"),
    int("cluster_active_size"),
    float("cluster_remove_delay"),
    float("cluster_sync_interval"),
    text("cors"),
    text("cpu_profile_file"),
    text("data_dir"),
    text("discovery"),
    text("discovery_fallback").etcd2(),
    text("discovery_srv").etcd2(),
    text("discovery_proxy").etcd2(),
    int("election_timeout").etcd2(),
    flag("force_new_cluster").etcd2(),
    text("graphite_host"),
    int("heartbeat_interval").etcd2(),
    float("http_read_timeout"),
    float("http_write_timeout"),
    text("initial_advertise_peer_urls").etcd2(),
    text("initial_cluster").etcd2(),
    text("initial_cluster_state").etcd2(),
    text("initial_cluster_token").etcd2(),
    text("key_file"),
    text("listen_client_urls").etcd2(),
    text("listen_peer_urls").etcd2(),
    int("max_result_buffer"),
    int("max_retry_attempts"),
    int("max_snapshots").etcd2(),
    int("max_wals").etcd2(),
    text("name"),
    text("peer_addr"),
    text("peer_bind_addr"),
    text("peer_ca_file"),
    text("peer_cert_file"),
    int("peer_election_timeout"),
    int("peer_heartbeat_interval"),
    text("peer_key_file"),
    text("peers"),
    text("peers_file"),
    text("proxy").etcd2(),
    float("retry_interval"),
    flag("snapshot"),
    int("snapshot_count").env("SNAPSHOTCOUNT"),
    text("trace"),
    flag("verbose"),
    flag("very_verbose"),
    flag("very_very_verbose"),
];
