//! What others rely on to the letter: the log's bytes, etcd's texts.

use super::*;

/// The log of a running cluster holds these bytes.
#[test]
fn commands_are_encoded_as_they_were() {
    let encoded = |command| postcard::to_stdvec(&Any::Kv(command)).unwrap();
    assert_eq!(
        encoded(Command::Put(on_lease("k", 3))),
        [5, 0, 1, b'k', 1, b'v', 6, 0, 0, 0]
    );
    assert_eq!(
        encoded(Command::DeleteRange(delete("k", ""))),
        [5, 1, 1, b'k', 0, 1]
    );
    assert_eq!(encoded(Command::Txn(Txn::default())), [5, 2, 0, 0, 0]);
    assert_eq!(encoded(Command::Compact { revision: 1 }), [5, 3, 2]);
    assert_eq!(encoded(Command::LeaseGrant { id: 1, ttl_s: 2 }), [5, 4, 2, 4]);
    assert_eq!(encoded(Command::LeaseRevoke { id: 1 }), [5, 5, 2]);
    assert_eq!(encoded(Command::Sweep), [5, 6]);
}

#[test]
fn errors_have_etcds_texts_and_codes() {
    for (error, text, code) in [
        (Error::EmptyKey, "etcdserver: key is not provided", 3),
        (Error::KeyNotFound, "etcdserver: key not found", 3),
        (Error::ValueProvided, "etcdserver: value is provided", 3),
        (Error::LeaseProvided, "etcdserver: lease is provided", 3),
        (
            Error::TooManyOps,
            "etcdserver: too many operations in txn request",
            3,
        ),
        (
            Error::DuplicateKey,
            "etcdserver: duplicate key given in txn request",
            3,
        ),
        (
            Error::Compacted,
            "etcdserver: mvcc: required revision has been compacted",
            11,
        ),
        (
            Error::FutureRevision,
            "etcdserver: mvcc: required revision is a future revision",
            11,
        ),
        (Error::LeaseNotFound, "etcdserver: requested lease not found", 5),
        (Error::LeaseExists, "etcdserver: lease already exists", 9),
        (Error::LeaseTtlTooLarge, "etcdserver: too large lease TTL", 11),
    ] {
        assert_eq!((error.to_string().as_str(), error.grpc_code()), (text, code));
    }
}
