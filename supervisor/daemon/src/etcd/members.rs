//! /v2/members and /v2/machines (contract `etcd.md` section 1.5). Who may become or stop being a member is decided where
//! the members are kept; this is its face.

use axum::body::Body;
use axum::http::{Request, Response, StatusCode, header};
use corten_raft::{Member, MemberChange, MemberError, ProposeError, new_member_id};
use corten_store::keys::json;
use serde::Deserialize;

use super::auth::credentials::{self, INSUFFICIENT};
use super::{Face, answer, now_ms};
use crate::settings::url::Url;

/// A list of peer URLs is short.
const BODY_LIMIT: usize = 64 << 10;

/// Serves one request; `path` is what follows `/v2/members`.
pub async fn serve(face: &Face, request: Request<Body>, path: &str) -> Response<Body> {
    let id = path.trim_matches('/').to_owned();
    let method = request.method().as_str();
    if ["POST", "PUT", "DELETE"].contains(&method) {
        match credentials::is_root(face, request.headers()).await {
            Ok(true) => {}
            Ok(false) => return answer::message_alone(StatusCode::UNAUTHORIZED, INSUFFICIENT),
            Err(fault) => {
                return answer::message(
                    StatusCode::INTERNAL_SERVER_ERROR,
                    face.cluster_id(),
                    &fault.to_string(),
                );
            }
        }
    }
    match request.method().as_str() {
        "GET" => get(face, &id),
        "PUT" | "DELETE" if id.is_empty() => {
            let mut refusal = answer::plain_error(StatusCode::METHOD_NOT_ALLOWED, "Method Not Allowed\n");
            answer::name_cluster(&mut refusal, face.cluster_id());
            refusal
        }
        "POST" => post(face, request).await,
        "PUT" => put(face, request, &id).await,
        "DELETE" => match parse_id(face, &id) {
            Ok(id) => done(face, id, MemberChange::Remove { id }).await,
            Err(refusal) => refusal,
        },
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
    let peer_urls = match peer_urls(face, request).await {
        Ok(urls) => urls,
        Err(refusal) => return refusal,
    };
    let token = format!("{:x}", face.cluster_id());
    let id = new_member_id(&peer_urls, &token, now_ms());
    let change = MemberChange::Add {
        id,
        peer_urls: peer_urls.clone(),
        learner: false,
    };
    if let Err(error) = face.node.change_members(change).await {
        return refused(face, id, &error);
    }
    let mut body = Vec::new();
    let member = Member {
        id,
        name: String::new(),
        peer_urls,
        client_urls: Vec::new(),
        learner: false,
    };
    write_member(&mut body, &member);
    body.push(b'\n');
    answer::cluster_json(StatusCode::CREATED, face.cluster_id(), body)
}

async fn put(face: &Face, request: Request<Body>, id: &str) -> Response<Body> {
    let id = match parse_id(face, id) {
        Ok(id) => id,
        Err(refusal) => return refusal,
    };
    match peer_urls(face, request).await {
        Ok(peer_urls) => done(face, id, MemberChange::Update { id, peer_urls }).await,
        Err(refusal) => refusal,
    }
}

/// Makes a change that is answered with no content.
async fn done(face: &Face, id: u64, change: MemberChange) -> Response<Body> {
    match face.node.change_members(change).await {
        Ok(()) => answer::no_content(face.cluster_id()),
        Err(error) => refused(face, id, &error),
    }
}

fn refused(face: &Face, id: u64, error: &MemberError) -> Response<Body> {
    let (status, text) = match error {
        MemberError::PeerUrlExists | MemberError::IdExists => (StatusCode::CONFLICT, error.to_string()),
        MemberError::NotFound => (StatusCode::NOT_FOUND, format!("No such member: {id:x}")),
        MemberError::Removed => (StatusCode::GONE, format!("Member permanently removed: {id:x}")),
        MemberError::Propose(ProposeError::Timeout | ProposeError::NoLeader) => (
            StatusCode::INTERNAL_SERVER_ERROR,
            "etcdserver: request timed out".to_owned(),
        ),
        error => (StatusCode::INTERNAL_SERVER_ERROR, format!("etcdserver: {error}")),
    };
    answer::message(status, face.cluster_id(), &text)
}

#[allow(clippy::result_large_err)] // the refusal is the answer
fn parse_id(face: &Face, id: &str) -> Result<u64, Response<Body>> {
    u64::from_str_radix(id, 16).map_err(|_| {
        let text = format!("No such member: {id}");
        answer::message(StatusCode::NOT_FOUND, face.cluster_id(), &text)
    })
}

/// The peer URLs a request carries, sorted as etcd sorts them.
async fn peer_urls(face: &Face, request: Request<Body>) -> Result<Vec<String>, Response<Body>> {
    let refuse = |status, text: &str| answer::message(status, face.cluster_id(), text);
    let (head, body) = request.into_parts();
    let sent = head
        .headers
        .get(header::CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
        .unwrap_or("");
    if sent != "application/json" {
        let text = format!("Bad Content-Type {sent}, accept application/json");
        return Err(refuse(StatusCode::UNSUPPORTED_MEDIA_TYPE, &text));
    }
    let body = axum::body::to_bytes(body, BODY_LIMIT)
        .await
        .map_err(|_| refuse(StatusCode::BAD_REQUEST, "the body is too long or broken off"))?;
    let new: NewMember = serde_json::from_slice(&body)
        .map_err(|error| refuse(StatusCode::BAD_REQUEST, &go_words(&error, &body)))?;
    Url::of_member(&new.peer_urls).map_err(|error| refuse(StatusCode::BAD_REQUEST, &error.to_string()))
}

/// Why a body is not what it should be, in the words of Go's decoder for what happens to people.
fn go_words(error: &serde_json::Error, body: &[u8]) -> String {
    if error.is_eof() {
        return "unexpected end of JSON input".to_owned();
    }
    let body: serde_json::Value = serde_json::from_slice(body).unwrap_or_default();
    let kind = match &body["peerURLs"] {
        serde_json::Value::Number(_) => "number",
        serde_json::Value::String(_) => "string",
        serde_json::Value::Bool(_) => "bool",
        serde_json::Value::Object(_) => "object",
        _ => return error.to_string(),
    };
    format!("json: cannot unmarshal {kind} into Go struct field .peerURLs of type []string")
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
