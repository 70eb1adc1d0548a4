//! corten-container: being built.
