//! What /init reads from the kernel command line; pure.
//!
//! ```text
//! corten.usrhash=HEX64      dm-verity root hash of the /usr to boot; required
//! corten.onfail=poweroff    what to do when the machine cannot boot: poweroff (default), reboot, halt
//! corten.timeout=SECONDS    how long to wait for the disk (default 30)
//! corten.init=poweroff      measure the floor: mount nothing, start nothing, power off at once
//! ```
//! As everywhere on this line, the last of several equal words wins and words of others are left alone.

use crate::bytes;
use std::time::Duration;

/// How long the disk may take to appear when the command line does not say: slow firmware and iSCSI-like
/// controllers need seconds, a missing disk should not keep anyone waiting for minutes.
const DISK_TIMEOUT: Duration = Duration::from_secs(30);

/// The command line's words, understood.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// dm-verity root hash (SHA-256) of the /usr to boot; all zero in [`Mode::PowerOff`].
    pub usr_hash: [u8; 32],
    /// How long the disk may take to appear.
    pub disk_timeout: Duration,
    /// What this boot is for.
    pub mode: Mode,
}

/// What this boot is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Start the system.
    Boot,
    /// Power off at once; the benchmark's floor.
    PowerOff,
}

/// What to do with a machine that cannot boot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnFail {
    /// Power off: the default, for a machine nobody watches burns no power in a loop.
    PowerOff,
    /// Restart, so that firmware with boot counting tries the other slot.
    Reboot,
    /// Stand still with the reason on the screen.
    Halt,
}

/// Why the command line does not say which system to boot.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum CmdlineError {
    /// No `corten.usrhash=`.
    #[error(
        "the kernel command line has no corten.usrhash=; add the one of the image's `cmdline` file or boot its unified kernel image"
    )]
    NoHash,
    /// Not 64 hexadecimal digits.
    #[error("corten.usrhash={0} on the kernel command line is not 64 hexadecimal digits")]
    BadHash(String),
    /// Not a number of seconds.
    #[error("corten.timeout={0} on the kernel command line is not a number of seconds")]
    BadTimeout(String),
    /// An unknown word for `corten.init=`.
    #[error("corten.init={0} on the kernel command line: only `poweroff` is known")]
    BadMode(String),
}

impl Settings {
    /// Understands the text of /proc/cmdline.
    pub fn parse(text: &str) -> Result<Self, CmdlineError> {
        let mode = match last(text, "corten.init") {
            None => Mode::Boot,
            Some("poweroff") => Mode::PowerOff,
            Some(other) => return Err(CmdlineError::BadMode(other.to_owned())),
        };
        let disk_timeout = match last(text, "corten.timeout") {
            None => DISK_TIMEOUT,
            Some(s) => Duration::from_secs(s.parse().map_err(|_| CmdlineError::BadTimeout(s.to_owned()))?),
        };
        let usr_hash = match (last(text, "corten.usrhash"), mode) {
            (Some(hex), _) => bytes::unhex(hex)
                .and_then(|b| b.try_into().ok())
                .ok_or_else(|| CmdlineError::BadHash(hex.to_owned()))?,
            (None, Mode::PowerOff) => [0; 32],
            (None, Mode::Boot) => return Err(CmdlineError::NoHash),
        };
        Ok(Self {
            usr_hash,
            disk_timeout,
            mode,
        })
    }

    /// `corten.usrhash=` and its first digits, for messages.
    pub fn usr_hash_text(&self) -> String {
        format!("corten.usrhash={}...", bytes::hex(&self.usr_hash[..6]))
    }
}

/// What to do after a failure; read apart from the rest, because it must hold when the rest is wrong.
pub fn on_fail(text: &str) -> OnFail {
    match last(text, "corten.onfail") {
        Some("reboot") => OnFail::Reboot,
        Some("halt") => OnFail::Halt,
        _ => OnFail::PowerOff,
    }
}

/// The value of the last `key=value` word.
fn last<'a>(text: &'a str, key: &str) -> Option<&'a str> {
    text.split_ascii_whitespace()
        .filter_map(|w| w.strip_prefix(key)?.strip_prefix('='))
        .next_back()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    const HASH: &str = "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff";

    #[test]
    fn a_usual_line() {
        let s = Settings::parse(&format!(
            "console=ttyS0 quiet corten.usrhash={HASH} corten.timeout=5\n"
        ))
        .unwrap();
        assert_eq!(bytes::hex(&s.usr_hash), HASH);
        assert_eq!(s.disk_timeout, Duration::from_secs(5));
        assert_eq!(s.mode, Mode::Boot);
    }

    #[test]
    fn the_last_word_wins() {
        let s = Settings::parse(&format!("corten.usrhash=zz corten.usrhash={HASH}")).unwrap();
        assert_eq!(s.usr_hash_text(), "corten.usrhash=001122334455...");
    }

    #[test]
    fn errors_name_the_word() {
        for (line, error) in [
            ("quiet", CmdlineError::NoHash),
            ("xcorten.usrhash=00", CmdlineError::NoHash),
            ("corten.usrhash=12", CmdlineError::BadHash("12".into())),
            ("corten.timeout=soon", CmdlineError::BadTimeout("soon".into())),
            ("corten.init=dance", CmdlineError::BadMode("dance".into())),
        ] {
            assert_eq!(Settings::parse(line), Err(error), "{line}");
        }
    }

    #[test]
    fn the_floor_needs_no_hash() {
        assert_eq!(
            Settings::parse("corten.init=poweroff").unwrap().mode,
            Mode::PowerOff
        );
    }

    #[test]
    fn failure_is_answered_as_asked() {
        assert_eq!(on_fail(""), OnFail::PowerOff);
        assert_eq!(on_fail("corten.onfail=halt corten.onfail=reboot"), OnFail::Reboot);
    }
}
