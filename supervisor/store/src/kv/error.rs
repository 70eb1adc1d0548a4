//! The errors of the v3 data model, its alarms and its users: etcd's texts and gRPC codes (etcd 3.4, `rpctypes/error.go`).

use serde::{Deserialize, Serialize};

/// A refused v3 request. The text is the gRPC status message. Encoded by number: new ones go at the end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[allow(missing_docs)] // each is its message
pub enum Error {
    #[error("etcdserver: key is not provided")]
    EmptyKey,
    #[error("etcdserver: key not found")]
    KeyNotFound,
    #[error("etcdserver: value is provided")]
    ValueProvided,
    #[error("etcdserver: lease is provided")]
    LeaseProvided,
    #[error("etcdserver: too many operations in txn request")]
    TooManyOps,
    #[error("etcdserver: duplicate key given in txn request")]
    DuplicateKey,
    #[error("etcdserver: mvcc: required revision has been compacted")]
    Compacted,
    #[error("etcdserver: mvcc: required revision is a future revision")]
    FutureRevision,
    #[error("etcdserver: requested lease not found")]
    LeaseNotFound,
    #[error("etcdserver: lease already exists")]
    LeaseExists,
    #[error("etcdserver: too large lease TTL")]
    LeaseTtlTooLarge,
    #[error("etcdserver: mvcc: database space exceeded")]
    NoSpace,
    #[error("etcdserver: corrupt cluster")]
    Corrupt,
    #[error("etcdserver: user name is empty")]
    UserEmpty,
    #[error("etcdserver: user name already exists")]
    UserExists,
    #[error("etcdserver: user name not found")]
    UserNotFound,
    #[error("etcdserver: role name is empty")]
    RoleEmpty,
    #[error("etcdserver: role name already exists")]
    RoleExists,
    #[error("etcdserver: role name not found")]
    RoleNotFound,
    #[error("etcdserver: role is not granted to the user")]
    RoleNotGranted,
    #[error("etcdserver: permission is not granted to the role")]
    PermissionNotGranted,
    #[error("etcdserver: permission denied")]
    PermissionDenied,
    #[error("etcdserver: root user does not exist")]
    RootUserNotExist,
    #[error("etcdserver: root user does not have root role")]
    RootRoleNotExist,
    #[error("etcdserver: invalid auth management")]
    InvalidAuthManagement,
    #[error("etcdserver: authentication is not enabled")]
    AuthNotEnabled,
    #[error("etcdserver: authentication failed, invalid user ID or password")]
    AuthFailed,
    #[error("etcdserver: invalid auth token")]
    InvalidAuthToken,
    #[error("etcdserver: revision of auth store is old")]
    AuthOldRevision,
}

impl Error {
    /// The number of the gRPC status code that etcd answers with.
    pub fn grpc_code(self) -> i32 {
        match self {
            Error::EmptyKey
            | Error::KeyNotFound
            | Error::ValueProvided
            | Error::LeaseProvided
            | Error::TooManyOps
            | Error::DuplicateKey
            | Error::UserEmpty
            | Error::RoleEmpty
            | Error::InvalidAuthManagement
            | Error::AuthFailed
            | Error::AuthOldRevision => 3, // INVALID_ARGUMENT
            Error::LeaseNotFound => 5,    // NOT_FOUND
            Error::PermissionDenied => 7, // PERMISSION_DENIED
            Error::NoSpace => 8,          // RESOURCE_EXHAUSTED
            Error::LeaseExists
            | Error::UserExists
            | Error::UserNotFound
            | Error::RoleExists
            | Error::RoleNotFound
            | Error::RoleNotGranted
            | Error::PermissionNotGranted
            | Error::RootUserNotExist
            | Error::RootRoleNotExist
            | Error::AuthNotEnabled => 9, // FAILED_PRECONDITION
            Error::Compacted | Error::FutureRevision | Error::LeaseTtlTooLarge => 11, // OUT_OF_RANGE
            Error::Corrupt => 15,         // DATA_LOSS
            Error::InvalidAuthToken => 16, // UNAUTHENTICATED
        }
    }
}
