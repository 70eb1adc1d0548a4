//! etcd's v3 API on the wire: messages, clients and servers, made of `proto/` when this crate is built.
//!
//! Packages, services, messages, fields and numbers are etcd 3.4's, with AuthStatus and Downgrade of 3.5, so that any
//! client of etcd speaks it. Holds no behaviour. Danger: a number that is changed here breaks every client, silently.

/// Keys, values and events.
#[allow(missing_docs, rust_2018_idioms)]
pub mod mvccpb {
    tonic::include_proto!("mvccpb");
}

/// Permissions.
#[allow(missing_docs, rust_2018_idioms)]
pub mod authpb {
    tonic::include_proto!("authpb");
}

/// KV, Watch, Lease, Cluster, Maintenance and Auth.
#[allow(missing_docs, rust_2018_idioms)]
pub mod etcdserverpb {
    tonic::include_proto!("etcdserverpb");
}

/// Locks.
#[allow(missing_docs, rust_2018_idioms)]
pub mod v3lockpb {
    tonic::include_proto!("v3lockpb");
}

/// Elections.
#[allow(missing_docs, rust_2018_idioms)]
pub mod v3electionpb {
    tonic::include_proto!("v3electionpb");
}

pub mod json;

/// The encoded `FileDescriptorSet` of all of it, for what must know names at run time (the JSON gateway).
pub const DESCRIPTORS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/descriptors.bin"));

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use prost::Message;

    use crate::etcdserverpb::compare::{CompareTarget, TargetUnion};
    use crate::etcdserverpb::{Compare, PutRequest, RangeRequest, WatchResponse};

    /// Bytes as protobuf's own encoding rules give them for etcd's numbers.
    #[test]
    fn numbers_are_etcds() {
        let put = PutRequest {
            key: Bytes::from_static(b"k"),
            value: Bytes::from_static(b"v"),
            lease: 7,
            prev_kv: true,
            ..PutRequest::default()
        };
        assert_eq!(put.encode_to_vec(), b"\x0a\x01k\x12\x01v\x18\x07\x20\x01");
        let range = RangeRequest {
            max_create_revision: 3,
            serializable: true,
            ..RangeRequest::default()
        };
        assert_eq!(range.encode_to_vec(), b"\x38\x01\x68\x03");
        let compare = Compare {
            target: CompareTarget::Lease.into(),
            target_union: Some(TargetUnion::Lease(5)),
            range_end: Bytes::from_static(b"z"),
            ..Compare::default()
        };
        assert_eq!(compare.encode_to_vec(), b"\x10\x04\x40\x05\x82\x04\x01z");
        let watch = WatchResponse {
            compact_revision: 9,
            fragment: true,
            events: vec![crate::mvccpb::Event::default()],
            ..WatchResponse::default()
        };
        assert_eq!(watch.encode_to_vec(), b"\x28\x09\x38\x01\x5a\x00");
    }
}
