//! Pulling from a registry over the distribution protocol (v2), blocking, over ureq with rustls.
//!
//! Duty: manifests by tag, digest and platform; blobs verified by digest while they are written; plain HTTP only where
//! it is allowed. Refusal: pushes nothing, keeps nothing (the image store does).
//! Danger: the transfer of several blobs uses threads; all of them are joined before `pull` returns, so that the caller
//! is single-threaded again when it launches a container.

mod auth;
mod client;
mod config;
mod pull;

pub use client::{Client, MANIFEST_LIMIT, RegistryError};
pub use config::{Credentials, RegistryConfig};
pub use pull::{Progress, PullError, Pulled, pull};
