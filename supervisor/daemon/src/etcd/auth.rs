//! /v2/auth: authentication is off and cannot be turned on yet; what can be read says so in etcd's words.

use axum::body::Body;
use axum::http::{Method, Response, StatusCode};

use super::{Face, answer};

const ROOT: &str = r#"{"role":"root","permissions":{"kv":{"read":["/*"],"write":["/*"]}}}"#;

/// Serves one request; `path` is what follows `/v2/auth`.
pub fn serve(face: &Face, method: &Method, path: &str) -> Response<Body> {
    let ok = |body: String| answer::cluster_json(StatusCode::OK, face.cluster_id(), body);
    let refuse = |status, text: &str| answer::message(status, face.cluster_id(), text);
    match (method.as_str(), path.trim_end_matches('/')) {
        ("GET", "/enable") => ok("{\"enabled\":false}\n".to_owned()),
        ("GET", "/users") => ok("{\"users\":null}\n".to_owned()),
        ("GET", "/roles") => ok(format!("{{\"roles\":[{ROOT}]}}\n")),
        ("GET", "/roles/root") => ok(format!("{ROOT}\n")),
        ("DELETE", "/enable") => refuse(StatusCode::CONFLICT, "auth: already disabled"),
        ("GET", item) if item.starts_with("/users/") => refuse(
            StatusCode::NOT_FOUND,
            &format!("auth: User {} does not exist.", &item["/users/".len()..]),
        ),
        ("GET", item) if item.starts_with("/roles/") => refuse(
            StatusCode::NOT_FOUND,
            &format!("auth: Role {} does not exist.", &item["/roles/".len()..]),
        ),
        (_, item)
            if ["/enable", "/users", "/roles"]
                .iter()
                .any(|known| item.starts_with(known)) =>
        {
            refuse(
                StatusCode::NOT_IMPLEMENTED,
                "auth: users, roles and passwords are not implemented yet",
            )
        }
        _ => answer::not_found(),
    }
}
