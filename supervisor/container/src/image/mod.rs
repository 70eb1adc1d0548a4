//! Images on disk: their index, configurations and unpacked layers.
//!
//! Duty: the content-addressed store and what it says about an image. Refusal: no network; `registry` fetches.

pub mod archive;
mod entry;
pub mod layer;
pub mod manifest;
pub mod store;
pub mod unpack;

pub use manifest::{ImageConfig, ImageFile};
pub use store::{Image, ImageStore, StoreError};

/// Lower-case hexadecimal digits.
pub fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write;
    bytes
        .iter()
        .fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
            let _ = write!(text, "{byte:02x}");
            text
        })
}
