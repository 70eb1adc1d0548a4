//! Digests that name cached steps, and SHA-256 of files.
//!
//! Danger: an input that is left out of a [`Digest`] is a change that a warm build does not see.

use sha2::{Digest as _, Sha256};
use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

/// A running digest over named inputs.
#[derive(Clone)]
pub struct Digest(Sha256);

impl Digest {
    /// Of a step; `version` changes when the step's own code changes what it makes.
    pub fn of(step: &str, version: u32) -> Self {
        Self(Sha256::new()).text(step).text(&version.to_string())
    }

    /// Adds a text, its end marked so that two texts never run together.
    pub fn text(mut self, text: &str) -> Self {
        self.0.update((text.len() as u64).to_le_bytes());
        self.0.update(text);
        self
    }

    /// Adds a cached step's result, by the name of its folder, which says what is in it. Where the cache lies says nothing,
    /// and identifiers in the image are made from digests.
    pub fn step(self, folder: &Path) -> Self {
        self.text(&folder.file_name().unwrap_or_default().to_string_lossy())
    }

    /// Adds a list of texts.
    pub fn list<I: IntoIterator<Item = S>, S: AsRef<str>>(self, texts: I) -> Self {
        texts.into_iter().fold(self, |d, t| d.text(t.as_ref())).text("")
    }

    /// Adds a file's bytes.
    pub fn file(self, path: &Path) -> io::Result<Self> {
        let sum = sha256_of(path)?;
        Ok(self.text(&sum))
    }

    /// Sixteen hexadecimal digits: enough to name a cache entry.
    pub fn short(&self) -> String {
        hex(&self.0.clone().finalize()[..8])
    }

    /// All thirty-two bytes.
    pub fn bytes(&self) -> [u8; 32] {
        self.0.clone().finalize().into()
    }

    /// A random-looking UUID that is the same for the same inputs (version 8, RFC 9562).
    pub fn uuid(&self) -> [u8; 16] {
        let mut id = [0; 16];
        id.copy_from_slice(&self.bytes()[..16]);
        id[6] = id[6] & 0x0f | 0x80;
        id[8] = id[8] & 0x3f | 0x80;
        id
    }
}

/// Lower-case hexadecimal.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

/// A UUID as text.
pub fn uuid_text(id: [u8; 16]) -> String {
    let h = hex(&id);
    format!(
        "{}-{}-{}-{}-{}",
        &h[..8],
        &h[8..12],
        &h[12..16],
        &h[16..20],
        &h[20..]
    )
}

/// SHA-256 of a file, hexadecimal.
pub fn sha256_of(path: &Path) -> io::Result<String> {
    let mut file = File::open(path)?;
    let mut sum = Sha256::new();
    let mut buffer = vec![0; 1 << 20];
    loop {
        match file.read(&mut buffer)? {
            0 => return Ok(hex(&sum.finalize())),
            n => sum.update(&buffer[..n]),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn inputs_do_not_run_together() {
        let d = || Digest::of("x", 1);
        assert_ne!(d().text("ab").text("c").short(), d().text("a").text("bc").short());
        assert_ne!(d().list(["a"]).list(["b"]).short(), d().list(["a", "b"]).short());
        assert_ne!(Digest::of("x", 1).short(), Digest::of("x", 2).short());
        assert_eq!(d().text("a").short(), d().text("a").short());
    }

    #[test]
    fn uuids_are_of_version_8() {
        let text = uuid_text(Digest::of("x", 1).uuid());
        assert_eq!(text.len(), 36);
        assert_eq!(text.as_bytes()[14], b'8');
    }
}
