//! corten-daemon: being built.
