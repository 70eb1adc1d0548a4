//! The durable Raft log: an append-only journal in segment files, one fdatasync for all that waits.
//!
//! ```text
//! <data dir>/log/00000000000000000001.log     segments, numbered without gaps
//!                00000000000000000002.log     the last is the one written to
//!
//! segment    magic "CORTLOG1" | number u64 | cluster u64 | crc32c u32 of the 24 bytes before | 0 u32     32 bytes
//!            records, each at a multiple of 8 bytes
//!            zeros up to the allocated length
//!
//! record     crc32c u32   of the segment's number (u64) and everything behind this field
//!            length u32   of the payload
//!            synced u64   every byte of this segment before this offset was on disk before this record was written
//!            kind   u8    and 7 zero bytes
//!            payload      postcard, zero-padded to a multiple of 8
//! ```
//!
//! All numbers are little-endian. Votes, the committed position, truncations and purges are records among the entries, so
//! their order is the file's order. A segment begins with a record of all that older segments said beyond entries; an
//! older segment whose entries are purged can therefore be removed.
//!
//! **Torn tails.** A crash may leave any part of the writes since the last sync on disk. Reading therefore stops at the
//! first record that does not check, and looks at what lies behind: a sound record that says bytes *at or behind* the bad
//! one were already synced proves damage to acknowledged data, and the log refuses to open, naming file and offset.
//! Otherwise the bad record belongs to the unsynced tail: it is cut, and said so. Only the last segment has a tail.
//!
//! **Full disk.** Space is allocated ahead, by writing zeros, so running out of it is seen before a record is written. The
//! writer then waits and tries again, saying so; nothing is lost, nothing is acknowledged, reads go on.
//!
//! **A failed sync** is final: what the kernel dropped cannot be known, so the log answers errors from then on.

pub mod fuzz;
mod record;
mod recover;
mod segment;
mod shared;
mod store;
mod writer;

pub use store::LogStore;
pub(crate) use writer::is_full;

#[cfg(test)]
mod tests;
