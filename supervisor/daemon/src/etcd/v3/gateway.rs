//! The JSON gateway: `POST /v3/...` (and `/v3beta/...`) with JSON bodies, as etcd's grpc-gateway maps them
//! ([`corten_etcd_api::json`]).
//!
//! It is a client of the gRPC services in the same process and knows no message. A streamed answer is one JSON object a line, `{"result":...}`, and perhaps `{"error":...}` at the end.

use std::convert::Infallible;
use std::sync::Arc;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::uri::PathAndQuery;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, Response, StatusCode, Uri, header};
use corten_etcd_api::json::{self, Methods};
use futures_util::{StreamExt, stream};
use prost::Message;
use prost_reflect::{DescriptorError, DynamicMessage, MethodDescriptor};
use serde::Serialize;
use serde_json::json as object;
use tonic::codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder};
use tonic::metadata::AsciiMetadataValue;
use tonic::{Code, Request, Status, Streaming};

use crate::etcd::answer;

/// The gateway to some services.
#[derive(Clone)]
pub struct Gateway {
    services: Router,
    methods: Methods,
    longest_body: usize,
}

impl Gateway {
    /// A gateway to `services`, which are those of this API and take messages of `message_bytes`.
    ///
    /// # Errors
    /// When the descriptors do not decode.
    pub fn new(services: Router, message_bytes: usize) -> Result<Gateway, DescriptorError> {
        Ok(Gateway {
            services,
            methods: Methods::new()?,
            longest_body: message_bytes.saturating_mul(2),
        })
    }
}

/// The gateway as a router.
pub fn router(gateway: Gateway) -> Router {
    let handle = axum::routing::any(serve);
    Router::new()
        .route("/v3/{*path}", handle.clone())
        .route("/v3beta/{*path}", handle)
        .layer(axum::extract::DefaultBodyLimit::max(gateway.longest_body))
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
    let Some(called) = gateway.methods.at(uri.path()) else {
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
    let requests = json::read(method, body).map_err(|error| Status::invalid_argument(error.to_string()))?;
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

/// A message as JSON.
fn written(message: &DynamicMessage) -> Result<Vec<u8>, Status> {
    json::write(message).map_err(|error| Status::internal(error.to_string()))
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
                format!("{}\n", object!({ "error": error })).into_bytes()
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
