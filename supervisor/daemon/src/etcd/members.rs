//! /v2/members and /v2/machines. Reading only: members are those of ETCD_INITIAL_CLUSTER for now, and every attempt to
//! change them is answered with what is wrong or what to do, never with a success that did nothing.

use axum::body::Body;
use axum::http::{Request, Response, StatusCode, header};
use corten_raft::Member;
use corten_store::keys::json;
use serde::Deserialize;

use super::{Face, answer};

const UNCHANGEABLE: &str = "members cannot be changed while the cluster runs yet: list them in every machine's \
                            ETCD_INITIAL_CLUSTER before the cluster is formed";
/// A list of peer URLs is short.
const BODY_LIMIT: usize = 64 << 10;

/// Serves one request; `path` is what follows `/v2/members`.
pub async fn serve(face: &Face, request: Request<Body>, path: &str) -> Response<Body> {
    let id = path.trim_matches('/').to_owned();
    match request.method().as_str() {
        "GET" | "HEAD" => get(face, &id),
        "POST" => post(face, request).await,
        "PUT" | "DELETE" => change(face, &id),
        _ => answer::method_not_allowed("GET,POST,DELETE,PUT"),
    }
}

fn get(face: &Face, id: &str) -> Response<Body> {
    let members = face.node.members();
    let mut body = Vec::new();
    match id {
        "" => {
            body.extend_from_slice(b"{\"members\":[");
            for (at, member) in members.iter().enumerate() {
                if at > 0 {
                    body.push(b',');
                }
                write_member(&mut body, member);
            }
            body.extend_from_slice(b"]}\n");
        }
        "leader" => {
            let leader = face.node.status().leader_id;
            let Some(member) = members.iter().find(|member| member.id == leader) else {
                return answer::message(
                    StatusCode::SERVICE_UNAVAILABLE,
                    face.cluster_id(),
                    "During election",
                );
            };
            write_member(&mut body, member);
            body.push(b'\n');
        }
        _ => return answer::message(StatusCode::NOT_FOUND, face.cluster_id(), "Not found"),
    }
    answer::cluster_json(StatusCode::OK, face.cluster_id(), body)
}

#[derive(Deserialize)]
struct NewMember {
    #[serde(default, rename = "peerURLs")]
    peer_urls: Vec<String>,
}

async fn post(face: &Face, request: Request<Body>) -> Response<Body> {
    let refuse = |status, text: &str| answer::message(status, face.cluster_id(), text);
    let (head, body) = request.into_parts();
    let sent = head
        .headers
        .get(header::CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
        .unwrap_or("");
    if sent != "application/json" {
        let text = format!("Bad Content-Type {sent}, accept application/json");
        return refuse(StatusCode::UNSUPPORTED_MEDIA_TYPE, &text);
    }
    let Ok(body) = axum::body::to_bytes(body, BODY_LIMIT).await else {
        return refuse(StatusCode::BAD_REQUEST, "the body is too long or broken off");
    };
    let new: NewMember = match serde_json::from_slice(&body) {
        Ok(new) => new,
        Err(error) => return refuse(StatusCode::BAD_REQUEST, &error.to_string()),
    };
    let known = ["http://", "https://", "unix://", "unixs://"];
    if let Some(bad) = new
        .peer_urls
        .iter()
        .find(|url| !known.iter().any(|scheme| url.starts_with(scheme)))
    {
        let text = format!("URL scheme must be http, https, unix, or unixs: {bad}");
        return refuse(StatusCode::BAD_REQUEST, &text);
    }
    refuse(StatusCode::NOT_IMPLEMENTED, UNCHANGEABLE)
}

fn change(face: &Face, id: &str) -> Response<Body> {
    let known =
        u64::from_str_radix(id, 16).is_ok_and(|id| face.node.members().iter().any(|member| member.id == id));
    if known {
        answer::message(StatusCode::NOT_IMPLEMENTED, face.cluster_id(), UNCHANGEABLE)
    } else {
        answer::message(
            StatusCode::NOT_FOUND,
            face.cluster_id(),
            &format!("No such member: {id}"),
        )
    }
}

fn write_member(body: &mut Vec<u8>, member: &Member) {
    body.extend_from_slice(format!("{{\"id\":\"{:x}\",\"name\":", member.id).as_bytes());
    json::string(body, &member.name);
    for (field, urls) in [
        ("peerURLs", &member.peer_urls),
        ("clientURLs", &member.client_urls),
    ] {
        body.extend_from_slice(format!(",\"{field}\":[").as_bytes());
        for (at, url) in urls.iter().enumerate() {
            if at > 0 {
                body.push(b',');
            }
            json::string(body, url);
        }
        body.push(b']');
    }
    body.push(b'}');
}

/// The client URLs of all members, the way etcd 0.4's clients ask for them.
pub fn machines(face: &Face) -> Response<Body> {
    let urls: Vec<String> = face
        .node
        .members()
        .into_iter()
        .flat_map(|member| member.client_urls)
        .collect();
    answer::text(StatusCode::OK, urls.join(", "))
}
