//! Verbs for tests on real images in real (virtual) machines, and the clusters of the demonstration and the benchmark.
//!
//! Knows the product only as its users do: the image's files, its programs, SSH.

pub mod registry;
pub mod web_image;
