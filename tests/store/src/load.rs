//! What a load is: who asks for what, and what came of it.

/// etcd's interface, which both servers have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Face {
    /// HTTP and JSON.
    V2,
    /// gRPC.
    V3,
}

/// The kinds of requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Load {
    /// PUT of a value to a random key.
    Put,
    /// GET of a random key, from this server's own state.
    Get,
    /// GET of a random key, linearizable.
    QuorumGet,
}

/// What a load gave.
#[derive(Debug, Clone, Copy)]
pub struct Measured {
    /// Requests per second.
    pub per_second: f64,
    /// Half of the requests were answered within this, in ms.
    pub p50_ms: f64,
    /// 99 of 100 were answered within this, in ms.
    pub p99_ms: f64,
}

/// How many keys there are.
pub const KEYS: usize = 10_000;
/// How large a value is, in bytes.
pub const VALUE: usize = 256;
