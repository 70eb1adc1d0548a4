//! Time does not run backwards: whoever begins after another's answer sees an index or revision at least as high, and a
//! write that begins after another write's answer comes behind it in the log.

use super::Recorded;
use crate::cluster::client::{End, Face};

/// Checks all operations.
///
/// # Errors
/// The first that saw the past.
pub fn at_the_end(recorded: &[Recorded]) -> Result<(), String> {
    for face in [Face::V2, Face::V3] {
        let mut answered: Vec<(u64, u64, &Recorded, u64, u64)> = Vec::new();
        for one in recorded.iter().filter(|one| one.operation.face == face) {
            if let Some((ended_ms, End::Answer { place, entry, .. })) = &one.ended
                && *place > 0
            {
                answered.push((one.began_ms, *ended_ms, one, *place, *entry));
            }
        }
        let mut by_end = answered.clone();
        by_end.sort_by_key(|(_, ended, ..)| *ended);
        answered.sort_by_key(|(began, ..)| *began);
        let mut before = by_end.iter().peekable();
        let (mut highest, mut last_entry): (Option<(u64, &Recorded)>, u64) = (None, 0);
        for (began, _, one, place, entry) in &answered {
            while let Some((_, _, other, place, entry)) = before.next_if(|(_, ended, ..)| ended < began) {
                if highest.is_none_or(|(known, _)| known < *place) {
                    highest = Some((*place, *other));
                }
                last_entry = last_entry.max(*entry);
            }
            if let Some((known, other)) = highest
                && known > *place
            {
                return Err(format!("{one:?} saw {place}, after {other:?} had seen {known}"));
            }
            if *entry > 0 && *entry < last_entry {
                return Err(format!(
                    "{one:?} is in entry {entry}, after entry {last_entry} was answered"
                ));
            }
        }
    }
    Ok(())
}
