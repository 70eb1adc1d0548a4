//! The JSON gateway: `POST /v3/...` (and `/v3beta/...`) with JSON bodies, as etcd's grpc-gateway maps them: bytes in
//! base64, 64-bit numbers as strings, fields by their names in the .proto files, defaults left out.
//!
//! It is a client of the gRPC services in the same process and knows no message: their descriptors say how each is
//! written. A streamed answer is one JSON object a line, `{"result":...}`, and perhaps `{"error":...}` at the end.

use std::convert::Infallible;
use std::sync::Arc;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::uri::PathAndQuery;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, Response, StatusCode, Uri, header};
use corten_etcd_api::DESCRIPTORS;
use futures_util::{StreamExt, stream};
use prost::Message;
use prost_reflect::{
    DescriptorError, DescriptorPool, DeserializeOptions, DynamicMessage, MethodDescriptor, SerializeOptions,
};
use serde::Serialize;
use serde_json::{Deserializer, json};
use tonic::codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder};
use tonic::metadata::AsciiMetadataValue;
use tonic::{Code, Request, Status, Streaming};

use super::{OVERHEAD, REQUEST_LIMIT};
use crate::etcd::answer;

/// The paths below `/v3`, and the methods behind them.
const PATHS: &[(&str, &str, &str)] = &[
    ("/kv/range", "etcdserverpb.KV", "Range"),
    ("/kv/put", "etcdserverpb.KV", "Put"),
    ("/kv/deleterange", "etcdserverpb.KV", "DeleteRange"),
    ("/kv/txn", "etcdserverpb.KV", "Txn"),
    ("/kv/compaction", "etcdserverpb.KV", "Compact"),
    ("/watch", "etcdserverpb.Watch", "Watch"),
    ("/lease/grant", "etcdserverpb.Lease", "LeaseGrant"),
    ("/lease/revoke", "etcdserverpb.Lease", "LeaseRevoke"),
    ("/kv/lease/revoke", "etcdserverpb.Lease", "LeaseRevoke"),
    ("/lease/keepalive", "etcdserverpb.Lease", "LeaseKeepAlive"),
    ("/lease/timetolive", "etcdserverpb.Lease", "LeaseTimeToLive"),
    ("/kv/lease/timetolive", "etcdserverpb.Lease", "LeaseTimeToLive"),
    ("/lease/leases", "etcdserverpb.Lease", "LeaseLeases"),
    ("/kv/lease/leases", "etcdserverpb.Lease", "LeaseLeases"),
    ("/cluster/member/add", "etcdserverpb.Cluster", "MemberAdd"),
    ("/cluster/member/remove", "etcdserverpb.Cluster", "MemberRemove"),
    ("/cluster/member/update", "etcdserverpb.Cluster", "MemberUpdate"),
    ("/cluster/member/list", "etcdserverpb.Cluster", "MemberList"),
    ("/cluster/member/promote", "etcdserverpb.Cluster", "MemberPromote"),
    ("/maintenance/alarm", "etcdserverpb.Maintenance", "Alarm"),
    ("/maintenance/status", "etcdserverpb.Maintenance", "Status"),
    (
        "/maintenance/defragment",
        "etcdserverpb.Maintenance",
        "Defragment",
    ),
    ("/maintenance/hash", "etcdserverpb.Maintenance", "Hash"),
    ("/maintenance/hashkv", "etcdserverpb.Maintenance", "HashKV"),
    ("/maintenance/snapshot", "etcdserverpb.Maintenance", "Snapshot"),
    (
        "/maintenance/transfer-leadership",
        "etcdserverpb.Maintenance",
        "MoveLeader",
    ),
    ("/maintenance/downgrade", "etcdserverpb.Maintenance", "Downgrade"),
    ("/auth/enable", "etcdserverpb.Auth", "AuthEnable"),
    ("/auth/disable", "etcdserverpb.Auth", "AuthDisable"),
    ("/auth/status", "etcdserverpb.Auth", "AuthStatus"),
    ("/auth/authenticate", "etcdserverpb.Auth", "Authenticate"),
    ("/auth/user/add", "etcdserverpb.Auth", "UserAdd"),
    ("/auth/user/get", "etcdserverpb.Auth", "UserGet"),
    ("/auth/user/list", "etcdserverpb.Auth", "UserList"),
    ("/auth/user/delete", "etcdserverpb.Auth", "UserDelete"),
    ("/auth/user/changepw", "etcdserverpb.Auth", "UserChangePassword"),
    ("/auth/user/grant", "etcdserverpb.Auth", "UserGrantRole"),
    ("/auth/user/revoke", "etcdserverpb.Auth", "UserRevokeRole"),
    ("/auth/role/add", "etcdserverpb.Auth", "RoleAdd"),
    ("/auth/role/get", "etcdserverpb.Auth", "RoleGet"),
    ("/auth/role/list", "etcdserverpb.Auth", "RoleList"),
    ("/auth/role/delete", "etcdserverpb.Auth", "RoleDelete"),
    ("/auth/role/grant", "etcdserverpb.Auth", "RoleGrantPermission"),
    ("/auth/role/revoke", "etcdserverpb.Auth", "RoleRevokePermission"),
    ("/lock/lock", "v3lockpb.Lock", "Lock"),
    ("/lock/unlock", "v3lockpb.Lock", "Unlock"),
    ("/election/campaign", "v3electionpb.Election", "Campaign"),
    ("/election/proclaim", "v3electionpb.Election", "Proclaim"),
    ("/election/leader", "v3electionpb.Election", "Leader"),
    ("/election/observe", "v3electionpb.Election", "Observe"),
    ("/election/resign", "v3electionpb.Election", "Resign"),
];

/// The gateway to some services.
#[derive(Clone)]
pub struct Gateway {
    services: Router,
    descriptors: DescriptorPool,
}

impl Gateway {
    /// A gateway to `services`, which are those of this API.
    ///
    /// # Errors
    /// When the descriptors do not decode.
    pub fn new(services: Router) -> Result<Gateway, DescriptorError> {
        let descriptors = DescriptorPool::decode(DESCRIPTORS)?;
        Ok(Gateway {
            services,
            descriptors,
        })
    }

    fn method(&self, path: &str) -> Option<MethodDescriptor> {
        let below = path
            .strip_prefix("/v3beta")
            .or_else(|| path.strip_prefix("/v3"))?;
        let (_, service, method) = PATHS.iter().find(|(known, ..)| *known == below)?;
        let service = self.descriptors.get_service_by_name(service)?;
        service.methods().find(|known| known.name() == *method)
    }
}

/// The gateway as a router.
pub fn router(gateway: Gateway) -> Router {
    let handle = axum::routing::any(serve);
    Router::new()
        .route("/v3/{*path}", handle.clone())
        .route("/v3beta/{*path}", handle)
        .layer(axum::extract::DefaultBodyLimit::max(
            2 * (REQUEST_LIMIT + OVERHEAD),
        ))
        .with_state(Arc::new(gateway))
}

async fn serve(
    State(gateway): State<Arc<Gateway>>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Response<Body> {
    let mut response = dispatch(&gateway, &method, &uri, &headers, &body).await;
    answer::let_browsers_in(response.headers_mut());
    response
}

async fn dispatch(
    gateway: &Gateway,
    method: &Method,
    uri: &Uri,
    headers: &HeaderMap,
    body: &Bytes,
) -> Response<Body> {
    if *method == Method::OPTIONS {
        return Response::new(Body::empty());
    }
    let Some(called) = gateway.method(uri.path()) else {
        return answer::plain_error(StatusCode::NOT_FOUND, "Not Found\n");
    };
    if *method != Method::POST {
        return answer::plain_error(StatusCode::METHOD_NOT_ALLOWED, "Method Not Allowed\n");
    }
    match call(gateway, &called, headers, body).await {
        Ok(answers) if called.is_server_streaming() => streamed(answers),
        Ok(mut answers) => match answers.next().await {
            Some(Ok(message)) => match written(&message) {
                Ok(json) => succeeded(Body::from(json)),
                Err(status) => failed(&status),
            },
            Some(Err(status)) => failed(&status),
            None => failed(&Status::internal("the call ended without an answer")),
        },
        Err(status) => failed(&status),
    }
}

async fn call(
    gateway: &Gateway,
    method: &MethodDescriptor,
    headers: &HeaderMap,
    body: &[u8],
) -> Result<Streaming<DynamicMessage>, Status> {
    let requests = read(method, body)?;
    let mut request = Request::new(stream::iter(requests));
    // etcd takes the token of a user from this header, too.
    if let Some(token) = headers.get(header::AUTHORIZATION)
        && let Ok(token) = AsciiMetadataValue::try_from(token.as_bytes())
    {
        request.metadata_mut().insert("token", token);
    }
    let path = format!("/{}/{}", method.parent_service().full_name(), method.name());
    let path = PathAndQuery::try_from(path).map_err(|error| Status::internal(error.to_string()))?;
    let mut client = tonic::client::Grpc::new(gateway.services.clone()).max_decoding_message_size(usize::MAX);
    ready(client.ready().await)?;
    let answers = client.streaming(request, path, Dynamic(method.clone())).await?;
    Ok(answers.into_inner())
}

/// The services are a router, which is always ready.
fn ready(ready: Result<(), Infallible>) -> Result<(), Status> {
    ready.map_err(|never| match never {})
}

/// The messages of a body: one, or any number where the client streams.
fn read(method: &MethodDescriptor, body: &[u8]) -> Result<Vec<DynamicMessage>, Status> {
    let options = DeserializeOptions::new().deny_unknown_fields(false);
    let bad = |error: serde_json::Error| Status::invalid_argument(error.to_string());
    let mut json = Deserializer::from_slice(body);
    let mut messages = Vec::new();
    while json.end().is_err() {
        let message = DynamicMessage::deserialize_with_options(method.input(), &mut json, &options);
        messages.push(message.map_err(bad)?);
        if !method.is_client_streaming() {
            break;
        }
    }
    if messages.is_empty() && !method.is_client_streaming() {
        messages.push(DynamicMessage::new(method.input()));
    }
    Ok(messages)
}

/// A message as JSON.
fn written(message: &DynamicMessage) -> Result<Vec<u8>, Status> {
    let options = SerializeOptions::new().use_proto_field_name(true);
    let mut out = Vec::new();
    let mut json = serde_json::Serializer::new(&mut out);
    message
        .serialize_with_options(&mut json, &options)
        .map_err(|error| Status::internal(error.to_string()))?;
    Ok(out)
}

fn succeeded(body: Body) -> Response<Body> {
    let mut response = answer::json(StatusCode::OK, body);
    response.headers_mut().insert(
        HeaderName::from_static("grpc-metadata-content-type"),
        HeaderValue::from_static("application/grpc"),
    );
    response
}

fn streamed(answers: Streaming<DynamicMessage>) -> Response<Body> {
    let lines = answers.map(|message| {
        let line = match message.and_then(|message| written(&message)) {
            Ok(json) => [&b"{\"result\":"[..], &json, b"}\n"].concat(),
            Err(status) => {
                let error = StreamError {
                    grpc_code: status.code() as i32,
                    http_code: http_status(status.code()).as_u16(),
                    message: status.message(),
                    http_status: http_status(status.code()).canonical_reason().unwrap_or_default(),
                };
                format!("{}\n", json!({ "error": error })).into_bytes()
            }
        };
        Ok::<_, Infallible>(Bytes::from(line))
    });
    succeeded(Body::from_stream(lines))
}

/// The end of a stream that failed, in grpc-gateway's shape.
#[derive(Serialize)]
struct StreamError<'s> {
    grpc_code: i32,
    http_code: u16,
    message: &'s str,
    http_status: &'s str,
}

/// A failed call, in grpc-gateway's shape.
#[derive(Serialize)]
struct CallError<'s> {
    error: &'s str,
    message: &'s str,
    code: i32,
}

/// A failed call.
fn failed(status: &Status) -> Response<Body> {
    let body = CallError {
        error: status.message(),
        message: status.message(),
        code: status.code() as i32,
    };
    let body = serde_json::to_vec(&body).unwrap_or_default();
    answer::json(http_status(status.code()), body)
}

/// grpc-gateway's table.
fn http_status(code: Code) -> StatusCode {
    match code {
        Code::Ok => StatusCode::OK,
        Code::Cancelled => StatusCode::REQUEST_TIMEOUT,
        Code::InvalidArgument | Code::OutOfRange => StatusCode::BAD_REQUEST,
        Code::DeadlineExceeded => StatusCode::GATEWAY_TIMEOUT,
        Code::NotFound => StatusCode::NOT_FOUND,
        Code::AlreadyExists | Code::Aborted => StatusCode::CONFLICT,
        Code::PermissionDenied => StatusCode::FORBIDDEN,
        Code::Unauthenticated => StatusCode::UNAUTHORIZED,
        Code::ResourceExhausted => StatusCode::TOO_MANY_REQUESTS,
        Code::FailedPrecondition => StatusCode::PRECONDITION_FAILED,
        Code::Unimplemented => StatusCode::NOT_IMPLEMENTED,
        Code::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
        Code::Unknown | Code::Internal | Code::DataLoss => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

/// Encodes and decodes messages by their descriptors.
struct Dynamic(MethodDescriptor);

impl Codec for Dynamic {
    type Encode = DynamicMessage;
    type Decode = DynamicMessage;
    type Encoder = DynamicEncoder;
    type Decoder = DynamicDecoder;

    fn encoder(&mut self) -> DynamicEncoder {
        DynamicEncoder
    }

    fn decoder(&mut self) -> DynamicDecoder {
        DynamicDecoder(self.0.clone())
    }
}

struct DynamicEncoder;

impl Encoder for DynamicEncoder {
    type Item = DynamicMessage;
    type Error = Status;

    fn encode(&mut self, item: DynamicMessage, out: &mut EncodeBuf<'_>) -> Result<(), Status> {
        item.encode(out)
            .map_err(|error| Status::internal(error.to_string()))
    }
}

struct DynamicDecoder(MethodDescriptor);

impl Decoder for DynamicDecoder {
    type Item = DynamicMessage;
    type Error = Status;

    fn decode(&mut self, from: &mut DecodeBuf<'_>) -> Result<Option<DynamicMessage>, Status> {
        DynamicMessage::decode(self.0.output(), from)
            .map(Some)
            .map_err(|error| Status::internal(error.to_string()))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn every_path_leads_to_a_method() {
        let gateway = Gateway::new(Router::new()).unwrap();
        for (path, _, method) in PATHS {
            let found = gateway.method(&format!("/v3{path}")).unwrap();
            assert_eq!(found.name(), *method);
        }
        assert!(gateway.method("/v3/nosuch").is_none());
    }

    #[test]
    fn messages_as_grpc_gateway_writes_them() {
        let gateway = Gateway::new(Router::new()).unwrap();
        let put = gateway.method("/v3beta/kv/put").unwrap();
        let body = br#"{"key": "Zm9v", "lease": "12345678901234567", "prev_kv": true, "nosuch": 1}"#;
        let messages = read(&put, body).unwrap();
        let json = String::from_utf8(written(&messages[0]).unwrap()).unwrap();
        assert_eq!(
            json,
            r#"{"key":"Zm9v","lease":"12345678901234567","prev_kv":true}"#
        );
        assert_eq!(read(&put, b"").unwrap().len(), 1);
        assert_eq!(read(&put, b"{").unwrap_err().code(), Code::InvalidArgument);
        let watch = gateway.method("/v3/watch").unwrap();
        assert_eq!(read(&watch, b"{\"progress_request\":{}}\n{}").unwrap().len(), 2);
        assert_eq!(read(&watch, b"").unwrap().len(), 0);
    }
}
