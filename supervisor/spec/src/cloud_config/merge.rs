//! Files that cloud-config shares with others: the part that is ours is replaced, everything else stays.
//!
//! Danger: `authorized_keys` decides who may log in. A section of ours is known by its first and last line; text after
//! a first line without its last is kept, as if it were somebody else's.

use std::collections::BTreeMap;

/// Sets `NAME=value` lines: those there are get the new value, the rest follow in the order of their names.
pub fn set_variables(text: &str, values: &BTreeMap<String, String>) -> String {
    let mut left = values.clone();
    let mut out = String::new();
    for line in text.lines() {
        let name = line.split_once('=').map_or("", |(name, _)| name.trim());
        match left.remove(name) {
            Some(value) => out.push_str(&format!("{name}={value}\n")),
            // A second line of the same name would win over the new value.
            None if values.contains_key(name) => {}
            None => {
                out.push_str(line);
                out.push('\n');
            }
        }
    }
    left.iter()
        .for_each(|(name, value)| out.push_str(&format!("{name}={value}\n")));
    out
}

/// `authorized_keys` with the section `set` replaced by `keys`, each key once in the whole file.
pub fn set_keys(text: &str, set: &str, keys: &[String]) -> String {
    let first = format!("# begin coreos-cloudinit {set} (rewritten at boot)");
    let last = format!("# end coreos-cloudinit {set}");
    let lines: Vec<&str> = text.lines().collect();
    let section = lines.iter().position(|line| *line == first).and_then(|start| {
        let length = lines[start..].iter().position(|line| *line == last)?;
        Some(start..=start + length)
    });
    let kept: Vec<&str> = match section {
        Some(section) => {
            let outside = lines
                .iter()
                .enumerate()
                .filter(|(index, _)| !section.contains(index));
            outside.map(|(_, line)| *line).collect()
        }
        None => lines,
    };
    let mut out: Vec<&str> = kept;
    let mut ours: Vec<&str> = Vec::new();
    for key in keys
        .iter()
        .flat_map(|key| key.lines())
        .map(str::trim)
        .filter(|key| !key.is_empty())
    {
        if !out.contains(&key) && !ours.contains(&key) {
            ours.push(key);
        }
    }
    if !ours.is_empty() {
        out.push(&first);
        out.extend(ours);
        out.push(&last);
    }
    out.iter().map(|line| format!("{line}\n")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variables_are_set_in_place() {
        let values = BTreeMap::from([("B".to_owned(), "2".to_owned()), ("A".to_owned(), "1".to_owned())]);
        assert_eq!(set_variables("", &values), "A=1\nB=2\n");
        assert_eq!(
            set_variables("# c\nB=old\nC=3\nB=older", &values),
            "# c\nB=2\nC=3\nA=1\n"
        );
        assert_eq!(set_variables("B\n", &values), "B\nA=1\nB=2\n");
    }

    #[test]
    fn keys_are_a_section() {
        let keys = |names: &[&str]| names.iter().map(|n| (*n).to_owned()).collect::<Vec<_>>();
        let one = set_keys("mine\n", "drive", &keys(&["k1", " k2\n", "k1", "mine", ""]));
        let begin = "# begin coreos-cloudinit drive (rewritten at boot)\n";
        assert_eq!(
            one,
            format!("mine\n{begin}k1\nk2\n# end coreos-cloudinit drive\n")
        );
        let two = set_keys(&one, "oem", &keys(&["k3"]));
        let three = set_keys(&two, "drive", &keys(&["k4"]));
        assert!(three.contains("k3") && three.contains("k4") && three.contains("mine"));
        assert!(!three.contains("k1") && !three.contains("k2"));
        assert_eq!(
            set_keys(&three, "drive", &keys(&["k4"])).lines().count(),
            three.lines().count()
        );
        assert_eq!(set_keys(&one, "drive", &[]), "mine\n");
        let torn = format!("{begin}k1\n");
        assert!(set_keys(&torn, "drive", &keys(&["k2"])).starts_with(&torn));
    }
}
