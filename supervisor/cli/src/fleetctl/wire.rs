//! The entities of fleet's API as they come and go over the wire. The API leaves empty fields out.

use std::collections::BTreeMap;

use corten_spec::machine;
use corten_spec::unit_file::{UnitFile, UnitOption};
use corten_spec::x_fleet;
use serde::{Deserialize, Serialize};

/// One line of a unit file.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct WireOption {
    pub(super) section: String,
    pub(super) name: String,
    pub(super) value: String,
}

/// A unit.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct Unit {
    pub(super) name: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) options: Vec<WireOption>,
    /// `inactive`, `loaded`, `launched`.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(super) desired_state: String,
    /// The same three; empty for a global unit.
    #[serde(skip_serializing)]
    pub(super) current_state: String,
    /// The machine it is on; empty when on none.
    #[serde(rename = "machineID", skip_serializing)]
    pub(super) machine_id: String,
    /// Corten's own: why it is on no machine although it should be, or why its machine does nothing about it.
    #[serde(skip_serializing)]
    pub(super) unplaced_reason: String,
    /// Corten's own: on so many machines a global unit may be down because of this change.
    #[serde(skip_deserializing, skip_serializing_if = "Option::is_none")]
    pub(super) max_unavailable: Option<usize>,
    /// Corten's own: how far such a change is, while it is under way.
    #[serde(skip_serializing)]
    pub(super) rollout: Option<Rollout>,
}

/// How far a global unit is replaced.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct Rollout {
    /// Machines that may have the new file.
    pub(super) allowed: usize,
    /// Machines that are to have it.
    pub(super) of: usize,
    pub(super) max_unavailable: usize,
    pub(super) reason: String,
}

/// What a machine says of a unit.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub(super) struct State {
    pub(super) name: String,
    pub(super) hash: String,
    #[serde(rename = "machineID")]
    pub(super) machine_id: String,
    #[serde(rename = "systemdLoadState")]
    pub(super) load: String,
    #[serde(rename = "systemdActiveState")]
    pub(super) active: String,
    #[serde(rename = "systemdSubState")]
    pub(super) sub: String,
    /// Corten's own: why systemd did not run it when it was asked to.
    #[serde(rename = "startError")]
    pub(super) start_error: String,
}

/// A machine.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub(super) struct Machine {
    pub(super) id: String,
    #[serde(rename = "primaryIP")]
    pub(super) ip: String,
    pub(super) metadata: BTreeMap<String, String>,
}

/// A change of one value of a machine's metadata.
#[derive(Debug, Serialize)]
pub(super) struct MetadataChange {
    op: &'static str,
    path: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    value: Option<MetadataValue>,
}

#[derive(Debug, Serialize)]
struct MetadataValue {
    value: String,
}

impl MetadataChange {
    /// `key` of the machine `id` gets this value, or none any more.
    pub(super) fn new(id: &str, key: &str, value: Option<&str>) -> MetadataChange {
        MetadataChange {
            op: if value.is_some() { "replace" } else { "remove" },
            path: format!("/{id}/metadata/{key}"),
            value: value.map(|value| MetadataValue {
                value: value.to_owned(),
            }),
        }
    }
}

/// A page of a list.
#[derive(Debug, Deserialize)]
pub(super) struct Page<T> {
    #[serde(alias = "units", alias = "states", alias = "machines")]
    pub(super) items: Option<Vec<T>>,
    #[serde(default, rename = "nextPageToken")]
    pub(super) next: Option<String>,
}

impl Unit {
    /// A unit to be created, or whose content is to be replaced.
    pub(super) fn of_file(name: &str, file: &UnitFile, desired: &str) -> Unit {
        let options = file.options.iter().cloned().map(WireOption::from).collect();
        Unit {
            name: name.to_owned(),
            options,
            desired_state: desired.to_owned(),
            ..Unit::default()
        }
    }

    /// Its unit file.
    pub(super) fn file(&self) -> UnitFile {
        UnitFile {
            options: self.options.iter().cloned().map(UnitOption::from).collect(),
        }
    }

    /// Why it is not as it should be, as far as anybody knows: on no machine, or on some with the file of before.
    pub(super) fn reason(&self) -> String {
        match &self.rollout {
            Some(rollout) => rollout.in_words(),
            None => self.unplaced_reason.clone(),
        }
    }

    /// Does it run on every machine?
    pub(super) fn is_global(&self) -> bool {
        x_fleet::is_global(&self.file())
    }
}

impl Rollout {
    /// `new on 1 of 3 machines; waits until it is active on machine m1`.
    pub(super) fn in_words(&self) -> String {
        let far = format!("new on {} of {} machines", self.allowed, self.of);
        let reason = Some(self.reason.as_str()).filter(|reason| !reason.is_empty());
        reason.map_or(far.clone(), |reason| format!("{far}; {reason}"))
    }
}

impl Machine {
    /// `1f2e3d4c...` or the whole id.
    pub(super) fn short(&self, full: bool) -> String {
        if full {
            self.id.clone()
        } else {
            format!("{}...", self.id.get(..8).unwrap_or(&self.id))
        }
    }

    /// The id and the address: `1f2e3d4c.../10.0.0.1`.
    pub(super) fn legend(&self, full: bool) -> String {
        let id = self.short(full);
        if self.ip.is_empty() {
            id
        } else {
            format!("{id}/{}", self.ip)
        }
    }

    /// `machine 0123abcd has trouble: systemd does not answer`.
    pub(super) fn trouble(&self) -> Option<String> {
        let machine = machine::Machine {
            id: machine::MachineId(self.id.clone()),
            primary_ip: self.ip.clone(),
            metadata: self.metadata.clone(),
            found: Default::default(),
        };
        machine.trouble_in_words()
    }
}

impl From<UnitOption> for WireOption {
    fn from(option: UnitOption) -> WireOption {
        WireOption {
            section: option.section,
            name: option.name,
            value: option.value,
        }
    }
}

impl From<WireOption> for UnitOption {
    fn from(option: WireOption) -> UnitOption {
        UnitOption {
            section: option.section,
            name: option.name,
            value: option.value,
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn pages_are_read_whatever_they_hold() {
        let units: Page<Unit> = serde_json::from_str(
            r#"{"units":[{"name":"a.service","options":[{"name":"X","section":"S"}]}],"nextPageToken":"t"}"#,
        )
        .unwrap();
        assert_eq!(units.items.unwrap()[0].options[0].name, "X");
        assert_eq!(units.next.unwrap(), "t");
        for empty in ["{}", r#"{"machines":[]}"#, r#"{"states":null}"#] {
            let page: Page<Machine> = serde_json::from_str(empty).unwrap();
            assert_eq!(page.items.unwrap_or_default(), [], "{empty}");
        }
    }

    #[test]
    fn what_is_sent_holds_what_the_server_wants() {
        let file = UnitFile::parse("[Service]\nExecStart=/bin/x\n").unwrap();
        let sent = serde_json::to_string(&Unit::of_file("a.service", &file, "inactive")).unwrap();
        let expected = r#"{"name":"a.service","options":[{"section":"Service","name":"ExecStart","value":"/bin/x"}],"desiredState":"inactive"}"#;
        assert_eq!(sent, expected);
    }

    #[test]
    fn metadata_is_changed_in_fleets_form_of_a_json_patch() {
        let changes = [Some("drain"), None].map(|value| MetadataChange::new("m1", "scheduling", value));
        let expected = r#"[{"op":"replace","path":"/m1/metadata/scheduling","value":{"value":"drain"}},{"op":"remove","path":"/m1/metadata/scheduling"}]"#;
        assert_eq!(serde_json::to_string(&changes).unwrap(), expected);
    }

    #[test]
    fn machines_are_named_by_id_and_address() {
        let machine = Machine {
            id: "0123456789abcdef".into(),
            ip: "10.0.0.1".into(),
            ..Machine::default()
        };
        assert_eq!(machine.legend(false), "01234567.../10.0.0.1");
        assert_eq!(machine.legend(true), "0123456789abcdef/10.0.0.1");
    }
}
