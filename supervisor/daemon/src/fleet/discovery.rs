//! /discovery: the API's description in Google's discovery format, from which fleet's own client was generated.
//! Built from a table, so that it cannot name a method this API does not have.

use serde_json::{Map, Value, json};

/// Name of a method, HTTP method, path, parameters (name, where), response schema, request schema.
type Method = (
    &'static str,
    &'static str,
    &'static str,
    &'static [(&'static str, &'static str)],
    &'static str,
    &'static str,
);

const PAGE: (&str, &str) = ("nextPageToken", "query");
const NAME: (&str, &str) = ("unitName", "path");

const UNITS: &[Method] = &[
    ("List", "GET", "units", &[PAGE], "UnitPage", ""),
    ("Get", "GET", "units/{unitName}", &[NAME], "Unit", ""),
    ("Set", "PUT", "units/{unitName}", &[NAME], "", "Unit"),
    ("Delete", "DELETE", "units/{unitName}", &[NAME], "", ""),
];
const STATES: &[Method] = &[
    (
        "List",
        "GET",
        "state",
        &[PAGE, ("unitName", "query"), ("machineID", "query")],
        "UnitStatePage",
        "",
    ),
    ("Get", "GET", "state/{unitName}", &[NAME], "UnitState", ""),
];
const MACHINES: &[Method] = &[
    ("List", "GET", "machines", &[PAGE], "MachinePage", ""),
    ("Patch", "PATCH", "machines", &[], "", ""),
];

fn rollout() -> Value {
    let number = || json!({"type": "integer"});
    json!({"type": "object", "properties": {
        "allowed": number(), "maxUnavailable": number(), "of": number(), "reason": {"type": "string"},
    }})
}

/// The document.
pub fn document() -> Value {
    let schema = |id: &str, fields: &[&str]| {
        let properties: Map<String, Value> = fields
            .iter()
            .map(|field| ((*field).to_owned(), json!({"type": "string"})))
            .collect();
        json!({"id": id, "type": "object", "properties": properties})
    };
    let page = |id: &str, field: &str, item: &str| {
        json!({"id": id, "type": "object", "properties": {
            field: {"type": "array", "items": {"$ref": item}},
            "nextPageToken": {"type": "string"},
        }})
    };
    let mut unit = schema("Unit", &["name", "machineID", "unplacedReason"]);
    for state in ["desiredState", "currentState"] {
        unit["properties"][state] = json!({"type": "string", "enum": ["inactive", "loaded", "launched"]});
    }
    unit["properties"]["options"] = json!({"type": "array", "items": {"$ref": "UnitOption"}});
    unit["properties"]["maxUnavailable"] = json!({"type": "integer"});
    unit["properties"]["rollout"] = rollout();
    let mut machine = schema("Machine", &["id", "primaryIP"]);
    machine["properties"]["metadata"] = json!({"type": "object", "additionalProperties": {"type": "string"}});
    let states = [
        "name",
        "hash",
        "machineID",
        "systemdLoadState",
        "systemdActiveState",
        "systemdSubState",
        "startError",
    ];
    json!({
        "kind": "discovery#restDescription",
        "discoveryVersion": "v1",
        "id": "fleet:v1",
        "name": "schema",
        "version": "v1",
        "title": "fleet API",
        "protocol": "rest",
        "rootUrl": "$ENDPOINT/",
        "servicePath": "fleet/v1/",
        "basePath": "/fleet/v1/",
        "baseUrl": "$ENDPOINT/fleet/v1/",
        "batchPath": "batch",
        "schemas": {
            "Machine": machine,
            "MachinePage": page("MachinePage", "machines", "Machine"),
            "Unit": unit,
            "UnitOption": schema("UnitOption", &["section", "name", "value"]),
            "UnitPage": page("UnitPage", "units", "Unit"),
            "UnitState": schema("UnitState", &states),
            "UnitStatePage": page("UnitStatePage", "states", "UnitState"),
        },
        "resources": {
            "Machines": resource("Machine", MACHINES),
            "UnitState": resource("UnitState", STATES),
            "Units": resource("Unit", UNITS),
        },
    })
}

fn resource(noun: &str, methods: &[Method]) -> Value {
    let described = methods
        .iter()
        .map(|(name, http, path, parameters, response, request)| {
            let parameter = |(name, place): &(&str, &str)| {
                (
                    (*name).to_owned(),
                    json!({"type": "string", "location": place, "required": *place == "path"}),
                )
            };
            let mut method = json!({
                "id": format!("fleet.{noun}.{name}"),
                "httpMethod": http,
                "path": path,
                "parameters": parameters.iter().map(parameter).collect::<Map<_, _>>(),
            });
            for (key, schema) in [("response", response), ("request", request)] {
                if !schema.is_empty() {
                    method[key] = json!({"$ref": schema});
                }
            }
            ((*name).to_owned(), method)
        });
    json!({"methods": described.collect::<Map<_, _>>()})
}

#[cfg(test)]
mod tests {
    use super::document;

    #[test]
    fn every_schema_that_is_named_exists() {
        let document = document();
        let text = document.to_string();
        let mut named = 0;
        for part in text.split("\"$ref\":\"").skip(1) {
            let name = part.split('"').next().unwrap_or("");
            assert!(document["schemas"].get(name).is_some(), "{name}");
            named += 1;
        }
        assert!(named > 5);
    }
}
