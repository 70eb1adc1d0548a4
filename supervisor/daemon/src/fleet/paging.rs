//! Page tokens: URL-safe base64 of a little-endian pair `{u16 limit, u16 page}`, as fleet's.
//!
//! Danger: fleet's quirk is kept that an exactly full last page still names a next one; clients follow it to `{}`.

const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

/// Which page of how many entries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PageToken {
    /// Entries per page.
    pub limit: u16,
    /// From 1.
    pub page: u16,
}

/// Why a token is none of ours; the texts are fleet's, some of them Go's.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    /// Made with another limit.
    #[error("token limit must be {0}")]
    Limit(u16),
    /// Pages count from 1.
    #[error("token page must be greater than zero")]
    Page,
    /// Several tokens in one query.
    #[error("too many values for page token")]
    Several,
    /// No base64.
    #[error("illegal base64 data at input byte {0}")]
    Base64(usize),
    /// Fewer than four bytes.
    #[error("unexpected EOF")]
    Short,
}

impl PageToken {
    /// The first page.
    pub fn first(limit: u16) -> PageToken {
        PageToken { limit, page: 1 }
    }

    /// The page asked for by the values of `nextPageToken` in a query.
    ///
    /// # Errors
    /// What is wrong with the token.
    pub fn asked(values: &[String], limit: u16) -> Result<PageToken, TokenError> {
        match values {
            [] => Ok(PageToken::first(limit)),
            [value] => PageToken::decode(value, limit),
            _ => Err(TokenError::Several),
        }
    }

    fn decode(text: &str, limit: u16) -> Result<PageToken, TokenError> {
        let bytes = decode_base64(text.as_bytes()).map_err(TokenError::Base64)?;
        let [l0, l1, p0, p1, ..] = bytes[..] else {
            return Err(TokenError::Short);
        };
        let token = PageToken {
            limit: u16::from_le_bytes([l0, l1]),
            page: u16::from_le_bytes([p0, p1]),
        };
        if token.limit != limit {
            return Err(TokenError::Limit(limit));
        }
        if token.page == 0 {
            return Err(TokenError::Page);
        }
        Ok(token)
    }

    /// The token as text.
    pub fn encode(self) -> String {
        let [l0, l1] = self.limit.to_le_bytes();
        let [p0, p1] = self.page.to_le_bytes();
        let sextets = |a: u8, b: u8, c: u8| {
            let bits = u32::from(a) << 16 | u32::from(b) << 8 | u32::from(c);
            [18, 12, 6, 0].map(|shift| char::from(ALPHABET[(bits >> shift & 63) as usize]))
        };
        let mut text: String = sextets(l0, l1, p0).iter().collect();
        text.extend(&sextets(p1, 0, 0)[..2]);
        text.push_str("==");
        text
    }

    /// This page's part of `all`, and the token of the next page if there may be one.
    pub fn cut<T>(self, all: Vec<T>) -> (Vec<T>, Option<String>) {
        let start = usize::from(self.page - 1) * usize::from(self.limit);
        let stop = start + usize::from(self.limit);
        let next = (start < all.len() && stop <= all.len() && self.page < u16::MAX).then(|| {
            PageToken {
                page: self.page + 1,
                ..self
            }
            .encode()
        });
        (
            all.into_iter()
                .skip(start)
                .take(usize::from(self.limit))
                .collect(),
            next,
        )
    }
}

/// Decodes padded base64; on failure the index of the first byte that does not fit.
fn decode_base64(text: &[u8]) -> Result<Vec<u8>, usize> {
    let body = text.iter().position(|&byte| byte == b'=').unwrap_or(text.len());
    let padding = &text[body..];
    let fits = match body % 4 {
        0 => padding.is_empty(),
        2 => padding == b"==",
        3 => padding == b"=",
        _ => false,
    };
    let mut found = Vec::with_capacity(text.len());
    let (mut bits, mut count) = (0u32, 0);
    for (at, byte) in text[..body].iter().enumerate() {
        let value = ALPHABET.iter().position(|letter| letter == byte).ok_or(at)?;
        bits = bits << 6 | u32::try_from(value).map_err(|_| at)?;
        count += 6;
        if count >= 8 {
            count -= 8;
            found.push((bits >> count & 0xff) as u8);
        }
    }
    if fits { Ok(found) } else { Err(body) }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn tokens_as_observed() {
        assert_eq!(PageToken { limit: 100, page: 2 }.encode(), "ZAACAA==");
        assert_eq!(PageToken { limit: 100, page: 3 }.encode(), "ZAADAA==");
        let asked = |values: &[&str]| {
            PageToken::asked(
                &values.iter().map(|value| (*value).to_owned()).collect::<Vec<_>>(),
                100,
            )
        };
        assert_eq!(asked(&[]).unwrap().page, 1);
        assert_eq!(asked(&["ZAADAA=="]).unwrap().page, 3);
        for (values, text) in [
            (&["EwBMLg=="][..], "token limit must be 100"),
            (&["ZAAAAA=="], "token page must be greater than zero"),
            (&["ZAADAA==", "ZAADAA=="], "too many values for page token"),
            (&["?"], "illegal base64 data at input byte 0"),
            (&["ZAA="], "unexpected EOF"),
            (&["ZAADAA"], "illegal base64 data at input byte 6"),
        ] {
            assert_eq!(asked(values).unwrap_err().to_string(), text, "{values:?}");
        }
    }

    #[test]
    fn cutting() {
        let token = |page| PageToken { limit: 2, page };
        assert_eq!(token(1).cut(vec![1, 2, 3]), (vec![1, 2], Some(token(2).encode())));
        assert_eq!(token(2).cut(vec![1, 2, 3]), (vec![3], None));
        assert_eq!(
            token(1).cut(vec![1, 2]),
            (vec![1, 2], Some(token(2).encode())),
            "fleet's quirk"
        );
        assert_eq!(token(2).cut(vec![1, 2]), (vec![], None));
    }
}
