//! The v3 messages as JSON, as etcd's grpc-gateway maps them: bytes in base64, 64-bit numbers as strings, fields by their
//! names in the .proto files, defaults left out, unknown fields passed over.
//!
//! Knows no message: the descriptors say how each is written.

use prost_reflect::{
    DescriptorError, DescriptorPool, DeserializeOptions, DynamicMessage, MethodDescriptor, SerializeOptions,
};
use serde_json::{Deserializer, Error};

use crate::DESCRIPTORS;

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

/// The methods, by the paths of the gateway.
#[derive(Debug, Clone)]
pub struct Methods(DescriptorPool);

impl Methods {
    /// All of them.
    ///
    /// # Errors
    /// When the descriptors do not decode.
    pub fn new() -> Result<Methods, DescriptorError> {
        DescriptorPool::decode(DESCRIPTORS).map(Methods)
    }

    /// The method behind `/v3/...` or `/v3beta/...`.
    pub fn at(&self, path: &str) -> Option<MethodDescriptor> {
        let below = path
            .strip_prefix("/v3beta")
            .or_else(|| path.strip_prefix("/v3"))?;
        let (_, service, method) = PATHS.iter().find(|(known, ..)| *known == below)?;
        let service = self.0.get_service_by_name(service)?;
        service.methods().find(|known| known.name() == *method)
    }

    /// Every path below `/v3`.
    pub fn paths() -> impl Iterator<Item = &'static str> {
        PATHS.iter().map(|(path, ..)| *path)
    }
}

/// The messages of a body: one, or any number where the client streams. An empty body is one empty message.
///
/// # Errors
/// When it is no JSON, or not of the method's message.
pub fn read(method: &MethodDescriptor, body: &[u8]) -> Result<Vec<DynamicMessage>, Error> {
    let options = DeserializeOptions::new().deny_unknown_fields(false);
    let mut json = Deserializer::from_slice(body);
    let mut messages = Vec::new();
    while json.end().is_err() {
        messages.push(DynamicMessage::deserialize_with_options(
            method.input(),
            &mut json,
            &options,
        )?);
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
///
/// # Errors
/// When it cannot be written, as one with a time out of range.
pub fn write(message: &DynamicMessage) -> Result<Vec<u8>, Error> {
    let options = SerializeOptions::new().use_proto_field_name(true);
    let mut out = Vec::new();
    let mut json = serde_json::Serializer::new(&mut out);
    message.serialize_with_options(&mut json, &options)?;
    Ok(out)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn every_path_leads_to_a_method() {
        let methods = Methods::new().unwrap();
        for (path, _, method) in PATHS {
            let found = methods.at(&format!("/v3{path}")).unwrap();
            assert_eq!(found.name(), *method);
        }
        assert!(methods.at("/v3/nosuch").is_none());
    }

    #[test]
    fn messages_as_grpc_gateway_writes_them() {
        let methods = Methods::new().unwrap();
        let put = methods.at("/v3beta/kv/put").unwrap();
        let body = br#"{"key": "Zm9v", "lease": "12345678901234567", "prev_kv": true, "nosuch": 1}"#;
        let messages = read(&put, body).unwrap();
        let json = String::from_utf8(write(&messages[0]).unwrap()).unwrap();
        assert_eq!(
            json,
            r#"{"key":"Zm9v","lease":"12345678901234567","prev_kv":true}"#
        );
        assert_eq!(read(&put, b"").unwrap().len(), 1);
        assert!(read(&put, b"{").is_err());
        let watch = methods.at("/v3/watch").unwrap();
        assert_eq!(read(&watch, b"{\"progress_request\":{}}\n{}").unwrap().len(), 2);
        assert_eq!(read(&watch, b"").unwrap().len(), 0);
    }
}
