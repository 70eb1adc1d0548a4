//! An error with its causes on one line, for the log and the terminal.

/// The causes, the last in the end. Many texts have their cause's in them already, which is not said again.
pub fn chain(error: &anyhow::Error) -> String {
    let mut text = String::new();
    for cause in error.chain().map(ToString::to_string) {
        if text.is_empty() {
            text = cause;
        } else if !text.contains(&cause) {
            text = format!("{text}: {cause}");
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use std::io;

    use anyhow::Context;

    use super::*;

    #[test]
    fn no_cause_is_said_twice() {
        let refused = corten_raft::StartError::Io {
            path: "/d/lock".into(),
            what: "open the lock",
            source: io::Error::from_raw_os_error(13),
        };
        assert_eq!(
            chain(&refused.into()),
            "/d/lock: cannot open the lock: Permission denied (os error 13)"
        );
        let wrapped = Err::<(), _>(io::Error::from_raw_os_error(13)).context("no such luck");
        assert_eq!(
            wrapped.err().map(|error| chain(&error)).as_deref(),
            Some("no such luck: Permission denied (os error 13)")
        );
    }
}
