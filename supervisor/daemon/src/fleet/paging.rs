//! Page tokens: URL-safe base64 of a little-endian pair `{u16 limit, u16 page}`, as fleet's.
//!
//! Danger: fleet's quirk is kept that an exactly full last page still names a next one; clients follow it to `{}`.

use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig};
use base64::{DecodeError, Engine, alphabet};

/// Go's: padded, and the bits that stand for nothing may be any.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &alphabet::URL_SAFE,
    GeneralPurposeConfig::new().with_decode_allow_trailing_bits(true),
);

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
        let bytes = decode_base64(text).map_err(TokenError::Base64)?;
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
        BASE64.encode([l0, l1, p0, p1])
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

/// Decodes padded base64; on failure the index of the first byte that does not fit, as Go counts.
fn decode_base64(text: &str) -> Result<Vec<u8>, usize> {
    BASE64.decode(text).map_err(|error| match error {
        DecodeError::InvalidByte(at, byte) if byte != b'=' => at,
        _ => text.find('=').unwrap_or(text.len()),
    })
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
