//! Paths with `*` in their names, as [`crate::rules`] uses them.

use anyhow::Result;
use std::fs;
use std::path::{Path, PathBuf};

/// The existing paths below `root` that `pattern` names; `*` does not cross a `/`.
pub fn find(root: &Path, pattern: &str) -> Result<Vec<PathBuf>> {
    let mut found = vec![root.to_path_buf()];
    for part in pattern.split('/') {
        let mut next = Vec::new();
        for dir in &found {
            if !part.contains('*') {
                next.push(dir.join(part));
            } else if dir.is_dir() {
                let names = fs::read_dir(dir)?.flatten().map(|e| e.file_name());
                next.extend(
                    names
                        .filter(|n| matches(part, &n.to_string_lossy()))
                        .map(|n| dir.join(n)),
                );
            }
        }
        next.retain(|p| p.symlink_metadata().is_ok());
        next.sort();
        found = next;
    }
    Ok(found)
}

/// Whether `text` is what `pattern` with its `*` stands for.
pub fn matches(pattern: &str, text: &str) -> bool {
    match pattern.split_once('*') {
        None => pattern == text,
        Some((before, after)) => text.strip_prefix(before).is_some_and(|rest| {
            rest.char_indices()
                .map(|(i, _)| i)
                .chain([rest.len()])
                .any(|i| matches(after, &rest[i..]))
        }),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn stars() {
        for (pattern, text, expected) in [
            ("a", "a", true),
            ("a*", "abc", true),
            ("*", "", true),
            ("a*c", "abc", true),
            ("a*c", "abd", false),
            ("*.so.*", "libx.so.1", true),
        ] {
            assert_eq!(matches(pattern, text), expected, "{pattern} {text}");
        }
    }

    #[test]
    fn files() {
        let dir = tempfile::tempdir().unwrap();
        for name in ["x/aa", "x/ab", "y/aa"] {
            fs::create_dir_all(dir.path().join(name)).unwrap();
        }
        let names = |p| find(dir.path(), p).unwrap().len();
        assert_eq!(
            [names("x/a*"), names("*/aa"), names("x/none"), names("x")],
            [2, 2, 0, 1]
        );
    }
}
