//! Image references, the nouns of `corten_spec`, and what only a store of images asks of them. Pure.

pub use corten_spec::image_ref::{DEFAULT_REGISTRY, ImageRef as Reference, ImageRefError as ReferenceError};

/// Whether `text` is 64 lower-case hexadecimal digits.
pub fn is_sha256_hex(text: &str) -> bool {
    text.len() == 64 && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
}
