//! Watchers of version 3, many on one stream: feeding them is the [`hub`]'s, the [`watchers`] of one stream say who of them
//! gets what, and when.

pub mod hub;
pub mod inbox;
pub mod interest;
pub mod watchers;

pub use hub::Hub;
pub use watchers::Watchers;
