//! /units: reading, creating, changing and destroying units.

use std::num::NonZeroU32;
use std::time::Instant;

use axum::body::Body;
use axum::http::{HeaderMap, Response, StatusCode, header};
use corten_raft::ReadTx;
use corten_spec::fleet::{JobState, UnitState};
use corten_spec::quote::go_quote;
use corten_spec::unit_file::{SIZE_MAX, UnitFile};
use corten_spec::unit_name::UnitName;
use corten_spec::x_fleet;
use corten_store::StoreFault;
use corten_store::fleet::{self, Answer, Command, UnitRecord};
use corten_store::tables::Read;

use super::answer::{self, Refusal};
use super::wire::{self, UnitPage, WireUnit};
use super::{Api, Query};

/// GET /units
pub async fn list(api: &Api, query: &Query) -> Result<Response<Body>, Refusal> {
    let token = query.page(api.token_limit)?;
    let records = api.read(|tx| fleet::units(tx)).await?;
    let (records, next) = token.cut(records);
    let units = api.local(|tx| {
        records
            .into_iter()
            .map(|record| show(api, tx, record))
            .collect::<Result<Vec<_>, _>>()
    })?;
    Ok(answer::json(StatusCode::OK, &UnitPage { next, units }))
}

/// GET /units/{name}
pub async fn get(api: &Api, name: &str) -> Result<Response<Body>, Refusal> {
    let name = known_name(name)?;
    let shown = |tx: &ReadTx<'_>| {
        let record = fleet::unit(tx, &name)?;
        record.map(|record| show(api, tx, record)).transpose()
    };
    let unit = api.read(shown).await?;
    let unit = unit.ok_or_else(no_such_unit)?;
    Ok(answer::json(StatusCode::OK, &unit))
}

/// DELETE /units/{name}
pub async fn destroy(api: &Api, name: &str) -> Result<Response<Body>, Refusal> {
    let name = known_name(name)?;
    match api.change(Command::DestroyUnit { name }).await? {
        Answer::NoSuchUnit(_) => Err(no_such_unit()),
        _ => Ok(answer::empty(StatusCode::NO_CONTENT)),
    }
}

/// PUT /units/{name}
pub async fn put(api: &Api, item: &str, headers: &HeaderMap, body: Body) -> Result<Response<Body>, Refusal> {
    is_json(headers)?;
    let body = api.bounds.body(body).await?;
    let mut sent: WireUnit = serde_json::from_slice(&body)
        .map_err(|error| Refusal::bad_request(format!("unable to decode body: {error}")))?;
    if sent.name.is_empty() {
        item.clone_into(&mut sent.name);
    }
    if item != sent.name {
        let (url, body) = (go_quote(item), go_quote(&sent.name));
        return Err(Refusal::bad_request(format!(
            "name in URL {url} differs from unit name in request body {body}"
        )));
    }
    let name = UnitName::parse(&sent.name).map_err(Refusal::bad_request)?;
    let (desired, limit) = (desired_of(&sent.desired_state)?, sent.max_unavailable);
    let file = wire::file_of(sent.options).map_err(Refusal::bad_request)?;
    let only_asks = file.options.is_empty() && limit.is_none() && !name.is_template();
    if let Some(desired) = desired.filter(|_| only_asks) {
        // What fleetctl starts and stops with: the store itself knows whether the unit is there.
        return set_desired(api, name, desired).await;
    }
    let held = api.read(|tx| fleet::unit(tx, &name)).await?;
    let content_differs = held.as_ref().is_none_or(|held| held.file.hash() != file.hash());
    if file.options.is_empty() && held.is_none() {
        return Err(Refusal::new(
            StatusCode::CONFLICT,
            "unit does not exist and options field empty",
        ));
    }
    if file.options.is_empty() && limit.is_some() {
        return Err(Refusal::bad_request(
            "maxUnavailable says how a unit gets new options, and there are none",
        ));
    }
    if !file.options.is_empty() && (content_differs || limit.is_some()) {
        x_fleet::validate(&file).map_err(Refusal::bad_request)?;
        let size = file.to_string().len();
        if size > SIZE_MAX {
            return Err(Refusal::new(
                StatusCode::PAYLOAD_TOO_LARGE,
                format!("the unit is too large: {size} bytes, at most {SIZE_MAX}"),
            ));
        }
        let stays = held.filter(|_| !content_differs).map(|held| held.desired);
        let desired = desired.or(stays).unwrap_or(JobState::Inactive);
        set(api, name, file, desired, limit).await?;
        let status = if content_differs {
            StatusCode::CREATED
        } else {
            StatusCode::NO_CONTENT
        };
        return Ok(answer::empty(status));
    }
    let desired = desired.ok_or_else(|| {
        Refusal::new(
            StatusCode::CONFLICT,
            "must provide DesiredState to update existing unit",
        )
    })?;
    set_desired(api, name, desired).await
}

/// Sets a unit, on all machines at once or, with a limit, on a few at a time.
async fn set(
    api: &Api,
    name: UnitName,
    file: UnitFile,
    desired: JobState,
    limit: Option<NonZeroU32>,
) -> Result<(), Refusal> {
    let command = match limit {
        None => Command::SetUnit { name, file, desired },
        Some(max_unavailable) => Command::RollUnit {
            name,
            file,
            desired,
            max_unavailable,
        },
    };
    match api.change(command).await? {
        Answer::NotGlobal(name) => Err(Refusal::bad_request(format!(
            "maxUnavailable is for global units, and {name} is not to be one"
        ))),
        Answer::PlacedOtherwise(name) => Err(Refusal::bad_request(format!(
            "the new {name} asks for other machines or neighbours than the old (in [X-Fleet]), which cannot be done on a few \
             machines at a time: destroy and start it, or change it without maxUnavailable (--max-unavailable)"
        ))),
        _ => Ok(()),
    }
}

async fn set_desired(api: &Api, name: UnitName, desired: JobState) -> Result<Response<Body>, Refusal> {
    if name.is_template() && desired != JobState::Inactive {
        return Err(Refusal::bad_request(format!(
            "cannot activate template {}",
            go_quote(name.as_str())
        )));
    }
    let before = api.local(|tx| match fleet::unit(tx, &name)? {
        Some(record) => current(tx, &record),
        None => Ok(None),
    })?;
    let was_launched = before == Some(JobState::Launched) || api.held.was_seen(&name, Instant::now());
    let command = Command::SetDesired {
        name: name.clone(),
        desired,
    };
    let answer = api.change(command).await?;
    if desired == JobState::Loaded && was_launched {
        // From now on: who asks looks when it has its answer.
        api.held.note(&name, Instant::now());
    }
    match answer {
        Answer::NoSuchUnit(_) => Err(Refusal::new(
            StatusCode::CONFLICT,
            "unit does not exist and options field empty",
        )),
        _ => Ok(answer::empty(StatusCode::NO_CONTENT)),
    }
}

/// A name that can be in the store; any other is that of a unit that does not exist.
fn known_name(name: &str) -> Result<UnitName, Refusal> {
    UnitName::parse(name).map_err(|_| no_such_unit())
}

fn no_such_unit() -> Refusal {
    Refusal::new(StatusCode::NOT_FOUND, "unit does not exist")
}

/// fleet takes any text here and is then stuck with it; we refuse what is no state.
fn desired_of(text: &str) -> Result<Option<JobState>, Refusal> {
    if text.is_empty() {
        return Ok(None);
    }
    let parsed = JobState::parse(text).map(Some);
    parsed.ok_or_else(|| {
        let text = go_quote(text);
        Refusal::bad_request(format!(
            "invalid desiredState {text}: expect inactive, loaded, or launched"
        ))
    })
}

fn is_json(headers: &HeaderMap) -> Result<(), Refusal> {
    let refuse = |text: String| Err(Refusal::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, text));
    let sent: Vec<_> = headers.get_all(header::CONTENT_TYPE).iter().collect();
    let [one] = sent[..] else {
        return refuse(format!("expected 1 Content-Type, got {}", sent.len()));
    };
    let media_type = one.to_str().unwrap_or("").split(';').next().unwrap_or("").trim();
    if media_type == "application/json" {
        Ok(())
    } else {
        refuse("only acceptable Content-Type is application/json".to_owned())
    }
}

/// fleet's current state: what the machine it is on says, launched only when that machine's agent has started it.
/// `None` for a global unit, which has none.
pub fn current(tx: &(impl Read + ?Sized), record: &UnitRecord) -> Result<Option<JobState>, StoreFault> {
    if x_fleet::is_global(&record.file) {
        return Ok(None);
    }
    let Some(assigned) = &record.assigned else {
        return Ok(Some(JobState::Inactive));
    };
    Ok(Some(match fleet::state(tx, &record.name, &assigned.machine)? {
        Some(state) if state.launched => JobState::Launched,
        Some(state) if state.is_loaded() => JobState::Loaded,
        _ => JobState::Inactive,
    }))
}

fn show(api: &Api, tx: &(impl Read + ?Sized), record: UnitRecord) -> Result<WireUnit, StoreFault> {
    let current = match current(tx, &record)? {
        Some(JobState::Loaded)
            if record.desired == JobState::Loaded && api.held.shows(&record.name, Instant::now()) =>
        {
            Some(JobState::Launched)
        }
        current => current,
    };
    let current_state = current.map_or(String::new(), |state| state.as_str().to_owned());
    let reason = waits_for(tx, &record)?;
    Ok(WireUnit {
        current_state,
        desired_state: record.desired.as_str().to_owned(),
        machine_id: record
            .assigned
            .map_or(String::new(), |assigned| assigned.machine.0),
        name: record.name.to_string(),
        options: record.file.options.into_iter().map(Into::into).collect(),
        rollout: record.rollout.map(Into::into),
        unplaced_reason: reason.unwrap_or_default(),
        ..WireUnit::default()
    })
}

/// Why a unit is on no machine although it should be, or not as it should be on the machine that it is on.
fn waits_for(tx: &(impl Read + ?Sized), record: &UnitRecord) -> Result<Option<String>, StoreFault> {
    if record.desired == JobState::Inactive {
        return Ok(None);
    }
    let Some(assigned) = &record.assigned else {
        return Ok(record.unplaced.clone());
    };
    let state = fleet::state(tx, &record.name, &assigned.machine)?;
    if state.as_ref().is_some_and(|state| is_as_wanted(record, state)) {
        return Ok(None);
    }
    let home = fleet::machine(tx, &assigned.machine)?;
    let trouble = home.and_then(|home| home.machine.trouble_in_words());
    let refusal = state
        .filter(|state| state.hash == record.file.hash())
        .map(|state| state.start_error)
        .filter(|error| !error.is_empty());
    Ok(trouble.or(refusal))
}

/// Has its machine done with it what is wanted, with the file that it is to have, and did systemd do as it was asked?
fn is_as_wanted(record: &UnitRecord, state: &UnitState) -> bool {
    let moves = ["activating", "deactivating"].contains(&state.active.as_str());
    let launched = record.desired == JobState::Launched;
    state.launched == launched && state.start_error.is_empty() && !moves && state.hash == record.file.hash()
}
