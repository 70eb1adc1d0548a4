//! Watchers of version 2, each for itself: feeding them is the [`hub`]'s, how one [begins](begin) is said here, too.

mod begin;
pub mod hub;

pub use begin::{Begun, Waiter, begin};
pub use hub::Hub;
