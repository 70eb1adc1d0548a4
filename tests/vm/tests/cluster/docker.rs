//! Containers on a machine, by docker.

use anyhow::{Result, ensure};
use corten_vm::config::REGISTRY;
use corten_vm::fleetctl::{Fleetctl, unit_file};
use corten_vm::rig::{fails, says, wait_output};

use super::{SOON, cluster};

#[test]
#[ignore = "boots machines"]
fn docker_pulls_runs_shows_and_removes() -> Result<()> {
    cluster(|c| {
        let image = format!("{REGISTRY}/paas-monitor");
        c.run("node1", &format!("sudo docker pull {image}"))?;
        says(
            &c.run("node1", "sudo docker images")?,
            &["paas-monitor", "latest"],
        )?;
        c.run(
            "node1",
            &format!("sudo docker run -d --name web -p 8080:1337 {image}"),
        )?;
        says(&c.run("node1", "sudo docker ps")?, &["web", "8080->1337/tcp"])?;
        let page = corten_vm::demo::fetch(c, "node2", "10.77.0.11:8080")?;
        says(&page, &["container"])?;
        ensure!(c.run("node1", "sudo docker exec web echo inside")?.trim() == "inside");
        says(
            &c.run("node1", "sudo docker inspect web")?,
            &["\"Running\": true"],
        )?;
        c.run("node1", "sudo docker stop web && sudo docker rm web")?;
        ensure!(!c.run("node1", "sudo docker ps -a")?.contains("web"));
        let code = c.run(
            "node1",
            &format!("sudo docker run --rm {image} sh -c 'exit 7'; echo $?"),
        )?;
        ensure!(code.trim() == "7", "{code}");
        Ok(())
    })
}

#[test]
#[ignore = "boots machines"]
fn docker_says_what_is_wrong() -> Result<()> {
    cluster(|c| {
        let none = fails(
            c,
            "node1",
            &format!("sudo docker pull {REGISTRY}/no-such-image"),
            1,
        )?;
        says(&none, &["no-such-image"])?;
        says(&fails(c, "node1", "sudo docker stop nobody", 1)?, &["nobody"])?;
        says(
            &fails(c, "node1", "sudo docker run -p 1337", 1)
                .or_else(|_| fails(c, "node1", "sudo docker run -p 1337", 125))?,
            &["docker run"],
        )?;
        let image = format!("{REGISTRY}/paas-monitor");
        let publish = |name: &str| format!("sudo docker run -d --name {name} -p 8081:1337 {image}");
        c.run("node1", &publish("first"))?;
        let taken = fails(c, "node1", &publish("second"), 125);
        c.run(
            "node1",
            "sudo docker rm -f first; sudo docker rm -f second || true",
        )?;
        says(&taken?, &["8081"])?;
        c.registry().stop()?;
        let away = fails(c, "node1", &format!("sudo docker pull {REGISTRY}/other"), 1);
        c.restart_registry()?;
        says(&away?, &[REGISTRY])
    })
}

#[test]
#[ignore = "boots machines"]
fn a_container_unit_runs_in_its_own_cgroup_and_ends_with_its_service() -> Result<()> {
    cluster(|c| {
        let fleetctl = Fleetctl::by(c, "node1")?;
        let text = format!(
            "[Container]\nImage={REGISTRY}/paas-monitor\nPublishPort=8082:1337\n\
             Environment=\"GREETING=hello world\"\nReadOnly=true\n[Service]\nTimeoutStartSec=3m\n\
             [X-Fleet]\nMachineMetadata=zone=b\n"
        );
        let file = unit_file(c, "page.container", &text)?;
        says(&fleetctl.run(&["start", &file])?, &["page.service", "10.77.0.12"])?;
        ensure!(fleetctl.wait_active("page.service", SOON)? == "10.77.0.12");
        let page = corten_vm::demo::fetch(c, "node1", "10.77.0.12:8082")?;
        says(&page, &["container"])?;
        let inside = c.run("node2", "sudo docker exec systemd-page env")?;
        says(&inside, &["GREETING=hello world\n"])?;
        // The unit's main process is the container's first.
        let cgroup = c.run(
            "node2",
            "cat /proc/$(systemctl show -P MainPID page.service)/cgroup",
        )?;
        says(&cgroup, &["page.service"])?;
        says(
            &fleetctl.run(&["status", "page.container"])?,
            &["active (running)"],
        )?;
        fleetctl.run(&["destroy", "page.container"])?;
        wait_output(c, "node2", "sudo docker ps -a", SOON, |text| {
            !text.contains("page")
        })?;
        Ok(())
    })
}
