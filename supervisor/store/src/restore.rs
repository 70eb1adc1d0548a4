//! What of an old cluster's rows becomes part of a new one that is made from its snapshot.

use crate::tables::Table;
use crate::{alarm, auth};

/// Whether a row stays. Keys, revisions, indexes, leases, users and the fleet's units do; what the old members said about
/// themselves, who was removed, and the alarms they raised is about machines that the new cluster does not have, and what
/// they made tokens with is theirs.
pub fn keeps(table: Table, key: &[u8]) -> bool {
    match table {
        Table::Members | Table::RemovedMembers => false,
        Table::Meta => key != alarm::KEY,
        Table::Auth => !auth::is_token_secret(table, key),
        _ => true,
    }
}
