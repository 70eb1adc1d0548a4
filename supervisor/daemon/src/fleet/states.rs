//! /state: what machines say of units.

use axum::body::Body;
use axum::http::{Response, StatusCode};
use corten_spec::fleet::UnitState;
use corten_spec::machine::MachineId;
use corten_spec::unit_name::UnitName;
use corten_store::fleet as tables;

use super::answer::{self, Refusal};
use super::wire::{StatePage, WireState};
use super::{Api, Query};

/// GET /state, by unit and machine if asked for.
pub async fn list(api: &Api, query: &Query) -> Result<Response<Body>, Refusal> {
    let token = query.page(api.token_limit)?;
    let (unit, machine) = (query.first("unitName"), query.first("machineID").map(MachineId));
    let mut states = match &unit {
        None => api.read(|tx| tables::states(tx)).await?,
        Some(unit) => match UnitName::parse(unit) {
            Ok(name) => api.read(|tx| tables::states_of(tx, &name)).await?,
            Err(_) => Vec::new(),
        },
    };
    states.retain(|state| machine.as_ref().is_none_or(|machine| state.machine == *machine));
    let (states, next) = token.cut(states);
    let states = states.into_iter().map(WireState::from).collect();
    Ok(answer::json(StatusCode::OK, &StatePage { next, states }))
}

/// GET /state/{name}: the first state of that name.
///
/// fleetctl crashes on a 404 while it waits for a unit it started (contract, trap 1), also when somebody else unloads the
/// unit meanwhile. A unit without a state is therefore answered with an empty one, which fleetctl takes for "not yet".
pub async fn get(api: &Api, name: &str) -> Result<Response<Body>, Refusal> {
    let missing = || Refusal::new(StatusCode::NOT_FOUND, "unit state does not exist");
    let name = UnitName::parse(name).map_err(|_| missing())?;
    let (states, unit) = api
        .read(|tx| Ok((tables::states_of(tx, &name)?, tables::unit(tx, &name)?)))
        .await?;
    let home = unit
        .as_ref()
        .and_then(|unit| unit.assigned.as_ref())
        .map(|assigned| &assigned.machine);
    let at_home = |state: &&UnitState| home.is_none_or(|home| state.machine == *home);
    let state = states.iter().find(at_home).or(states.first());
    match (state, unit) {
        (Some(state), _) => Ok(answer::json(StatusCode::OK, &WireState::from(state.clone()))),
        (None, Some(_)) => Ok(answer::json(StatusCode::OK, &WireState::default())),
        (None, None) => Err(missing()),
    }
}
