//! A cloud-config as values. Names are the file's own; the contract `os-image.md` section 2.2 explains each.
//!
//! Holds nothing that was not readable: `decode` leaves such things out and says so.

use super::schema::Group;

/// A cloud-config, decoded.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CloudConfig {
    /// Keys for the user `core`.
    pub ssh_authorized_keys: Vec<Located<String>>,
    /// The machine's name.
    pub hostname: Option<Located<String>>,
    /// Users, in the order of the text.
    pub users: Vec<Located<User>>,
    /// Files, in the order of the text.
    pub write_files: Vec<Located<File>>,
    /// Whether /etc/hosts maps the machine's name to 127.0.0.1.
    pub manage_etc_hosts: Option<Located<()>>,
    /// The groups that become environment variables: line of the group, then variable and value.
    pub groups: Vec<(Group, Located<Variables>)>,
    /// `coreos.oem`.
    pub oem: Option<Located<Oem>>,
    /// `coreos.units`, in the order of the text.
    pub units: Vec<Located<Unit>>,
}

/// Environment variables: name and value, in the order of the group's keys.
pub type Variables = Vec<(String, String)>;

/// A value and its line.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Located<T> {
    /// Line in the text, from 1; 0 for what no text says.
    pub line: usize,
    /// The value.
    pub value: T,
}

/// An entry of `users`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[allow(missing_docs)] // the names are the file's own, each explained in the contract
pub struct User {
    pub name: String,
    pub passwd: String,
    pub ssh_authorized_keys: Vec<String>,
    pub imports_keys: bool,
    pub gecos: String,
    pub homedir: String,
    pub no_create_home: bool,
    pub primary_group: String,
    pub groups: Vec<String>,
    pub no_user_group: bool,
    pub system: bool,
    pub no_log_init: bool,
    pub shell: String,
}

/// An entry of `write_files`, its content decoded.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct File {
    /// Where.
    pub path: String,
    /// What.
    pub content: Vec<u8>,
    /// `user[:group]`, or empty.
    pub owner: String,
    /// The mode.
    pub mode: u32,
}

/// `coreos.oem`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct Oem {
    pub id: String,
    pub name: String,
    pub version_id: String,
    pub home_url: String,
    pub bug_report_url: String,
}

/// An entry of `coreos.units`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct Unit {
    pub name: String,
    pub mask: bool,
    pub enable: bool,
    pub runtime: bool,
    pub content: String,
    pub command: String,
    pub drop_ins: Vec<Located<DropIn>>,
}

/// A drop-in of a unit.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct DropIn {
    pub name: String,
    pub content: String,
}
