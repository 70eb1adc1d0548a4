//! etcd's errors on the wire: fixed texts and codes, by which clients tell them apart (etcd's rpctypes).

use axum::http::Response;
use corten_raft::ProposeError;
use corten_store::{StoreFault, kv};
use tonic::{Code, Status};

/// One error of the API.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fixed(Code, &'static str);

macro_rules! fixed {
    ($($name:ident = $code:ident, $text:literal;)*) => {
        $(
            #[doc = concat!("`", $text, "`")]
            pub const $name: Fixed = Fixed(Code::$code, $text);
        )*
    };
}

fixed! {
    NO_SPACE = ResourceExhausted, "etcdserver: mvcc: database space exceeded";
    PEER_URL_EXISTS = FailedPrecondition, "etcdserver: Peer URLs already exists";
    MEMBER_BAD_URLS = InvalidArgument, "etcdserver: given member URLs are invalid";
    MEMBER_EXISTS = FailedPrecondition, "etcdserver: member ID already exist";
    NOT_ENOUGH_STARTED = FailedPrecondition, "etcdserver: re-configuration failed due to not enough started members";
    LEARNER_NOT_READY = FailedPrecondition, "etcdserver: can only promote a learner member which is in sync with leader";
    MEMBER_NOT_FOUND = NotFound, "etcdserver: member not found";
    MEMBER_NOT_LEARNER = FailedPrecondition, "etcdserver: can only promote a learner member";
    REQUEST_TOO_LARGE = InvalidArgument, "etcdserver: request is too large";
    NO_LEADER = Unavailable, "etcdserver: no leader";
    NOT_LEADER = FailedPrecondition, "etcdserver: not leader";
    LEADER_CHANGED = Unavailable, "etcdserver: leader changed";
    STOPPED = Unavailable, "etcdserver: server stopped";
    TOO_MANY_REQUESTS = ResourceExhausted, "etcdserver: too many requests";
    TIMEOUT = Unavailable, "etcdserver: request timed out";
    LEADER_TRANSFER = Unknown, "etcdserver: request timed out, leader transfer took too long";
    BAD_LEADER_TRANSFEREE = FailedPrecondition, "etcdserver: bad leader transferee";
}

impl From<Fixed> for Status {
    fn from(error: Fixed) -> Status {
        Status::new(error.0, error.1)
    }
}

/// What the store refused.
pub fn refused(error: kv::Error) -> Status {
    Status::new(Code::from_i32(error.grpc_code()), error.to_string())
}

/// A write or a linearizable read that did not come through.
pub fn proposing(error: &ProposeError) -> Status {
    match error {
        ProposeError::NoLeader | ProposeError::Timeout => TIMEOUT.into(),
        ProposeError::Lost(_) => LEADER_CHANGED.into(),
        ProposeError::NoSpace => NO_SPACE.into(),
        ProposeError::TooLarge { .. } => REQUEST_TOO_LARGE.into(),
        ProposeError::Stopped(_) => STOPPED.into(),
        ProposeError::TooMany => TOO_MANY_REQUESTS.into(),
        ProposeError::Refused(_) => Status::unavailable(error.to_string()),
    }
}

/// A read that the state could not serve.
pub fn reading(fault: &StoreFault) -> Status {
    match fault {
        StoreFault::NoSpace(_) => NO_SPACE.into(),
        StoreFault::Corrupt { .. } => Status::data_loss(fault.to_string()),
        StoreFault::Backend(_) => Status::unavailable(fault.to_string()),
    }
}

/// An answer that refuses a message for its size, as Go's gRPC words it; any other as it is.
///
/// The library below reads the message and answers by itself, with another code and text.
pub fn in_etcds_words<B>(mut response: Response<B>) -> Response<B> {
    let is_out_of_range = |code: &axum::http::HeaderValue| code.as_bytes() == b"11";
    if response.headers().get("grpc-status").is_some_and(is_out_of_range)
        && let Some(status) = Status::from_header_map(response.headers())
    {
        // Digits and letters fit a header.
        let _ = status_in_etcds_words(status).add_header(response.headers_mut());
    }
    response
}

/// The same of the status alone, for who is in the middle of a stream.
pub fn status_in_etcds_words(status: Status) -> Status {
    match too_long(status.message()) {
        Some((found, limit)) => Status::resource_exhausted(format!(
            "grpc: received message larger than max ({found} vs. {limit})"
        )),
        None => status,
    }
}

/// The message's length and the longest allowed.
fn too_long(text: &str) -> Option<(u64, u64)> {
    let sizes = text.strip_prefix("Error, decoded message length too large: found ")?;
    let (found, limit) = sizes.split_once(" bytes, the limit is: ")?;
    let limit = limit.strip_suffix(" bytes")?;
    Some((found.parse().ok()?, limit.parse().ok()?))
}
