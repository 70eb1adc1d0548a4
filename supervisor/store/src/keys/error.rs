//! etcd's v2 errors: codes, texts and HTTP statuses (contract `etcd.md` section 1.4).

use serde::{Deserialize, Serialize};

use super::json;

/// The error codes that are ever produced.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[repr(u16)]
#[allow(missing_docs)] // each is its message
pub enum Code {
    KeyNotFound = 100,
    TestFailed = 101,
    NotFile = 102,
    NotDir = 104,
    NodeExist = 105,
    RootReadOnly = 107,
    DirNotEmpty = 108,
    Unauthorized = 110,
    PrevValueRequired = 201,
    TtlNotANumber = 202,
    IndexNotANumber = 203,
    InvalidField = 209,
    InvalidForm = 210,
    RefreshValue = 211,
    RefreshTtlRequired = 212,
    RaftInternal = 300,
    LeaderElect = 301,
    WatcherCleared = 400,
    EventIndexCleared = 401,
}

impl Code {
    /// The number on the wire.
    pub fn number(self) -> u16 {
        self as u16
    }

    /// etcd's text.
    pub fn message(self) -> &'static str {
        match self {
            Code::KeyNotFound => "Key not found",
            Code::TestFailed => "Compare failed",
            Code::NotFile => "Not a file",
            Code::NotDir => "Not a directory",
            Code::NodeExist => "Key already exists",
            Code::RootReadOnly => "Root is read only",
            Code::DirNotEmpty => "Directory not empty",
            Code::Unauthorized => "The request requires user authentication",
            Code::PrevValueRequired => "PrevValue is Required in POST form",
            Code::TtlNotANumber => "The given TTL in POST form is not a number",
            Code::IndexNotANumber => "The given index in POST form is not a number",
            Code::InvalidField => "Invalid field",
            Code::InvalidForm => "Invalid POST form",
            Code::RefreshValue => "Value provided on refresh",
            Code::RefreshTtlRequired => "A TTL must be provided on refresh",
            Code::RaftInternal => "Raft Internal Error",
            Code::LeaderElect => "During Leader Election",
            Code::WatcherCleared => "watcher is cleared due to etcd recovery",
            Code::EventIndexCleared => "The event in requested index is outdated and cleared",
        }
    }

    /// The HTTP status that goes with it.
    pub fn http_status(self) -> u16 {
        match self {
            Code::KeyNotFound => 404,
            Code::NotFile | Code::DirNotEmpty => 403,
            Code::Unauthorized => 401,
            Code::TestFailed | Code::NodeExist => 412,
            Code::RaftInternal | Code::LeaderElect => 500,
            _ => 400,
        }
    }
}

/// A refused request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{}: {} ({cause}) [{index}]", .code.number(), .code.message())]
pub struct Error {
    /// Which.
    pub code: Code,
    /// What exactly: a key, a comparison, a parameter. May be empty.
    pub cause: String,
    /// The store's index, 0 for a request that did not parse: `X-Etcd-Index`.
    pub index: u64,
}

impl Error {
    /// An error at the store's index `index`.
    pub fn new(code: Code, cause: impl Into<String>, index: u64) -> Error {
        Error {
            code,
            cause: cause.into(),
            index,
        }
    }

    /// The answer's body: `{"errorCode":..,"message":..,"cause":..,"index":..}` and a line end.
    pub fn to_json(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(128);
        out.extend_from_slice(b"{\"errorCode\":");
        json::number(&mut out, u64::from(self.code.number()));
        out.extend_from_slice(b",\"message\":");
        json::string(&mut out, self.code.message());
        if !self.cause.is_empty() {
            out.extend_from_slice(b",\"cause\":");
            json::string(&mut out, &self.cause);
        }
        out.extend_from_slice(b",\"index\":");
        json::number(&mut out, self.index);
        out.extend_from_slice(b"}\n");
        out
    }
}
