//! What [X-Fleet] is read as, and what is refused or remarked on.
#![allow(clippy::unwrap_used)]

use super::*;

fn file(x_fleet: &str) -> UnitFile {
    UnitFile::parse(&format!("[Service]\nExecStart=/bin/true\n[X-Fleet]\n{x_fleet}\n")).unwrap()
}

fn of(name: &str, x_fleet: &str) -> Requirements {
    Requirements::of(&UnitName::parse(name).unwrap(), &file(x_fleet))
}

#[test]
fn expands_specifiers() {
    let name = UnitName::parse("foo@bar.service").unwrap();
    assert_eq!(
        expand("%n|%N|%p|%i|%%|%x|100%", &name),
        "foo@bar.service|foo@bar|foo|bar|%%|%x|100%"
    );
    assert_eq!(expand("%i%p", &UnitName::parse("a.timer").unwrap()), "a");
}

#[test]
fn reads_both_spellings_and_many_values() {
    let unit = of(
        "web@1.service",
        "MachineOf=db@%i.service\nX-ConditionMachineOf=log.service\nConflicts=%p@*.service other.service\n\
         X-Conflicts=old.*\nMachineMetadata=\"role=web\" \"role=app\"\nMachineMetadata=disk=ssd\n\
         MachineMetadata=a=b=c\nMachineMetadata==x\nReplaces=old@%i.service",
    );
    assert_eq!(unit.machine_of, ["log.service", "db@1.service"]);
    assert_eq!(unit.conflicts, ["old.*", "web@*.service", "other.service"]);
    assert_eq!(unit.replaces, ["old@1.service"]);
    let keys: Vec<_> = unit.metadata.iter().map(|(k, v)| (k.as_str(), v.len())).collect();
    assert_eq!(keys, [("disk", 1), ("role", 2)]);
}

#[test]
fn first_machine_id_and_last_global_win() {
    let unit = of(
        "a.service",
        "X-ConditionMachineBootID=boot\nX-ConditionMachineID=old\nMachineID=a\nMachineID=b",
    );
    assert_eq!(unit.machine_id.as_deref(), Some("a"));
    assert_eq!(
        of("a.service", "X-ConditionMachineBootID=boot")
            .machine_id
            .as_deref(),
        Some("boot")
    );
    assert!(of("a.service", "Global=no\nGlobal=YES").global);
    assert!(!of("a.service", "Global=true\nGlobal=0").global);
}

#[test]
fn refuses_with_fleets_words() {
    let table = [
        (
            "MachineOf=a.service\nConflicts=*.service",
            "unresolvable requirements: peer \"a.service\" matches conflict \"*.service\"",
        ),
        (
            "MachineOf=a.service\nReplaces=a.*",
            "unresolvable requirements: peer \"a.service\" matches replace \"a.*\"",
        ),
        (
            "MachineID=x\nMachineOf=a.service",
            "MachineID cannot be used with Peers",
        ),
        (
            "MachineID=x\nConflicts=a",
            "MachineID cannot be used with Conflicts",
        ),
        ("MachineID=x\nGlobal=true", "MachineID cannot be used with Global"),
        (
            "MachineID=x\nReplaces=a",
            "MachineID cannot be used with Replaces",
        ),
        (
            "Global=true\nMachineOf=a.service",
            "Global cannot be used with Peers",
        ),
        ("Global=true\nReplaces=a", "Global cannot be used with Replaces"),
        (
            "Global=true\nSpreadOver=zone",
            "Global cannot be used with SpreadOver",
        ),
        (
            "Conflicts=a\nReplaces=b",
            "Conflicts cannot be used with Replaces",
        ),
    ];
    for (x_fleet, want) in table {
        assert_eq!(validate(&file(x_fleet)).unwrap_err().to_string(), want);
    }
    assert_eq!(
        validate(&file("Global=true\nConflicts=a\nMachineMetadata=a=b")),
        Ok(())
    );
    let mut long = file("");
    long.options[0].value = "x".repeat(2048);
    assert_eq!(
        validate(&long).unwrap_err().to_string(),
        "line too long (max 2048 bytes)"
    );
}

#[test]
fn reserves_are_read_and_refused() {
    let unit = of("a.service", "CPUReserve=10%\nCPUReserve=150%\nMemoryReserve=512M");
    assert_eq!(
        (unit.reserves.cpu_percent, unit.reserves.memory_bytes),
        (150, 512 << 20)
    );
    assert_eq!(of("a.service", "Priority=-5").priority, -5);
    assert!(of("a.service", "MemoryReserve=much").reserves.is_none());
    assert_eq!(
        validate(&file("MemoryReserve=much")).unwrap_err().to_string(),
        "invalid value for MemoryReserve: \"much\", expected a size such as 512M"
    );
    assert_eq!(
        validate(&file("CPUReserve=1")).unwrap_err().to_string(),
        "invalid value for CPUReserve: \"1\", expected a percentage of one processor such as 50%"
    );
    assert!(of("a.service", "OnPartition=stop").fenced);
    assert!(!of("a.service", "OnPartition=stop\nOnPartition=keep").fenced);
    assert_eq!(
        validate(&file("OnPartition=yes")).unwrap_err().to_string(),
        "invalid value for OnPartition: \"yes\", expected stop or keep"
    );
}

#[test]
fn unknown_keys_are_named() {
    assert_eq!(
        unknown_keys(&file("Conflict=a\nGlobal=true\nMemory=1G")),
        ["Conflict", "Memory"]
    );
}

#[test]
fn metadata_that_is_passed_over_is_named_as_it_is_written() {
    let table: [(&str, &[&str]); 6] = [
        ("MachineMetadata=zone=a", &[]),
        ("MachineMetadata=zone", &["MachineMetadata=zone"]),
        (
            "MachineMetadata==a\nMachineMetadata=zone=\nMachineMetadata=zone=a=b\nMachineMetadata=zone=a",
            &[
                "MachineMetadata==a",
                "MachineMetadata=zone=",
                "MachineMetadata=zone=a=b",
            ],
        ),
        ("MachineMetadata=\"zone=a\" \"rack\"", &["MachineMetadata=rack"]),
        (
            "X-ConditionMachineMetadata=zone",
            &["X-ConditionMachineMetadata=zone"],
        ),
        ("Conflicts=zone", &[]),
    ];
    for (x_fleet, passed_over) in table {
        let file = file(x_fleet);
        assert_eq!(ignored_metadata(&file), passed_over, "{x_fleet}");
        assert_eq!(validate(&file), Ok(()), "{x_fleet}");
    }
}
