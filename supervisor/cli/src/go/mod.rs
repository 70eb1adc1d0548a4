//! Go's ways of writing things down, where the tools whose place we take were written in Go and their output is a
//! contract: JSON, durations, cleaned paths, booleans on the command line.

mod duration;
mod json;
mod path;
mod switch;

pub(crate) use duration::parse_duration;
pub(crate) use json::to_json;
pub(crate) use path::{clean, escape_path, escape_query, escape_segment};
pub(crate) use switch::{switch, switch_on};
