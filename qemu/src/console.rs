//! What no healthy machine says on its console: checked after every test, as kola does. Pure: text in, findings out.
//!
//! A test that provokes one of these says which kind it expects; everything else on its console still counts.

use std::fmt;

/// What a console line betrays.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// The kernel stopped.
    Panic,
    /// The kernel tripped, but went on.
    Oops,
    /// The kernel warned with a stack trace.
    KernelWarning,
    /// A task hung or a CPU was stuck.
    Stuck,
    /// The out-of-memory killer acted.
    OutOfMemory,
    /// A block device failed to read or write.
    DiskError,
    /// A program crashed.
    Crash,
    /// systemd fell into its emergency or rescue shell.
    EmergencyShell,
    /// systemd had to break a cycle of orderings.
    OrderingCycle,
    /// A unit failed.
    FailedUnit,
    /// A generator of systemd failed.
    Generator,
}

/// One suspicious line of a console.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// What it is.
    pub kind: Kind,
    /// Which line, from 1.
    pub line: usize,
    /// The line as it stands, without colours.
    pub text: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}: {:?}: {}", self.line, self.kind, self.text)
    }
}

/// The words that betray each kind; the first that fits a line counts.
const SIGNS: &[(&str, Kind)] = &[
    ("Kernel panic - not syncing", Kind::Panic),
    ("Oops: ", Kind::Oops),
    ("kernel BUG at", Kind::Oops),
    ("BUG: unable to handle", Kind::Oops),
    ("general protection fault", Kind::Oops),
    ("WARNING: CPU: ", Kind::KernelWarning),
    ("soft lockup", Kind::Stuck),
    ("rcu_sched self-detected stall", Kind::Stuck),
    ("blocked for more than", Kind::Stuck),
    ("Out of memory: Kill", Kind::OutOfMemory),
    ("oom-kill:", Kind::OutOfMemory),
    ("invoked oom-killer", Kind::OutOfMemory),
    ("I/O error, dev", Kind::DiskError),
    ("EXT4-fs error", Kind::DiskError),
    ("erofs: read error", Kind::DiskError),
    ("segfault at", Kind::Crash),
    ("traps: ", Kind::Crash),
    ("dumped core", Kind::Crash),
    ("panicked at", Kind::Crash),
    ("You are in emergency mode", Kind::EmergencyShell),
    ("You are in rescue mode", Kind::EmergencyShell),
    ("Reached target emergency.target", Kind::EmergencyShell),
    ("Freezing execution", Kind::EmergencyShell),
    ("Found ordering cycle", Kind::OrderingCycle),
    ("deleted to break ordering cycle", Kind::OrderingCycle),
    ("Failed to start ", Kind::FailedUnit),
    ("Failed to mount ", Kind::FailedUnit),
    ("Dependency failed for ", Kind::FailedUnit),
    ("generators failed", Kind::Generator),
    ("(sd-executor): ", Kind::Generator),
];

/// Every suspicious line of a console, in order.
pub fn check(text: &str) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (number, raw) in text.lines().enumerate() {
        let line = plain(raw);
        if let Some((_, kind)) = SIGNS.iter().find(|(sign, _)| line.contains(sign)) {
            findings.push(Finding {
                kind: *kind,
                line: number + 1,
                text: line.trim().to_owned(),
            });
        }
    }
    findings
}

/// A line without terminal control sequences (ECMA-48 CSI) and carriage returns.
fn plain(line: &str) -> String {
    let mut plain = String::with_capacity(line.len());
    let mut chars = line.chars();
    while let Some(c) = chars.next() {
        match c {
            '\u{1b}' => {
                if chars.next() == Some('[') {
                    chars.by_ref().find(|c| ('\u{40}'..='\u{7e}').contains(c));
                }
            }
            '\r' => {}
            other => plain.push(other),
        }
    }
    plain
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn each_sign_is_seen() {
        let cases = [
            (
                "[    2.1] Kernel panic - not syncing: VFS: Unable to mount root fs",
                Kind::Panic,
            ),
            ("[    2.1] Oops: 0000 [#1] PREEMPT SMP", Kind::Oops),
            (
                "[   12.3] WARNING: CPU: 0 PID: 1 at kernel/foo.c:12",
                Kind::KernelWarning,
            ),
            (
                "[   99.0] watchdog: BUG: soft lockup - CPU#0 stuck for 22s!",
                Kind::Stuck,
            ),
            (
                "[   50.0] Out of memory: Killed process 77 (corrosive)",
                Kind::OutOfMemory,
            ),
            (
                "[   1.0] I/O error, dev vda, sector 2048 op 0x0:(READ)",
                Kind::DiskError,
            ),
            (
                "[   3.0] thing[412]: segfault at 0 ip 0000 sp 0000 error 4",
                Kind::Crash,
            ),
            ("thread 'main' (12) panicked at src/main.rs:3:5:", Kind::Crash),
            (
                "You are in emergency mode. After logging in, type",
                Kind::EmergencyShell,
            ),
            (
                "[  4.0] systemd[1]: a.service: Found ordering cycle on b.service/start",
                Kind::OrderingCycle,
            ),
            (
                "[\u{1b}[0;1;31mFAILED\u{1b}[0m] Failed to start \u{1b}[0;1;39mx.service\u{1b}[0m - X.",
                Kind::FailedUnit,
            ),
        ];
        for (line, kind) in cases {
            let found = check(line);
            assert_eq!(found.len(), 1, "{line}");
            assert_eq!(found[0].kind, kind, "{line}");
        }
    }

    #[test]
    fn a_healthy_boot_has_nothing_and_lines_are_counted() {
        let healthy = "[    0.0] Linux version 6.12\r\n[\u{1b}[0;32m  OK  \u{1b}[0m] Started sshd.\nlogin: ";
        assert_eq!(check(healthy), []);
        let found = check("fine\nfine\nKernel panic - not syncing: x\r\n");
        assert_eq!(
            (found[0].line, found[0].text.as_str()),
            (3, "Kernel panic - not syncing: x")
        );
    }
}
