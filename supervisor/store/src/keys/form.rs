//! URL-encoded forms as Go's `net/url` reads them: the raw query and the raw body of a request to name-value pairs.
//!
//! Bytes that are not UTF-8 become U+FFFD one by one: etcd would keep them, but can never show them to a client again.

use super::error::{Code, Error};

/// The pairs of a request: those of the body first, then those of the query, as Go's `ParseForm` orders them.
///
/// `body` is to be given only for PUT and POST with `Content-Type: application/x-www-form-urlencoded`.
///
/// # Errors
/// 210 with Go's words for the first escape that is none (`invalid URL escape "%zz"`), the body's before the query's.
pub fn pairs(query: &[u8], body: &[u8]) -> Result<Vec<(String, String)>, Error> {
    let mut found = Vec::new();
    parse_into(&mut found, body)?;
    parse_into(&mut found, query)?;
    Ok(found)
}

fn parse_into(found: &mut Vec<(String, String)>, raw: &[u8]) -> Result<(), Error> {
    for piece in raw.split(|b| *b == b'&').filter(|piece| !piece.is_empty()) {
        if piece.contains(&b';') {
            return Err(invalid("invalid semicolon separator in query".to_owned()));
        }
        let (name, value) = match piece.iter().position(|b| *b == b'=') {
            Some(at) => (&piece[..at], &piece[at + 1..]),
            None => (piece, &[][..]),
        };
        found.push((unescape(name, true)?, unescape(value, true)?));
    }
    Ok(())
}

/// The percent-decoded path of a request target (`+` stays).
///
/// # Errors
/// 210 for an escape that is none. (Go's server answers such a target 400 before etcd sees it.)
pub fn unescape_path(raw: &str) -> Result<String, Error> {
    unescape(raw.as_bytes(), false)
}

fn unescape(raw: &[u8], plus_is_space: bool) -> Result<String, Error> {
    if !raw.iter().any(|byte| matches!(byte, b'%' | b'+')) {
        return Ok(text(raw.to_vec()));
    }
    let mut out = Vec::with_capacity(raw.len());
    let mut at = 0;
    while at < raw.len() {
        match raw[at] {
            b'%' => {
                let digits = (raw.get(at + 1).and_then(hex), raw.get(at + 2).and_then(hex));
                let (Some(high), Some(low)) = digits else {
                    let bad = &raw[at..raw.len().min(at + 3)];
                    return Err(invalid(format!(
                        "invalid URL escape {:?}",
                        String::from_utf8_lossy(bad)
                    )));
                };
                out.push(high * 16 + low);
                at += 2;
            }
            b'+' if plus_is_space => out.push(b' '),
            byte => out.push(byte),
        }
        at += 1;
    }
    Ok(text(out))
}

fn hex(byte: &u8) -> Option<u8> {
    char::from(*byte)
        .to_digit(16)
        .and_then(|digit| u8::try_from(digit).ok())
}

fn text(bytes: Vec<u8>) -> String {
    String::from_utf8(bytes).unwrap_or_else(|bad| {
        let mut out = String::new();
        for chunk in bad.as_bytes().utf8_chunks() {
            out.push_str(chunk.valid());
            out.extend(chunk.invalid().iter().map(|_| char::REPLACEMENT_CHARACTER));
        }
        out
    })
}

fn invalid(cause: String) -> Error {
    Error::new(Code::InvalidForm, cause, 0)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn forms_are_read_as_go_does() {
        let got = pairs(b"value=q&recursive", b"value=a+b%2Fc&&ttl=&x=1=2&bin=%ff%fe!").unwrap();
        let want = [
            ("value", "a b/c"),
            ("ttl", ""),
            ("x", "1=2"),
            ("bin", "\u{fffd}\u{fffd}!"),
            ("value", "q"),
            ("recursive", ""),
        ];
        assert_eq!(got, want.map(|(n, v)| (n.to_owned(), v.to_owned())));
        for (raw, cause) in [
            ("value=%zz", "invalid URL escape \"%zz\""),
            ("value=%a", "invalid URL escape \"%a\""),
            ("%=1", "invalid URL escape \"%\""),
            ("a=1;b=2", "invalid semicolon separator in query"),
        ] {
            let error = pairs(b"", raw.as_bytes()).unwrap_err();
            assert_eq!((error.code, error.cause.as_str()), (Code::InvalidForm, cause));
        }
        assert_eq!(unescape_path("/a+b%20c").unwrap(), "/a+b c");
    }
}
