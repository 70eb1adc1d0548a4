//! corten-image: being built.
