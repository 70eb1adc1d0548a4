//! Slash-separated paths as Go's `path` package cleans them, and URL escapes as its `net/url` writes them.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

/// What net/url leaves alone in a path.
const PATH: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'_')
    .remove(b'.')
    .remove(b'~')
    .remove(b'$')
    .remove(b'&')
    .remove(b'+')
    .remove(b',')
    .remove(b'/')
    .remove(b':')
    .remove(b';')
    .remove(b'=')
    .remove(b'@');

/// `path.Clean` of an absolute path: no empty, `.` or `..` elements, no slash at the end.
pub(crate) fn clean(path: &str) -> String {
    let mut kept: Vec<&str> = Vec::new();
    for element in path.split('/') {
        match element {
            "" | "." => {}
            ".." => {
                kept.pop();
            }
            other => kept.push(other),
        }
    }
    format!("/{}", kept.join("/"))
}

/// A path as it stands in a URL.
pub(crate) fn escape_path(path: &str) -> String {
    utf8_percent_encode(path, PATH).to_string()
}

/// One element of a path as it stands in a URL, with nothing but letters, digits and `-_.~` left as it is.
pub(crate) fn escape_segment(segment: &str) -> String {
    const SEGMENT: &AsciiSet = &NON_ALPHANUMERIC
        .remove(b'-')
        .remove(b'_')
        .remove(b'.')
        .remove(b'~');
    utf8_percent_encode(segment, SEGMENT).to_string()
}

/// `a=b&c=d` with spaces as `+`, in the order given.
pub(crate) fn escape_query(pairs: &[(&str, String)]) -> String {
    form_urlencoded::Serializer::new(String::new())
        .extend_pairs(pairs)
        .finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_cleaned() {
        for (path, cleaned) in [
            ("/v2/keys/", "/v2/keys"),
            ("/v2/keys//a/../b/./c/", "/v2/keys/b/c"),
            ("/../..", "/"),
        ] {
            assert_eq!(clean(path), cleaned);
        }
    }

    #[test]
    fn urls_are_escaped() {
        assert_eq!(escape_path("/v2/keys/k y%ü@1"), "/v2/keys/k%20y%25%C3%BC@1");
        assert_eq!(
            escape_query(&[("value", "a b&".to_owned()), ("ttl", "5".to_owned())]),
            "value=a+b%26&ttl=5"
        );
    }
}
