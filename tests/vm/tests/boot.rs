//! Single machines from power-on: what they boot from, what they are told, and what stops them.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use corten_vm::cluster::READY_WITHIN;
use corten_vm::damage;
use corten_vm::make::Datasource;
use corten_vm::rig::{self, alone, says};
use corten_vm::{Cluster, Plan};

const VM: &str = env!("CARGO_BIN_EXE_corten-vm");

fn one() -> Plan {
    Plan {
        machines: 1,
        ..Plan::default()
    }
}

fn boot(cluster: &mut Cluster) -> Result<()> {
    cluster.power_on_all()?;
    cluster.wait_ready("node1")
}

#[test]
#[ignore = "boots machines"]
fn a_machine_is_ready_with_all_its_disk_and_nothing_failed() -> Result<()> {
    alone("boot-one", VM, &one(), |cluster| {
        boot(cluster)?;
        ensure!(
            cluster
                .run("node1", "systemctl --failed --no-legend --plain")?
                .trim()
                .is_empty()
        );
        let gib = cluster.run("node1", "df --output=size -BG /var | tail -n 1 | tr -dc 0-9")?;
        ensure!(
            gib.trim().parse::<u32>()? >= 2,
            "/var has {gib} GiB of a disk of 4"
        );
        says(&cluster.run("node1", "findmnt -no OPTIONS /usr")?, &["ro"])?;
        says(
            &cluster.run("node1", "hostname; id -nG; : </dev/tcp/$(hostname)/22")?,
            &["node1", "docker"],
        )?;
        // The button's driver is among what comes a minute after power-on.
        let late = "until systemctl --quiet is-active late.target; do sleep 1; done";
        cluster.ssh("node1")?.run(late, READY_WITHIN)?;
        cluster.machine("node1")?.press_power_button()?;
        cluster.machine_mut("node1")?.wait_off(Duration::from_secs(60))?;
        let findings = rig::unexpected(&cluster.findings(), &[]);
        ensure!(findings.is_empty(), "{findings:#?}");
        Ok(())
    })
}

#[test]
#[ignore = "boots machines"]
fn firmware_boots_the_unified_kernel_image_from_the_disk() -> Result<()> {
    let plan = Plan {
        firmware: true,
        ..one()
    };
    alone("boot-firmware", VM, &plan, |cluster| {
        boot(cluster)?;
        says(
            &cluster.run("node1", "ls /sys/firmware/efi; cat /proc/cmdline")?,
            &["efivars", "corten.usrhash="],
        )
    })
}

#[test]
#[ignore = "boots machines"]
fn a_damaged_usr_does_not_boot_and_says_why() -> Result<()> {
    let folder = tempfile::tempdir().context("a folder for the damaged disk")?;
    let disk = folder.path().join("damaged.raw");
    damage::copy_with_damaged_usr(&rig::image()?.disk(), &disk)?;
    let plan = Plan {
        base_disk: Some(disk),
        ..one()
    };
    alone("boot-damaged", VM, &plan, |cluster| {
        cluster.power_on_all()?;
        let machine = cluster.machine_mut("node1")?;
        machine.wait_console("does not verify", Duration::from_secs(60))?;
        machine.wait_off(Duration::from_secs(60))?;
        let console = machine.console();
        says(&console, &["/usr on ", "powering off"])?;
        ensure!(
            !console.contains("systemd[1]"),
            "systemd was started from a damaged /usr: {console}"
        );
        Ok(())
    })
}

#[test]
#[ignore = "boots machines"]
fn a_bad_cloud_config_still_boots_is_reachable_and_is_named() -> Result<()> {
    let text = "#cloud-config\nhostname: still-here\nssh_authorized_keys:\n  - KEY\nwrite_files:\n  \
                - path: /etc/bad\n    permissions: rwx\n    content: x\n  - path: /etc/good\n    content: y\n";
    let plan = Plan {
        user_data: BTreeMap::from([("node1".to_owned(), text.to_owned())]),
        ..one()
    };
    alone("boot-bad-config", VM, &plan, |cluster| {
        cluster.power_on_all()?;
        cluster.wait_reachable("node1")?;
        says(
            &cluster.run("node1", "hostname; cat /etc/good")?,
            &["still-here", "y"],
        )?;
        let journal = rig::wait_output(
            cluster,
            "node1",
            "sudo journalctl -b -p err --no-pager",
            READY_WITHIN,
            |text| text.contains("user_data"),
        )?;
        says(&journal, &["user_data", "line 7", "rwx"])
    })
}

#[test]
#[ignore = "boots machines"]
fn a_cloud_config_that_is_no_yaml_still_boots_and_is_named() -> Result<()> {
    let text = "#cloud-config\nssh_authorized_keys:\n  - KEY\nhostname: [unclosed\n";
    let plan = Plan {
        user_data: BTreeMap::from([("node1".to_owned(), text.to_owned())]),
        ..one()
    };
    alone("boot-no-yaml", VM, &plan, |cluster| {
        cluster.power_on_all()?;
        // No key could be read, so only the console is left to say that the machine is up, and what is wrong.
        cluster.machine("node1")?.wait_console("line ", READY_WITHIN)?;
        says(&cluster.machine("node1")?.console(), &["user_data"])
    })
}

/// What a machine is told where it has no config drive, and so no network but what DHCP gives.
const WITHOUT_A_DRIVE: &str = "#cloud-config\nhostname: told-otherwise\nssh_authorized_keys:\n  - KEY\nwrite_files:\n  \
                               - path: /etc/told\n    content: at boot\n";

fn told(cluster: &Cluster) -> Result<()> {
    cluster.wait_reachable("node1")?;
    says(
        &cluster.run("node1", "hostname; cat /etc/told")?,
        &["told-otherwise", "at boot"],
    )
}

#[test]
#[ignore = "boots machines"]
fn a_cloud_config_comes_by_the_firmware_configuration_device() -> Result<()> {
    let plan = Plan {
        datasource: Datasource::FwCfg,
        user_data: BTreeMap::from([("node1".to_owned(), WITHOUT_A_DRIVE.to_owned())]),
        ..one()
    };
    alone("boot-fw-cfg", VM, &plan, |cluster| {
        cluster.power_on_all()?;
        told(cluster)
    })
}

#[test]
#[ignore = "boots machines"]
fn a_cloud_config_comes_from_a_url_that_answers_late() -> Result<()> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let plan = Plan {
        datasource: Datasource::Url {
            port: listener.local_addr()?.port(),
        },
        user_data: BTreeMap::from([("node1".to_owned(), WITHOUT_A_DRIVE.to_owned())]),
        ..one()
    };
    alone("boot-url", VM, &plan, |cluster| {
        let key = std::fs::read_to_string(cluster.layout().key().with_extension("pub"))?;
        let text = WITHOUT_A_DRIVE.replace("KEY", key.trim());
        let server = std::thread::spawn(move || serve(&listener, &text));
        cluster.power_on_all()?;
        told(cluster)?;
        let asked = server
            .join()
            .ok()
            .context("the server of the cloud-config panicked")??;
        ensure!(asked == "GET /node1 HTTP/1.1", "the machine asked {asked:?}");
        Ok(())
    })
}

/// Serves the text to whoever asks, but has a moment of weakness first. Returns what was asked.
fn serve(listener: &TcpListener, text: &str) -> std::io::Result<String> {
    let length = text.len();
    let answers = [
        "HTTP/1.1 503 Not Yet\r\ncontent-length: 0\r\nconnection: close\r\n\r\n".to_owned(),
        format!("HTTP/1.1 200 OK\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{text}"),
    ];
    let mut asked = String::new();
    for answer in answers {
        let (mut stream, _) = listener.accept()?;
        let mut lines = BufReader::new(stream.try_clone()?).lines();
        asked = lines.next().transpose()?.unwrap_or_default();
        while lines.next().transpose()?.is_some_and(|line| !line.is_empty()) {}
        stream.write_all(answer.as_bytes())?;
    }
    Ok(asked)
}
