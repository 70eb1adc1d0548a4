//! Messages by way of /dev/kmsg: in the kernel's log with its clock, so on every console and later in the journal.
//!
//! Refuses: to fail. Where the log cannot be written there is no better place to say so.

use std::fs::OpenOptions;
use std::io::Write;

/// A reason why the machine does not boot: printed on every console even when the kernel is told to be quiet.
pub fn error(text: &str) {
    write(2, text);
}

/// Something an operator should see, that does not stop the boot.
pub fn warning(text: &str) {
    write(4, text);
}

/// Progress: in the journal, on the console unless `quiet`.
pub fn info(text: &str) {
    write(6, text);
}

fn write(level: u8, text: &str) {
    if let Ok(mut log) = OpenOptions::new().write(true).open("/dev/kmsg") {
        let _ = log.write_all(format!("<{level}>corten-init: {text}\n").as_bytes());
    }
}
