//! CPU and memory: what a unit reserves and what a machine has. Beyond fleet, which knew neither.
//!
//! | | CPU | memory |
//! |---|---|---|
//! | a unit, `[X-Fleet]` | `CPUReserve=150%`: of one processor, as `CPUQuota=` | `MemoryReserve=512M`, as `MemoryMax=` |
//! | a machine, metadata | `cpus=4` | `memory=8G` |
//!
//! Where its metadata does not say, a machine has what it found of itself when it registered.
//!
//! Sizes take K, M, G and T, to the base 1024 (systemd.resource-control(5)).

use serde::{Deserialize, Serialize};

use crate::machine::Machine;

/// An amount of both.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Resources {
    /// In percent of one processor.
    pub cpu_percent: u64,
    /// In bytes.
    pub memory_bytes: u64,
}

/// What a machine has; None where that is not known.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Capacity {
    /// In percent of one processor.
    pub cpu_percent: Option<u64>,
    /// In bytes.
    pub memory_bytes: Option<u64>,
}

impl Resources {
    /// Nothing of either?
    pub fn is_none(&self) -> bool {
        *self == Resources::default()
    }

    /// Both together.
    pub fn plus(self, other: Resources) -> Resources {
        Resources {
            cpu_percent: self.cpu_percent.saturating_add(other.cpu_percent),
            memory_bytes: self.memory_bytes.saturating_add(other.memory_bytes),
        }
    }

    /// What is left without the other.
    pub fn minus(self, other: Resources) -> Resources {
        Resources {
            cpu_percent: self.cpu_percent.saturating_sub(other.cpu_percent),
            memory_bytes: self.memory_bytes.saturating_sub(other.memory_bytes),
        }
    }
}

impl Capacity {
    /// What a machine has. A value of its metadata that cannot be read is none.
    pub fn of(machine: &Machine) -> Capacity {
        let found = |amount: u64| (amount > 0).then_some(amount);
        let said = |key, read: fn(&str) -> Option<u64>| machine.metadata.get(key).map(|text| read(text));
        let cpus = |text: &str| text.parse::<u64>().ok().map(|cpus| cpus.saturating_mul(100));
        Capacity {
            cpu_percent: said("cpus", cpus).unwrap_or(found(machine.found.cpu_percent)),
            memory_bytes: said("memory", parse_size).unwrap_or(found(machine.found.memory_bytes)),
        }
    }
}

/// `150%`.
pub fn parse_percent(text: &str) -> Option<u64> {
    text.trim().strip_suffix('%')?.trim_end().parse().ok()
}

/// `512M`, `1.5G`, or bytes.
pub fn parse_size(text: &str) -> Option<u64> {
    let text = text.trim();
    let shift = match text.chars().next_back()? {
        'K' => 10,
        'M' => 20,
        'G' => 30,
        'T' => 40,
        _ => 0,
    };
    let number = if shift == 0 { text } else { &text[..text.len() - 1] };
    let (whole, part) = number.split_once('.').unwrap_or((number, ""));
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    if !digits(whole) || (number.contains('.') && !(digits(part) && part.len() <= 6)) {
        return None;
    }
    let scale = 10u128.pow(part.len() as u32);
    let number: u128 = format!("{whole}{part}").parse().ok()?;
    u64::try_from(number.checked_shl(shift)? / scale).ok()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::machine::MachineId;

    #[test]
    fn reads_sizes_and_percents_as_systemd_writes_them() {
        for (text, want) in [
            ("0", Some(0)),
            ("1000", Some(1000)),
            ("2K", Some(2048)),
            ("1.5G", Some(3 << 29)),
            ("16T", Some(16 << 40)),
            ("99999999999T", None),
            ("1.", None),
            (".5G", None),
            ("G", None),
            ("-1", None),
            ("1 000", None),
            ("ä", None),
            ("", None),
        ] {
            assert_eq!(parse_size(text), want, "{text}");
        }
        assert_eq!(parse_percent("150%"), Some(150));
        assert_eq!(parse_percent("1.5"), None);
    }

    #[test]
    fn what_a_machines_metadata_says_goes_before_what_it_found() {
        let capacity = |metadata: &[(&str, &str)]| {
            let found = Resources {
                cpu_percent: 200,
                memory_bytes: 0,
            };
            let metadata = metadata
                .iter()
                .map(|(key, value)| (key.to_string(), value.to_string()));
            let capacity = Capacity::of(&Machine {
                id: MachineId("a".to_owned()),
                primary_ip: String::new(),
                metadata: metadata.collect(),
                found,
            });
            (capacity.cpu_percent, capacity.memory_bytes)
        };
        assert_eq!(
            capacity(&[("cpus", "4"), ("memory", "8G")]),
            (Some(400), Some(8 << 30))
        );
        assert_eq!(capacity(&[]), (Some(200), None));
        assert_eq!(capacity(&[("cpus", "many")]), (None, None));
    }
}
