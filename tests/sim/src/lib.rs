//! corten-sim: being built.
