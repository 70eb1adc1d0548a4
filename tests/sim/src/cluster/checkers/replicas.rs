//! All replicas are equal in the end, row by row.

use std::ops::ControlFlow;

use corten_raft::Node;
use corten_store::StoreFault;
use corten_store::tables::{KeyRange, Read, Table};

/// Every row of a node's state, in table and key order.
type Rows = Vec<(Table, Vec<u8>, Vec<u8>)>;

fn rows(node: &Node) -> Result<Rows, StoreFault> {
    node.read(|tx| {
        let mut rows = Vec::new();
        for table in Table::ALL {
            tx.scan(table, &KeyRange::all(), &mut |key, value| {
                rows.push((table, key.to_vec(), value.to_vec()));
                Ok(ControlFlow::Continue(()))
            })?;
        }
        Ok(rows)
    })
}

/// Compares all nodes' rows.
///
/// # Errors
/// The first row that differs.
pub fn at_the_end(nodes: &[&Node]) -> Result<(), String> {
    let all = nodes.iter().map(|node| rows(node));
    let all: Vec<Rows> = all.collect::<Result<_, _>>().map_err(|e| e.to_string())?;
    all.windows(2).try_for_each(|two| compare(&two[0], &two[1]))
}

fn compare(one: &Rows, other: &Rows) -> Result<(), String> {
    if one == other {
        return Ok(());
    }
    let differs = one.iter().zip(other).position(|(one, other)| one != other);
    let at = differs.unwrap_or(one.len().min(other.len()));
    Err(format!(
        "replicas differ: {:?} in one, {:?} in another",
        one.get(at),
        other.get(at)
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_that_differs_or_is_missing_is_found() {
        let row = |value: &[u8]| (Table::Leases, b"key".to_vec(), value.to_vec());
        let one = vec![row(b"1"), row(b"2")];
        assert_eq!(compare(&one, &one.clone()), Ok(()));
        assert!(compare(&one, &vec![row(b"1"), row(b"3")]).is_err());
        assert!(compare(&one, &vec![row(b"1")]).is_err());
    }
}
