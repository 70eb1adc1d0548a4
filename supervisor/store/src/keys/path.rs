//! Keys as paths: cleaning, splitting, hiding.

/// Cleans a path as etcd does (Go's `path.Clean` below the root): `//a/./b/../c/` is `/a/c`, nothing is `/`.
pub fn clean(raw: &str) -> String {
    let mut kept: Vec<&str> = Vec::new();
    for part in raw.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                kept.pop();
            }
            _ => kept.push(part),
        }
    }
    format!("/{}", kept.join("/"))
}

/// The parts of a cleaned key; none for the root.
pub fn parts(key: &str) -> impl Iterator<Item = &str> {
    key.split('/').filter(|part| !part.is_empty())
}

/// `dir` + `/` + `name`.
pub fn join(dir: &str, name: &str) -> String {
    let dir = if dir == "/" { "" } else { dir };
    [dir, "/", name].concat()
}

/// A name that listings leave out.
pub fn is_hidden_name(name: &str) -> bool {
    name.starts_with('_')
}

/// Whether `key` is hidden from a watcher at `watched`: a part of it below `watched` is hidden.
pub fn is_hidden_from(watched: &str, key: &str) -> bool {
    if watched.len() > key.len() {
        return false;
    }
    parts(key.get(watched.len()..).unwrap_or(key)).any(is_hidden_name)
}

/// Whether `key` lies below `dir` (and is not `dir` itself).
pub fn is_below(dir: &str, key: &str) -> bool {
    if dir == "/" {
        return key.len() > 1;
    }
    key.strip_prefix(dir).is_some_and(|rest| rest.starts_with('/'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_cleaned_as_go_does() {
        for (raw, clean_path) in [
            ("", "/"),
            ("/", "/"),
            ("/a/", "/a"),
            ("a//b", "/a/b"),
            ("/a/./b/../c/", "/a/c"),
            ("/../../x", "/x"),
            ("/a/..", "/"),
            ("/...", "/..."),
        ] {
            assert_eq!(clean(raw), clean_path, "{raw}");
        }
    }

    #[test]
    fn hidden_is_what_lies_below_the_watch() {
        for (watched, key, hidden) in [
            ("/", "/_h", true),
            ("/", "/a/_h/b", true),
            ("/a", "/a/_h", true),
            ("/a/_h", "/a/_h", false),
            ("/a/_h", "/a/_h/b", false),
            ("/a/b/c", "/a", false),
        ] {
            assert_eq!(is_hidden_from(watched, key), hidden, "{watched} {key}");
        }
    }

    #[test]
    fn below_is_by_whole_names() {
        assert!(is_below("/", "/a") && is_below("/a", "/a/b"));
        assert!(!is_below("/", "/") && !is_below("/a", "/a") && !is_below("/a", "/ab"));
    }
}
