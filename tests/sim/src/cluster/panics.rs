//! Panics anywhere in a run: the runtimes of the nodes catch them, and openraft makes an error of one; nothing here may.

use std::sync::Mutex;

static FIRST: Mutex<Option<String>> = Mutex::new(None);

/// Begins to listen.
pub fn begin() {
    let before = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        before(panic);
        if let Ok(mut first) = FIRST.lock() {
            first.get_or_insert_with(|| panic.to_string());
        }
    }));
}

/// The first panic since then.
pub fn first() -> Option<String> {
    FIRST.lock().ok()?.take()
}
