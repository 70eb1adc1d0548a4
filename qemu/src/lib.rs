//! corten-qemu: being built.
