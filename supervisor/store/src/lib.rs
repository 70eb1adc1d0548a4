//! corten-store: being built.
