//! `list-machines`, `list-units`, `list-unit-files`: what stands in each column of the table; in JSON it is [`json`]'s.

use std::collections::BTreeMap;

use clap::ArgMatches;
use clap::parser::ValueSource;
use serde_json::Value;

use super::api::Api;
use super::fault::{ApiFault, Failure};
use super::json::{self, machine_value, state_value, unit_value};
use super::table;
use super::wire::{Machine, State, Unit};
use crate::go;
use crate::terminal::{say, tell};

/// Columns of list-machines.
pub(super) const MACHINE_FIELDS: [&str; 3] = ["ip", "machine", "metadata"];
/// Columns of list-units.
pub(super) const STATE_FIELDS: [&str; 7] = ["active", "hash", "load", "machine", "reason", "sub", "unit"];
/// Columns of list-unit-files; `reason` is our own.
pub(super) const UNIT_FIELDS: [&str; 9] = [
    "desc", "dstate", "global", "hash", "reason", "state", "target", "tmachine", "unit",
];

/// Characters of a hash that are shown unless `--full`.
const SHORT_HASH: usize = 7;

/// Machines by their ids.
type Machines = BTreeMap<String, Machine>;

fn by_id(machines: Vec<Machine>) -> Machines {
    let keyed = machines.into_iter().map(|machine| (machine.id.clone(), machine));
    keyed.collect()
}

/// Runs `list-machines`.
pub(super) async fn machines(api: &mut Api, matches: &ArgMatches) -> Result<(), Failure> {
    let view = View::read(matches, &MACHINE_FIELDS)?;
    let machines = api.machines().await.map_err(|fault| {
        let text = format!("Error retrieving list of active machines from fleet API ({fault})");
        // fleet says so of every fault, also where no API was there to ask.
        let possible = match fault {
            ApiFault::Refused { .. } => {
                "\nPossible issues:\n  etcd is unhealthy and/or lost quorum\n  \
                 connection cannot be established to any etcd servers"
            }
            _ => "",
        };
        Failure::new(text + possible)
    })?;
    view.print(
        &machines,
        |machine, field| machine_field(machine, field, view.full),
        machine_value,
    );
    Ok(())
}

/// Runs `list-units`.
pub(super) async fn units(api: &mut Api, matches: &ArgMatches) -> Result<(), Failure> {
    let view = View::read(matches, &STATE_FIELDS)?;
    let machines = view.machines(api, "machine").await?;
    let states = api.states().await.map_err(retrieving)?;
    let places = states.iter().map(|state| state.machine_id.as_str());
    let machines = view.with_newcomers(api, machines, places).await;
    view.print(
        &states,
        |state, field| state_field(state, field, view.full, &machines),
        state_value,
    );
    Ok(())
}

/// Runs `list-unit-files`.
pub(super) async fn unit_files(api: &mut Api, matches: &ArgMatches) -> Result<(), Failure> {
    let view = View::read(matches, &UNIT_FIELDS)?;
    if view.fields.iter().any(|field| field == "tmachine") {
        tell("WARNING: The \"tmachine\" field is deprecated. Use \"target\" instead");
    }
    let machines = view.machines(api, "target").await?;
    let units = api.units().await.map_err(retrieving)?;
    let places = units.iter().map(|unit| unit.machine_id.as_str());
    let machines = view.with_newcomers(api, machines, places).await;
    view.print(
        &units,
        |unit, field| unit_field(unit, field, view.full, &machines),
        unit_value,
    );
    Ok(())
}

#[allow(clippy::needless_pass_by_value)] // the shape that map_err wants
fn retrieving(fault: ApiFault) -> Failure {
    Failure::new(format!("Error retrieving list of units from repository: {fault}"))
}

/// How the list is to be shown.
struct View {
    fields: Vec<String>,
    full: bool,
    legend: bool,
    json: bool,
}

impl View {
    fn read(matches: &ArgMatches, known: &[&str]) -> Result<View, Failure> {
        let fields = matches.get_one::<String>("fields").cloned().unwrap_or_default();
        let valid = format!("Valid keys: {}", known.join(", "));
        if fields.is_empty() {
            return Err(Failure::new(format!("Must define output format\n{valid}")));
        }
        let mut fields: Vec<String> = fields.split(',').map(str::to_owned).collect();
        if let Some(wrong) = fields.iter().find(|field| !known.contains(&field.as_str())) {
            return Err(Failure::new(format!(
                "Invalid key in output format: {wrong:?}\n{valid}"
            )));
        }
        let json = matches
            .get_one::<String>("output")
            .is_some_and(|format| format == "json");
        if json && matches.value_source("fields") == Some(ValueSource::DefaultValue) {
            fields = known.iter().map(|&field| field.to_owned()).collect();
            fields.retain(|field| field != "tmachine");
        }
        Ok(View {
            json,
            fields,
            full: go::switch_on(matches, "full"),
            legend: !go::switch_on(matches, "no-legend"),
        })
    }

    /// Prints a row for each of `items`, in cells or in values.
    fn print<T>(&self, items: &[T], cell: impl Fn(&T, &str) -> String, value: impl Fn(&T, &str) -> Value) {
        if self.json {
            let fields: Vec<&str> = self.fields.iter().map(String::as_str).collect();
            let row = |item| json::object(&fields, |field| value(item, field));
            say(Value::Array(items.iter().map(row).collect()).to_string());
            return;
        }
        let legend = self
            .legend
            .then(|| self.fields.iter().map(|field| field.to_uppercase()).collect());
        let row = |item| self.fields.iter().map(|field| cell(item, field)).collect();
        let rows: Vec<Vec<String>> = legend.into_iter().chain(items.iter().map(row)).collect();
        table::lay_out(&rows).iter().for_each(say);
    }

    /// The machines, where a column shows their addresses. They are asked for before what runs on them: of a machine that is
    /// lost in between nothing is left to show then, and none stands without its address.
    ///
    /// A list without them is better than none; but where nobody can be reached there is no list either, and who tried again
    /// would say the reason twice.
    async fn machines(&self, api: &mut Api, field: &str) -> Result<Option<Machines>, Failure> {
        let shown = self
            .fields
            .iter()
            .any(|shown| shown.ends_with(field) || shown == "tmachine");
        if !shown || self.json {
            return Ok(None);
        }
        match api.machines().await {
            Ok(machines) => Ok(Some(by_id(machines))),
            Err(fault @ ApiFault::Send { .. }) if !fault.is_passing() => Err(retrieving(fault)),
            Err(_) => Ok(Some(Machines::new())),
        }
    }

    /// `machines`, asked for again where something runs at a place that came after them.
    async fn with_newcomers<'a>(
        &self,
        api: &mut Api,
        machines: Option<Machines>,
        mut places: impl Iterator<Item = &'a str>,
    ) -> Machines {
        let Some(machines) = machines else {
            return Machines::new();
        };
        match places.all(|place| place.is_empty() || machines.contains_key(place)) {
            true => machines,
            false => api.machines().await.map_or(machines, by_id),
        }
    }
}

fn machine_field(machine: &Machine, field: &str, full: bool) -> String {
    match field {
        "machine" => machine.short(full),
        "ip" => or_dash(&machine.ip),
        _ => {
            let pairs: Vec<String> = machine
                .metadata
                .iter()
                .map(|(key, value)| format!("{key}={value}"))
                .collect();
            or_dash(&pairs.join(","))
        }
    }
}

fn state_field(state: &State, field: &str, full: bool, machines: &Machines) -> String {
    match field {
        "unit" => state.name.clone(),
        "load" => state.load.clone(),
        "active" => state.active.clone(),
        "sub" => state.sub.clone(),
        "hash" => or_dash(shortened(&state.hash, full)),
        "reason" => or_dash(&state.start_error),
        _ => where_is(&state.machine_id, full, machines),
    }
}

fn unit_field(unit: &Unit, field: &str, full: bool, machines: &Machines) -> String {
    match field {
        "unit" => unit.name.clone(),
        "global" => unit.is_global().to_string(),
        "dstate" => or_dash(&unit.desired_state),
        "state" if unit.is_global() => "-".to_owned(),
        "state" => or_dash(&unit.current_state),
        "hash" => shortened(&unit.file().hash(), full).to_owned(),
        "desc" => or_dash(unit.file().description()),
        "reason" => or_dash(&unit.reason()),
        _ if unit.is_global() => "global".to_owned(),
        _ => where_is(&unit.machine_id, full, machines),
    }
}

fn where_is(id: &str, full: bool, machines: &Machines) -> String {
    if id.is_empty() {
        return "-".to_owned();
    }
    match machines.get(id) {
        Some(machine) => machine.legend(full),
        None => Machine {
            id: id.to_owned(),
            ..Machine::default()
        }
        .legend(full),
    }
}

fn shortened(hash: &str, full: bool) -> &str {
    if full {
        hash
    } else {
        hash.get(..SHORT_HASH).unwrap_or(hash)
    }
}

fn or_dash(text: &str) -> String {
    if text.is_empty() {
        "-".to_owned()
    } else {
        text.to_owned()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use corten_spec::unit_file::UnitFile;

    use super::super::wire::Rollout;
    use super::*;

    fn machine() -> Machine {
        let metadata = [("b", "2"), ("a", "1")]
            .map(|(key, value)| (key.to_owned(), value.to_owned()))
            .into();
        Machine {
            id: "0123456789abcdef0123456789abcdef".into(),
            ip: "10.0.0.1".into(),
            metadata,
        }
    }

    #[test]
    fn machines_have_their_columns() {
        let bare = Machine {
            ip: String::new(),
            metadata: Default::default(),
            ..machine()
        };
        assert_eq!(machine_field(&machine(), "machine", false), "01234567...");
        assert_eq!(machine_field(&machine(), "machine", true), machine().id);
        assert_eq!(machine_field(&machine(), "metadata", false), "a=1,b=2");
        assert_eq!(machine_field(&bare, "ip", false), "-");
        assert_eq!(machine_field(&bare, "metadata", false), "-");
    }

    #[test]
    fn states_have_their_columns() {
        let state = State {
            name: "a.service".into(),
            hash: "3750b3e9f3962a56c7582929426e9abb012754cf".into(),
            machine_id: machine().id,
            ..State::default()
        };
        let none = Machines::new();
        assert_eq!(
            state_field(&state, "machine", false, &by_id(vec![machine()])),
            "01234567.../10.0.0.1"
        );
        assert_eq!(state_field(&state, "machine", false, &none), "01234567...");
        assert_eq!(state_field(&state, "reason", false, &none), "-");
        assert_eq!(state_field(&state, "hash", false, &none), "3750b3e");
        assert_eq!(
            state_field(
                &State {
                    hash: "abc".into(),
                    ..state.clone()
                },
                "hash",
                false,
                &none
            ),
            "abc"
        );
        assert_eq!(state_field(&State::default(), "hash", false, &none), "-");
        assert_eq!(state_field(&State::default(), "machine", false, &none), "-");
    }

    #[test]
    fn unit_files_have_their_columns() {
        let none = Machines::new();
        let file = UnitFile::parse("[Unit]\nDescription=d e\n").unwrap();
        let unit = Unit {
            current_state: "inactive".into(),
            ..Unit::of_file("a.service", &file, "launched")
        };
        let global = UnitFile::parse("[X-Fleet]\nGlobal=true\n").unwrap();
        let global = Unit::of_file("g.service", &global, "launched");
        let rolling = Unit {
            rollout: Some(Rollout {
                allowed: 1,
                of: 3,
                reason: "stopped: why".into(),
                ..Rollout::default()
            }),
            ..global.clone()
        };
        assert_eq!(
            unit_field(&rolling, "reason", false, &none),
            "new on 1 of 3 machines; stopped: why"
        );
        let row = |unit: &Unit| {
            ["desc", "dstate", "state", "target", "global", "reason"]
                .map(|f| unit_field(unit, f, false, &none))
        };
        assert_eq!(row(&unit), ["d e", "launched", "inactive", "-", "false", "-"]);
        assert_eq!(row(&global), ["-", "launched", "-", "global", "true", "-"]);
    }
}
