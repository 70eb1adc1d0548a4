//! corten-cli: being built.
