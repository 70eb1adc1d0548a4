//! What stands in each column of a list, as JSON. A list is one array with an object for each row, its keys the names of
//! the fields. A value is whole: ids and hashes are not cut short, what is not known is null, `global` is a boolean,
//! `metadata` an object; `machine` and `target` are ids.

use serde_json::{Value, json};

use super::wire::{Machine, State, Unit};

/// An object of these fields.
pub(super) fn object(fields: &[&str], value: impl Fn(&str) -> Value) -> Value {
    let pairs = fields.iter().map(|&field| (field.to_owned(), value(field)));
    Value::Object(pairs.collect())
}

/// A column of list-machines.
pub(super) fn machine_value(machine: &Machine, field: &str) -> Value {
    match field {
        "machine" => json!(machine.id),
        "ip" => or_null(&machine.ip),
        _ => json!(machine.metadata),
    }
}

/// A column of list-units.
pub(super) fn state_value(state: &State, field: &str) -> Value {
    or_null(match field {
        "unit" => &state.name,
        "load" => &state.load,
        "active" => &state.active,
        "sub" => &state.sub,
        "hash" => &state.hash,
        "reason" => &state.start_error,
        _ => &state.machine_id,
    })
}

/// A column of list-unit-files.
pub(super) fn unit_value(unit: &Unit, field: &str) -> Value {
    match field {
        "unit" => json!(unit.name),
        "global" => json!(unit.is_global()),
        "dstate" => or_null(&unit.desired_state),
        "state" => or_null(&unit.current_state),
        "hash" => json!(unit.file().hash()),
        "desc" => or_null(unit.file().description()),
        "reason" => or_null(&unit.reason()),
        _ => or_null(&unit.machine_id),
    }
}

fn or_null(text: &str) -> Value {
    if text.is_empty() { Value::Null } else { json!(text) }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use corten_spec::unit_file::UnitFile;

    use super::super::lists::{MACHINE_FIELDS, STATE_FIELDS, UNIT_FIELDS};
    use super::*;

    #[test]
    fn values_are_whole_and_null_where_nothing_is_known() {
        let values = |fields: &[&str], value: &dyn Fn(&str) -> Value| object(fields, value).to_string();
        let machine = Machine {
            id: "0123456789abcdef0123456789abcdef".into(),
            ip: "10.0.0.1".into(),
            metadata: [("a".to_owned(), "1".to_owned())].into(),
        };
        assert_eq!(
            values(&MACHINE_FIELDS, &|field| machine_value(&machine, field)),
            r#"{"ip":"10.0.0.1","machine":"0123456789abcdef0123456789abcdef","metadata":{"a":"1"}}"#
        );
        let state = State {
            name: "a.service".into(),
            active: "active".into(),
            machine_id: machine.id.clone(),
            ..State::default()
        };
        assert_eq!(
            values(&STATE_FIELDS, &|field| state_value(&state, field)),
            r#"{"active":"active","hash":null,"load":null,"machine":"0123456789abcdef0123456789abcdef","reason":null,"sub":null,"unit":"a.service"}"#
        );
        let unit = Unit::of_file(
            "a.service",
            &UnitFile::parse("[X-Fleet]\nGlobal=true\n").unwrap(),
            "launched",
        );
        assert_eq!(
            values(&UNIT_FIELDS[..5], &|field| unit_value(&unit, field)),
            format!(
                r#"{{"desc":null,"dstate":"launched","global":true,"hash":"{}","reason":null}}"#,
                unit.file().hash()
            )
        );
        assert_eq!(
            values(&UNIT_FIELDS[5..], &|field| unit_value(&unit, field)),
            r#"{"state":null,"target":null,"tmachine":null,"unit":"a.service"}"#
        );
    }
}
