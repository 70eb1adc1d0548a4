//! /machines: who is here, and changing their metadata.

use axum::body::Body;
use axum::http::{Response, StatusCode};
use corten_spec::machine::{MachineId, TROUBLE};
use corten_store::fleet::{self as tables, Command, MachineRecord};

use super::answer::{self, Refusal};
use super::wire::{MachinePage, PatchStep, WireMachine};
use super::{Api, Query, route};

/// GET /machines
pub async fn list(api: &Api, query: &Query) -> Result<Response<Body>, Refusal> {
    let token = query.page(api.token_limit)?;
    let records = api.read(|tx| tables::machines(tx)).await?;
    let present: Vec<MachineRecord> = records.into_iter().filter(|record| record.present).collect();
    let (records, next) = token.cut(present);
    let machines = records
        .into_iter()
        .map(|record| WireMachine::from(record.machine))
        .collect();
    Ok(answer::json(StatusCode::OK, &MachinePage { machines, next }))
}

/// PATCH /machines: all steps are checked before the first is taken. Machines nobody knows are accepted, as by fleet,
/// and nothing happens for them.
pub async fn patch(api: &Api, body: Body) -> Result<Response<Body>, Refusal> {
    let body = api.bounds.body(body).await?;
    let steps: Vec<PatchStep> = serde_json::from_slice(&body).map_err(Refusal::bad_request)?;
    let commands = steps.into_iter().map(command_of).collect::<Result<Vec<_>, _>>()?;
    for command in commands {
        api.change(command).await?;
    }
    Ok(answer::empty_json(StatusCode::NO_CONTENT))
}

fn command_of(step: PatchStep) -> Result<Command, Refusal> {
    if !["add", "remove", "replace"].contains(&step.op.as_str()) {
        return Err(Refusal::bad_request("invalid op: expect add, remove, or replace"));
    }
    let (id, key) = split(&step.path).ok_or_else(|| Refusal::bad_request("machine metadata path invalid"))?;
    if key == TROUBLE {
        return Err(Refusal::bad_request(format!(
            "machine metadata {TROUBLE} is the machine's own and cannot be changed: it goes when the trouble is over"
        )));
    }
    let value = match (step.op.as_str(), step.value) {
        ("remove", _) => None,
        (_, Some(value)) if !value.value.is_empty() => Some(value.value),
        _ => {
            return Err(Refusal::bad_request(
                "invalid value: add and replace require a value",
            ));
        }
    };
    Ok(Command::PatchMetadata {
        id: MachineId(id),
        key,
        value,
    })
}

/// `/<machine>/metadata/<key>`
fn split(path: &str) -> Option<(String, String)> {
    let (id, rest) = path.strip_prefix('/')?.split_once('/')?;
    let key = rest.strip_prefix("metadata/")?;
    let fits = |c: char| c.is_ascii_alphanumeric() || "_.-".contains(c);
    let known = !id.is_empty() && !key.is_empty() && key.chars().all(fits);
    known
        .then(|| Some((route::decode(id)?, key.to_owned())))
        .flatten()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn steps() {
        let step =
            |json: &str| command_of(serde_json::from_str(json).unwrap()).map_err(|refusal| refusal.message);
        assert_eq!(
            step(r#"{"op":"add","path":"/m1/metadata/role","value":{"value":"web"}}"#),
            Ok(Command::PatchMetadata {
                id: MachineId("m1".into()),
                key: "role".into(),
                value: Some("web".into())
            })
        );
        assert!(matches!(
            step(r#"{"op":"remove","path":"/m1/metadata/role"}"#),
            Ok(Command::PatchMetadata { value: None, .. })
        ));
        for (json, text) in [
            (
                r#"{"op":"move","path":"/m1/metadata/role"}"#,
                "invalid op: expect add, remove, or replace",
            ),
            (
                r#"{"op":"add","path":"/m1/role"}"#,
                "machine metadata path invalid",
            ),
            (
                r#"{"op":"add","path":"/m1/metadata/ro le"}"#,
                "machine metadata path invalid",
            ),
            (
                r#"{"op":"add","path":"/m1/metadata/r"}"#,
                "invalid value: add and replace require a value",
            ),
            (
                r#"{"op":"replace","path":"/m1/metadata/r","value":{}}"#,
                "invalid value: add and replace require a value",
            ),
            (
                r#"{"op":"remove","path":"/m1/metadata/trouble"}"#,
                "machine metadata trouble is the machine's own and cannot be changed: it goes when the trouble is over",
            ),
        ] {
            assert_eq!(step(json), Err(text.to_owned()), "{json}");
        }
    }
}
