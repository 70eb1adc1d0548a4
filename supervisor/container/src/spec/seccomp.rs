//! The default system call policy: data in `seccomp.policy`, turned into an OCI profile for one set of capabilities.
//!
//! Pure. Refusal: no profiles of the user's own beyond `seccomp=unconfined`.

use std::collections::BTreeSet;

use serde_json::{Value, json};

const POLICY: &str = include_str!("seccomp.policy");

/// The OCI `linux.seccomp` value for a container with `capabilities` (`CAP_...`) on `architecture` (Rust's name).
pub fn profile(capabilities: &BTreeSet<String>, architecture: &str) -> Value {
    let mut plain: BTreeSet<&str> = BTreeSet::new();
    let mut conditional = Vec::new();
    for line in POLICY.lines() {
        let line = line.trim();
        if !line.is_empty() && !line.starts_with('#') {
            read_line(line, capabilities, architecture, &mut plain, &mut conditional);
        }
    }
    // A call that is allowed without a condition needs none of its rules.
    conditional.retain(|(name, _)| !plain.contains(name));
    let mut syscalls = vec![json!({"names": plain, "action": "SCMP_ACT_ALLOW"})];
    syscalls.extend(conditional.into_iter().map(|(_, rule)| rule));
    json!({
        "defaultAction": "SCMP_ACT_ERRNO",
        "defaultErrnoRet": libc::EPERM,
        "architectures": architectures(architecture),
        "syscalls": syscalls,
    })
}

fn architectures(architecture: &str) -> &'static [&'static str] {
    match architecture {
        "x86_64" => &["SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_X32"],
        "aarch64" => &["SCMP_ARCH_AARCH64", "SCMP_ARCH_ARM"],
        "riscv64" => &["SCMP_ARCH_RISCV64"],
        _ => &[],
    }
}

fn read_line<'a>(
    line: &'a str,
    capabilities: &BTreeSet<String>,
    architecture: &str,
    plain: &mut BTreeSet<&'a str>,
    conditional: &mut Vec<(&'a str, Value)>,
) {
    let (verb, rest) = line.split_once(' ').expect("a policy line has a verb and words");
    let (word, tail) = rest.split_once(' ').unwrap_or((rest, ""));
    match verb {
        "allow" => plain.extend(rest.split_whitespace()),
        "allow-with" if capabilities.contains(word) => plain.extend(tail.split_whitespace()),
        "only" if word == architecture => read_line(tail, capabilities, architecture, plain, conditional),
        "unless" if !capabilities.contains(word) => {
            read_line(tail, capabilities, architecture, plain, conditional)
        }
        "errno-without" if !capabilities.contains(word) => {
            let (errno, names) = tail.split_once(' ').expect("errno and names");
            let errno: u32 = errno.parse().expect("errno is a number");
            for name in names.split_whitespace() {
                conditional.push((
                    name,
                    json!({"names": [name], "action": "SCMP_ACT_ERRNO", "errnoRet": errno}),
                ));
            }
        }
        "allow-if" => {
            let index: u32 = word.parse().expect("argument index is a number");
            for (name, args) in condition(index, tail) {
                conditional.push((
                    name,
                    json!({"names": [name], "action": "SCMP_ACT_ALLOW", "args": [args]}),
                ));
            }
        }
        "allow-with" | "only" | "unless" | "errno-without" => {}
        other => unreachable!("policy verb {other:?}: the policy is part of the program and tested"),
    }
}

fn condition(index: u32, text: &str) -> Vec<(&str, Value)> {
    let mut words = text.split_whitespace();
    let operator = words.next().expect("an operator");
    let value = number(words.next().expect("a value"));
    let args = match operator {
        // OCI's MASKED_EQ: `value` is the mask, `valueTwo` what must remain.
        "masked" => {
            let mask = number(words.next().expect("a mask"));
            json!({"index": index, "value": mask, "valueTwo": value, "op": "SCMP_CMP_MASKED_EQ"})
        }
        "eq" => json!({"index": index, "value": value, "op": "SCMP_CMP_EQ"}),
        "ne" => json!({"index": index, "value": value, "op": "SCMP_CMP_NE"}),
        other => unreachable!("policy operator {other:?}: the policy is part of the program and tested"),
    };
    words.map(|name| (name, args.clone())).collect()
}

fn number(text: &str) -> u64 {
    match text.strip_prefix("0x") {
        Some(hex) => u64::from_str_radix(hex, 16).expect("a hexadecimal number"),
        None => text.parse().expect("a number"),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use libcontainer::oci_spec::runtime::LinuxSeccomp;

    use super::*;

    fn names(profile: &Value) -> Vec<String> {
        serde_json::from_value(profile["syscalls"][0]["names"].clone()).unwrap()
    }

    #[test]
    fn the_policy_becomes_a_profile_the_runtime_reads() {
        for architecture in ["x86_64", "aarch64", "riscv64"] {
            let profile = profile(&BTreeSet::new(), architecture);
            let parsed: LinuxSeccomp = serde_json::from_value(profile.clone()).unwrap();
            assert!(parsed.syscalls().as_ref().unwrap().len() > 5);
            assert!(names(&profile).len() > 300);
            assert_eq!(
                names(&profile).contains(&"arch_prctl".to_owned()),
                architecture == "x86_64"
            );
        }
    }

    #[test]
    fn capabilities_open_calls() {
        let without = profile(&BTreeSet::new(), "x86_64");
        for name in [
            "mount",
            "setns",
            "reboot",
            "bpf",
            "chroot",
            "clone3",
            "io_uring_setup",
            "keyctl",
        ] {
            assert!(!names(&without).contains(&name.to_owned()), "{name}");
        }
        let text = without.to_string();
        assert!(
            text.contains(r#""errnoRet":38"#) && text.contains(r#""value":2114060288"#),
            "{text}"
        );
        let with = profile(&BTreeSet::from(["CAP_SYS_ADMIN".to_owned()]), "x86_64");
        for name in ["mount", "clone", "clone3", "setns"] {
            assert!(names(&with).contains(&name.to_owned()), "{name}");
        }
        assert!(!with.to_string().contains(r#""errnoRet":38"#));
    }
}
