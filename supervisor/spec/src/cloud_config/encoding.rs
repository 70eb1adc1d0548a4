//! The encodings of `write_files`: base64, gzip, and gzip within base64. Also the gzip a whole user-data may come in.
//!
//! Refuses to unpack more than the caller's limit: a few kilobytes of gzip can claim gigabytes.

use std::io::Read;

use base64::Engine;

/// The most a file of `write_files`, or a user-data, may be once unpacked.
pub const UNPACKED_MAX: u64 = 64 << 20;

/// Why bytes could not be decoded.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// A name this does not know.
    #[error("unknown encoding {0:?}")]
    Unknown(String),
    /// Not base64.
    #[error("not base64: {0}")]
    Base64(String),
    /// Not gzip, or cut short.
    #[error("not gzip: {0}")]
    Gzip(String),
    /// Beyond [`UNPACKED_MAX`].
    #[error("more than {UNPACKED_MAX} bytes once unpacked")]
    TooLarge,
}

/// Undoes `encoding`; the empty name is no encoding.
///
/// # Errors
/// An unknown name, or bytes that are not what the name says.
pub fn decode(bytes: &[u8], encoding: &str) -> Result<Vec<u8>, DecodeError> {
    match encoding {
        "" => Ok(bytes.to_vec()),
        "base64" | "b64" => from_base64(bytes),
        "gz" | "gzip" => gunzip(bytes),
        "gz+base64" | "gzip+base64" | "gz+b64" | "gzip+b64" => gunzip(&from_base64(bytes)?),
        other => Err(DecodeError::Unknown(other.to_owned())),
    }
}

/// The bytes themselves, or what they unpack to when they start with gzip's magic `1f 8b`.
///
/// # Errors
/// Gzip that is broken or too large.
pub fn unpacked(bytes: Vec<u8>) -> Result<Vec<u8>, DecodeError> {
    match bytes.starts_with(&[0x1f, 0x8b]) {
        true => gunzip(&bytes),
        false => Ok(bytes),
    }
}

fn from_base64(bytes: &[u8]) -> Result<Vec<u8>, DecodeError> {
    let bare: Vec<u8> = bytes
        .iter()
        .copied()
        .filter(|b| !b.is_ascii_whitespace())
        .collect();
    let decoded = base64::engine::general_purpose::STANDARD.decode(bare);
    decoded.map_err(|e| DecodeError::Base64(e.to_string()))
}

fn gunzip(bytes: &[u8]) -> Result<Vec<u8>, DecodeError> {
    let mut out = Vec::new();
    let mut reader = flate2::read::MultiGzDecoder::new(bytes).take(UNPACKED_MAX + 1);
    reader
        .read_to_end(&mut out)
        .map_err(|e| DecodeError::Gzip(e.to_string()))?;
    match out.len() as u64 > UNPACKED_MAX {
        true => Err(DecodeError::TooLarge),
        false => Ok(out),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use std::io::Write;

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    #[test]
    fn every_name_of_the_contract() {
        let packed = gzip(b"hello");
        let both = base64::engine::general_purpose::STANDARD.encode(&packed);
        for name in ["base64", "b64"] {
            assert_eq!(decode(b"aGVs\nbG8=\n", name).unwrap(), b"hello");
        }
        for name in ["gz", "gzip"] {
            assert_eq!(decode(&packed, name).unwrap(), b"hello");
        }
        for name in ["gz+base64", "gzip+base64", "gz+b64", "gzip+b64"] {
            assert_eq!(decode(both.as_bytes(), name).unwrap(), b"hello");
        }
        assert_eq!(decode(b"as is", "").unwrap(), b"as is");
        assert!(matches!(decode(b"x", "rot13"), Err(DecodeError::Unknown(_))));
        assert!(matches!(decode(b"!", "b64"), Err(DecodeError::Base64(_))));
        assert!(matches!(decode(&packed[..8], "gz"), Err(DecodeError::Gzip(_))));
    }

    #[test]
    fn a_bomb_is_refused() {
        let bomb = gzip(&vec![0; UNPACKED_MAX as usize + 1]);
        assert_eq!(unpacked(bomb), Err(DecodeError::TooLarge));
        assert_eq!(unpacked(b"#cloud-config".to_vec()).unwrap(), b"#cloud-config");
    }
}
