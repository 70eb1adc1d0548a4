//! What goes into the image, and what of it stays: the lists in `image/lists`, which a person edits.
//!
//! Packages are asked for by name and come with what they depend on; of those, the dropped are never unpacked. Of the
//! unpacked files the pruned go, and of some folders only a list stays, because there a newcomer costs boot time.
//! Every list is part of the digest that names the cached tree.

/// Where packages come from, whatever the host runs.
pub const SUITE: &str = "trixie";

/// Folders of which only the listed entries stay, and their lists.
const KEPT: [(&str, &str); 6] = [
    ("etc", include_str!("../lists/kept/etc")),
    (
        "usr/lib/systemd/network",
        include_str!("../lists/kept/usr.lib.systemd.network"),
    ),
    (
        "usr/lib/systemd/system",
        include_str!("../lists/kept/usr.lib.systemd.system"),
    ),
    (
        "usr/lib/systemd/system-generators",
        include_str!("../lists/kept/usr.lib.systemd.system-generators"),
    ),
    (
        "usr/lib/tmpfiles.d",
        include_str!("../lists/kept/usr.lib.tmpfiles.d"),
    ),
    (
        "usr/lib/udev/rules.d",
        include_str!("../lists/kept/usr.lib.udev.rules.d"),
    ),
];

/// Packages of the tool tree.
pub fn tools() -> Vec<&'static str> {
    items(include_str!("../lists/tools"))
}

/// Packages asked for.
pub fn packages() -> Vec<&'static str> {
    items(include_str!("../lists/packages"))
}

/// Packages never unpacked.
pub fn dropped() -> Vec<&'static str> {
    items(include_str!("../lists/dropped"))
}

/// Path patterns removed after unpacking.
pub fn pruned() -> Vec<&'static str> {
    items(include_str!("../lists/pruned"))
}

/// Folders and the entries that stay in them.
pub fn kept() -> Vec<(&'static str, Vec<&'static str>)> {
    KEPT.iter().map(|(folder, list)| (*folder, items(list))).collect()
}

/// Kernel modules that stay.
pub fn modules() -> Vec<&'static str> {
    items(include_str!("../lists/modules"))
}

/// Kernel modules /init loads always.
pub fn boot_modules() -> Vec<&'static str> {
    items(include_str!("../lists/boot-modules"))
}

/// Kernel modules /init loads at once when a device asks for them.
pub fn boot_modules_wanted() -> Vec<&'static str> {
    items(include_str!("../lists/boot-modules-wanted"))
}

/// Kernel modules /init loads when a device asks for them and the disk is not found without.
pub fn boot_modules_by_alias() -> Vec<&'static str> {
    items(include_str!("../lists/boot-modules-by-alias"))
}

/// The words of a list, without its comments.
fn items(list: &str) -> Vec<&str> {
    list.lines()
        .filter_map(|line| line.split('#').next())
        .flat_map(str::split_ascii_whitespace)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn comments_and_blanks_are_no_items() {
        assert_eq!(items("# a\nb c # d\n\n e\n"), ["b", "c", "e"]);
    }

    #[test]
    fn nothing_is_listed_twice() {
        let mut lists = vec![
            tools(),
            packages(),
            dropped(),
            pruned(),
            modules(),
            boot_modules_by_alias(),
        ];
        lists.extend(kept().into_iter().map(|(_, list)| list));
        for list in lists {
            let mut seen = BTreeSet::new();
            for item in list {
                assert!(seen.insert(item), "{item} stands twice in its list");
            }
        }
    }

    #[test]
    fn what_boots_also_stays() {
        let stays = modules();
        for module in [boot_modules(), boot_modules_wanted(), boot_modules_by_alias()].concat() {
            assert!(stays.contains(&module), "{module} is loaded at boot but not kept");
        }
    }
}
