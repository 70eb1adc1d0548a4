//! corten-schedule: being built.
