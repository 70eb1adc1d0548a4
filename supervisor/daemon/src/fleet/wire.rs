//! The entities of the fleet API as they go over the wire: keys in alphabetical order, empty fields left out.

use std::collections::BTreeMap;
use std::num::NonZeroU32;

use corten_spec::fleet::UnitState;
use corten_spec::machine::Machine;
use corten_spec::unit_file::{UnitFile, UnitOption};
use corten_spec::unit_parse::UnitFileError;
use corten_store::fleet::Rollout;
use serde::{Deserialize, Serialize};

/// One option of a unit.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct WireOption {
    /// `key` of `key=value`.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub name: String,
    /// Section without brackets.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub section: String,
    /// The value.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub value: String,
}

/// A unit, as answered and as sent by clients.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct WireUnit {
    /// `inactive`, `loaded`, `launched`; ignored when sent.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub current_state: String,
    /// The same three.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub desired_state: String,
    /// Where it is scheduled.
    #[serde(rename = "machineID", skip_serializing_if = "String::is_empty")]
    pub machine_id: String,
    /// Ours, only sent: replace the unit, which is global, on a few machines at a time, so that it is down on so many at most.
    #[serde(skip_serializing)]
    pub max_unavailable: Option<NonZeroU32>,
    /// Full unit name.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub name: String,
    /// The unit file.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub options: Vec<WireOption>,
    /// Ours, only answered: how far that is, while it is under way.
    #[serde(skip_deserializing, skip_serializing_if = "Option::is_none")]
    pub rollout: Option<WireRollout>,
    /// Ours: why it is on no machine although it should be, or why it is where it is not yet. Clients of fleet ignore it.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub unplaced_reason: String,
}

/// A roll of a global unit. Machines that came after it began have the new file and are not counted.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct WireRollout {
    /// So many machines may have the new file.
    pub allowed: usize,
    /// On so many it may be down because of it.
    pub max_unavailable: u32,
    /// So many are to have it.
    pub of: usize,
    /// What it waits for, or why it has stopped.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub reason: String,
}

/// A page of units.
#[derive(Debug, Serialize)]
pub struct UnitPage {
    /// Token of the next page.
    #[serde(rename = "nextPageToken", skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
    /// The units, by name.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub units: Vec<WireUnit>,
}

/// What one machine says of one unit.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct WireState {
    /// SHA-1 of the unit file it runs.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub hash: String,
    /// The machine.
    #[serde(rename = "machineID", skip_serializing_if = "String::is_empty")]
    pub machine_id: String,
    /// The unit.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub name: String,
    /// ActiveState.
    #[serde(rename = "systemdActiveState", skip_serializing_if = "String::is_empty")]
    pub active: String,
    /// LoadState.
    #[serde(rename = "systemdLoadState", skip_serializing_if = "String::is_empty")]
    pub load: String,
    /// SubState.
    #[serde(rename = "systemdSubState", skip_serializing_if = "String::is_empty")]
    pub sub: String,
    /// Not fleet's: why systemd did not run it when it was asked to.
    #[serde(rename = "startError", skip_serializing_if = "String::is_empty")]
    pub start_error: String,
}

/// A page of states.
#[derive(Debug, Serialize)]
pub struct StatePage {
    /// Token of the next page.
    #[serde(rename = "nextPageToken", skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
    /// The states, by unit and machine.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub states: Vec<WireState>,
}

/// A machine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct WireMachine {
    /// Its id.
    pub id: String,
    /// `key=value`.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub metadata: BTreeMap<String, String>,
    /// Its address.
    #[serde(rename = "primaryIP", skip_serializing_if = "String::is_empty")]
    pub primary_ip: String,
}

/// A page of machines.
#[derive(Debug, Serialize)]
pub struct MachinePage {
    /// The machines, by id.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub machines: Vec<WireMachine>,
    /// Token of the next page.
    #[serde(rename = "nextPageToken", skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
}

/// One step of a PATCH of machines: `{"op":"add","path":"/<id>/metadata/<key>","value":{"value":"<text>"}}`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct PatchStep {
    /// add, remove or replace.
    pub op: String,
    /// Where.
    pub path: String,
    /// What, for add and replace. Nested, unlike in JSON Patch.
    pub value: Option<PatchValue>,
}

/// The value of a step.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct PatchValue {
    /// The text.
    #[serde(default)]
    pub value: String,
}

impl From<UnitOption> for WireOption {
    fn from(option: UnitOption) -> WireOption {
        WireOption {
            name: option.name,
            section: option.section,
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

/// A unit file of options that were sent, as it will be read back from a machine's disk: blanks around a value are gone,
/// and a line break in one begins a line. Were it stored as sent, the agent would find another content on the disk each
/// time it looks, and write it again for ever.
///
/// # Errors
/// The options do not print as a unit file.
pub fn file_of(options: Vec<WireOption>) -> Result<UnitFile, UnitFileError> {
    let sent = UnitFile {
        options: options.into_iter().map(UnitOption::from).collect(),
    };
    UnitFile::parse(&sent.to_string())
}

impl From<Rollout> for WireRollout {
    fn from(rollout: Rollout) -> WireRollout {
        WireRollout {
            of: rollout.of(),
            allowed: rollout.allowed.len(),
            max_unavailable: rollout.max_unavailable,
            reason: rollout.reason,
        }
    }
}

impl From<UnitState> for WireState {
    fn from(state: UnitState) -> WireState {
        WireState {
            hash: state.hash,
            machine_id: state.machine.0,
            name: state.name.to_string(),
            active: state.active,
            load: state.load,
            sub: state.sub,
            start_error: state.start_error,
        }
    }
}

impl From<Machine> for WireMachine {
    fn from(machine: Machine) -> WireMachine {
        WireMachine {
            id: machine.id.0,
            metadata: machine.metadata,
            primary_ip: machine.primary_ip,
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn empty_fields_are_left_out_and_keys_are_sorted() {
        assert_eq!(
            serde_json::to_string(&UnitPage {
                next: None,
                units: vec![]
            })
            .unwrap(),
            "{}"
        );
        let unit = WireUnit {
            current_state: "inactive".into(),
            desired_state: "launched".into(),
            name: "a.service".into(),
            options: vec![WireOption {
                name: "ExecStart".into(),
                section: "Service".into(),
                value: "x".into(),
            }],
            ..WireUnit::default()
        };
        assert_eq!(
            serde_json::to_string(&unit).unwrap(),
            r#"{"currentState":"inactive","desiredState":"launched","name":"a.service","options":[{"name":"ExecStart","section":"Service","value":"x"}]}"#
        );
    }

    #[test]
    fn a_file_is_taken_as_a_disk_gives_it_back() {
        let option = |name: &str, value: &str| WireOption {
            name: name.into(),
            section: "Service".into(),
            value: value.into(),
        };
        for (name, value, text) in [
            ("ExecStart", " /bin/true ", "ExecStart=/bin/true"),
            (" ExecStart ", "/bin/true\r", "ExecStart=/bin/true"),
            (
                "ExecStart",
                "/bin/true\n\nUser=core",
                "ExecStart=/bin/true\nUser=core",
            ),
        ] {
            let file = file_of(vec![option(name, value)]).unwrap();
            assert_eq!(file.to_string(), format!("[Service]\n{text}\n"));
            assert_eq!(UnitFile::parse(&file.to_string()).unwrap(), file, "{value:?}");
        }
        assert!(file_of(vec![option("A", "b\n[Unit] c")]).is_err());
    }

    #[test]
    fn the_patch_form_of_fleet_is_read_and_the_plain_one_refused() {
        let fleets =
            r#"[{"op":"add","path":"/m/metadata/k","value":{"value":"bar"}},{"op":"remove","path":"/p"}]"#;
        let steps: Vec<PatchStep> = serde_json::from_str(fleets).unwrap();
        assert_eq!(steps[0].value, Some(PatchValue { value: "bar".into() }));
        assert_eq!(steps[1].value, None);
        assert!(serde_json::from_str::<Vec<PatchStep>>(r#"[{"op":"add","value":"bar"}]"#).is_err());
    }
}
