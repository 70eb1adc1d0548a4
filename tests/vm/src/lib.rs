//! corten-vm: being built.
