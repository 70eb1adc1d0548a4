//! corten-agent: being built.
