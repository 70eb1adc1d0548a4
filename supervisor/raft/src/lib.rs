//! corten-raft: being built.
