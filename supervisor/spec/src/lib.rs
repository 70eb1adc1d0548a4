//! The nouns of Corten: unit names and files, X-Fleet options, specifiers, machines, container image references and
//! cloud-config. Parsing is a function from text to value, printing its inverse.
//!
//! Refuses to do: anything. No clock, file, socket, environment variable or randomness is read here.

pub mod cloud_config;
pub mod container;
pub mod fleet;
pub mod glob;
pub mod image_ref;
pub mod machine;
pub mod placement;
pub mod quote;
pub mod resources;
pub mod unit_file;
pub mod unit_name;
pub mod unit_parse;
pub mod words;
pub mod x_fleet;
