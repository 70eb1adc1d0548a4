//! A header block (RFC 7541 section 6), walked up to `:authority` and with another value for it.
//!
//! ```text
//! 1xxxxxxx indexed              index
//! 01xxxxxx literal, indexed     index of the name or 0 and the name | value
//! 001xxxxx table's size         size
//! 000xxxxx literal              like the other; xxxx is the index
//! string                        Huffman? u1, length | bytes
//! ```
//!
//! The fields around it stay as they are and need not be understood, so there is neither a table to keep in step nor an
//! encoder: what a client adds to its own table enters the server's with the better value, under the same index, and since
//! an entry only gets shorter the server never drops one that the client still has. Nor does a library decode the whole:
//! of those there are, `loona-hpack` is the one that is kept up, and it builds its Huffman table anew for each string, so that
//! two bytes of a client's would cost tens of microseconds. It decodes the one string that has to be read.

use std::ops::Range;

use axum::http::uri::{Authority, Uri};
use loona_hpack::encoder::encode_integer;
use loona_hpack::huffman::HuffmanDecoder;

/// The index of `:authority` in the static table, by which Go names it whenever it spells it out.
const AUTHORITY: usize = 1;
/// The longest value that is decoded, as it is sent; a host's name has 255 bytes at most.
const MAX_VALUE: usize = 512;

/// The block with the authority part of the URL that stands for its `:authority`; none when no URL does.
pub fn mended(block: &[u8]) -> Option<Vec<u8>> {
    let place = find(block)?;
    let value = decoded(&block[place.clone()])?;
    if Authority::try_from(&*value).is_ok() {
        return None;
    }
    let url = Uri::try_from(value).ok()?;
    let authority = url.authority()?.as_str();
    let mut mended = block[..place.start].to_vec();
    mended.extend(encode_integer(authority.len(), 7));
    mended.extend_from_slice(authority.as_bytes());
    mended.extend_from_slice(&block[place.end..]);
    Some(mended)
}

/// Where the value of the first `:authority` stands that is spelled out, with its length.
fn find(block: &[u8]) -> Option<Range<usize>> {
    let mut at = 0;
    while let Some(&first) = block.get(at) {
        let prefix = match first {
            0x80.. => 7,
            0x40.. => 6,
            0x20.. => 5,
            _ => 4,
        };
        let (number, taken) = integer(&block[at..], prefix)?;
        at += taken;
        if matches!(prefix, 7 | 5) {
            continue;
        }
        if number == 0 {
            at += string(&block[at..])?;
        }
        let end = at + string(&block[at..])?;
        if number == AUTHORITY {
            return Some(at..end);
        }
        at = end;
    }
    None
}

/// An integer with a prefix of so many bits, and how many bytes it takes (RFC 7541 section 5.1). Up to 2^28, as in `h2`.
fn integer(bytes: &[u8], prefix: u32) -> Option<(usize, usize)> {
    let mask = (1 << prefix) - 1;
    let (&first, rest) = bytes.split_first()?;
    let mut value = usize::from(first) & mask;
    if value < mask {
        return Some((value, 1));
    }
    for (number, &byte) in rest.iter().take(4).enumerate() {
        value += usize::from(byte & 0x7f) << (7 * number);
        if byte & 0x80 == 0 {
            return Some((value, number + 2));
        }
    }
    None
}

/// How many bytes the string takes that `bytes` begin with, its length included (section 5.2).
fn string(bytes: &[u8]) -> Option<usize> {
    let (length, taken) = integer(bytes, 7)?;
    (taken + length <= bytes.len()).then_some(taken + length)
}

fn decoded(string: &[u8]) -> Option<Vec<u8>> {
    let (_, taken) = integer(string, 7)?;
    let bytes = &string[taken..];
    if bytes.len() > MAX_VALUE {
        return None;
    }
    if string[0] & 0x80 == 0 {
        return Some(bytes.to_vec());
    }
    HuffmanDecoder::new().decode(bytes).ok()
}
