//! A formed cluster of three, used and broken: its stores, its clients, its losses. The tests share the machines.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use corten_vm::config::REGISTRY;
use corten_vm::fleetctl::{Fleetctl, unit_file};
use corten_vm::rig::{SharedCluster, fails, says, wait_output};
use corten_vm::{Cluster, faults};

const VM: &str = env!("CARGO_BIN_EXE_corten-vm");
const NODES: [&str; 3] = ["node1", "node2", "node3"];
const SOON: Duration = Duration::from_secs(90);

static CLUSTER: SharedCluster = SharedCluster::new("cluster");

fn cluster(test: impl FnOnce(&mut Cluster) -> Result<()>) -> Result<()> {
    CLUSTER.test(VM, test)
}

#[test]
#[ignore = "boots machines"]
fn a_key_set_on_one_machine_is_read_on_all() -> Result<()> {
    cluster(|c| {
        ensure!(c.run("node1", "etcdctl set /shared hello")?.trim() == "hello");
        for name in NODES {
            wait_output(c, name, "etcdctl get /shared", SOON, |text| {
                text.trim() == "hello"
            })?;
        }
        ensure!(
            c.run(
                "node2",
                "etcdctl mkdir /d && etcdctl mk /d/a 1 && etcdctl update /d/a 2"
            )?
            .contains('2')
        );
        ensure!(c.run("node2", "etcdctl ls --recursive /d")?.trim() == "/d/a");
        c.run("node2", "etcdctl rm /d/a && etcdctl rmdir /d")?;
        says(
            &fails(c, "node2", "etcdctl get /d/a", 4)?,
            &["100", "Key not found"],
        )?;
        says(
            &fails(c, "node2", "etcdctl get --no-such-option /a", 1)?,
            &["no-such-option"],
        )
    })
}

#[test]
#[ignore = "boots machines"]
fn a_watcher_on_another_machine_sees_a_change_and_a_ttl_ends() -> Result<()> {
    cluster(|c| {
        // From an index on, because nobody knows when the watcher is there.
        let before = c.run("node1", "etcdctl -o extended set /before x")?;
        let index = before
            .lines()
            .find_map(|line| line.strip_prefix("Modified-Index: "));
        let index = index.with_context(|| before.clone())?.trim();
        let watch = format!("etcdctl exec-watch --after-index {index} /watched -- env");
        let ssh = c.ssh("node2")?;
        let watcher = std::thread::spawn(move || ssh.run(&watch, SOON));
        let seen = wait_output(
            c,
            "node1",
            "etcdctl set --ttl 2 /watched seen; etcdctl get /watched",
            SOON,
            |t| t.contains("seen"),
        )?;
        says(&seen, &["seen"])?;
        wait_output(
            c,
            "node3",
            "etcdctl get /watched >/dev/null 2>&1; echo $?",
            SOON,
            |code| code.trim() == "4",
        )?;
        c.run(
            "node2",
            "pid=$(pgrep -f '[e]xec-watch --after-index' | head -n 1); kill -INT $pid; true",
        )?;
        let said = watcher
            .join()
            .map_err(|_| anyhow::anyhow!("the watcher panicked"))??;
        says(
            &said,
            &[
                "ETCD_WATCH_ACTION=set",
                "ETCD_WATCH_KEY=/watched",
                "ETCD_WATCH_ACTION=expire",
            ],
        )
    })
}

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
fn fleetctl_does_everything_through_a_tunnel_with_an_agent() -> Result<()> {
    cluster(|c| {
        let agent = faults::Agent::start(c)?;
        let fleetctl = Fleetctl::by(c, "node2")?.with_agent(agent.socket());
        says(
            &fleetctl.run(&["list-machines", "--full"])?,
            &["10.77.0.11", "10.77.0.13", "role=worker,zone=b"],
        )?;
        let text = "[Unit]\nDescription=says its name\n[Service]\nExecStart=/bin/sh -c 'echo I am %n; exec sleep infinity'\n\
                    [X-Fleet]\nMachineMetadata=zone=c\n";
        let file = unit_file(c, "named.service", text)?;
        says(&fleetctl.run(&["submit", &file])?, &["inactive"])?;
        says(
            &fleetctl.run(&["load", "named.service"])?,
            &["loaded on", "10.77.0.13"],
        )?;
        says(
            &fleetctl.run(&["start", "named.service"])?,
            &["launched on", "10.77.0.13"],
        )?;
        says(
            &fleetctl.run(&["cat", "named.service"])?,
            &["Description=says its name"],
        )?;
        says(
            &fleetctl.run(&["status", "named.service"])?,
            &["active (running)"],
        )?;
        says(
            &fleetctl.run(&["journal", "named.service"])?,
            &["I am named.service"],
        )?;
        ensure!(fleetctl.run(&["ssh", "named.service", "hostname"])?.trim() == "node3");
        fleetctl.run(&["stop", "named.service"])?;
        fleetctl.run(&["unload", "named.service"])?;
        fleetctl.run(&["destroy", "named.service"])?;
        ensure!(!fleetctl.run(&["list-unit-files"])?.contains("named.service"));
        Ok(())
    })
}

#[test]
#[ignore = "boots machines"]
fn a_global_unit_runs_everywhere_and_a_timer_fires() -> Result<()> {
    cluster(|c| {
        let fleetctl = Fleetctl::by(c, "node1")?;
        let global = unit_file(
            c,
            "everywhere.service",
            "[Service]\nExecStart=/bin/sleep infinity\n[X-Fleet]\nGlobal=true\n",
        )?;
        fleetctl.run(&["start", &global])?;
        fleetctl.wait_units("three of everywhere.service", SOON, |rows| {
            rows.iter()
                .filter(|row| row.unit == "everywhere.service" && row.active == "active")
                .count()
                == 3
        })?;
        let job = unit_file(
            c,
            "tick.service",
            "[Service]\nType=oneshot\nExecStart=/bin/sh -c 'echo tick'\n",
        )?;
        let timer = unit_file(
            c,
            "tick.timer",
            "[Timer]\nOnActiveSec=1\n[X-Fleet]\nMachineOf=tick.service\n",
        )?;
        fleetctl.run(&["load", &job])?;
        fleetctl.run(&["start", &timer])?;
        let rows = fleetctl.wait_units("the timer to have run", SOON, |rows| {
            rows.iter().any(|r| r.unit == "tick.timer")
        })?;
        let at = rows
            .iter()
            .find(|row| row.unit == "tick.timer")
            .context("the timer")?
            .address
            .clone();
        let name = faults::name_of(c, &at)?;
        wait_output(
            c,
            &name,
            "sudo journalctl -u tick.service --no-pager",
            SOON,
            |text| text.contains("tick"),
        )?;
        fleetctl.run(&["destroy", "everywhere.service", "tick.timer", "tick.service"])?;
        Ok(())
    })
}

#[test]
#[ignore = "boots machines"]
fn units_of_every_type_are_started() -> Result<()> {
    const UNITS: &[(&str, &str)] = &[
        (
            "greet.service",
            "[Service]\nExecStart=/bin/cat /etc/hostname\nStandardOutput=socket\n",
        ),
        ("greet.socket", "[Socket]\nListenStream=/run/greet.sock\n"),
        (
            "found.service",
            "[Service]\nType=oneshot\nExecStart=/bin/touch /run/found\nRemainAfterExit=yes\n",
        ),
        ("found.path", "[Path]\nPathExists=/run/scratch/lost\n"),
        (
            "run-scratch.mount",
            "[Mount]\nWhat=tmpfs\nWhere=/run/scratch\nType=tmpfs\n",
        ),
        (
            "run-lazy.mount",
            "[Mount]\nWhat=tmpfs\nWhere=/run/lazy\nType=tmpfs\n",
        ),
        ("run-lazy.automount", "[Automount]\nWhere=/run/lazy\n"),
        ("small.slice", "[Slice]\nMemoryMax=64M\n"),
        ("arrived.target", "[Unit]\nDescription=a point in time\n"),
        ("dev-vda.device", "[Unit]\nDescription=the disk\n"),
    ];
    // These two are started by what watches for them.
    let loaded = ["greet.service", "found.service", "run-lazy.mount"];
    cluster(|c| {
        let fleetctl = Fleetctl::by(c, "node2")?;
        for (name, text) in UNITS {
            let file = unit_file(c, name, &format!("{text}[X-Fleet]\nMachineMetadata=zone=a\n"))?;
            let verb = if loaded.contains(name) { "load" } else { "start" };
            fleetctl
                .run(&[verb, &file])
                .with_context(|| format!("{verb} {name}"))?;
        }
        let watching = ["greet.socket", "found.path", "run-lazy.automount"];
        let rows = fleetctl.wait_units("all of them to be active", SOON, |rows| {
            UNITS
                .iter()
                .filter(|(name, _)| !loaded.contains(name))
                .all(|(name, _)| rows.iter().any(|row| row.unit == *name && row.active == "active"))
        })?;
        ensure!(
            watching
                .iter()
                .all(|name| rows.iter().any(|row| row.unit == *name)),
            "{rows:?}"
        );
        c.run("node1", "sudo touch /run/scratch/lost; ls /run/lazy")?;
        fleetctl.wait_units("what was watched for", SOON, |rows| {
            ["found.service", "run-lazy.mount"]
                .iter()
                .all(|name| rows.iter().any(|row| row.unit == *name && row.active == "active"))
        })?;
        let names: Vec<&str> = UNITS.iter().map(|(name, _)| *name).collect();
        fleetctl.run(&[&["destroy"], names.as_slice()].concat())?;
        ensure!(
            !c.run("node1", "findmnt -n; ls /run/fleet/units")?
                .contains("scratch")
        );
        Ok(())
    })
}

#[test]
#[ignore = "boots machines"]
fn fleetctl_says_what_is_wrong() -> Result<()> {
    cluster(|c| {
        let fleetctl = Fleetctl::by(c, "node1")?;
        let unknown = fleetctl.output(&["cat", "nobody.service"])?;
        ensure!(
            unknown.code == Some(1) && unknown.stderr.contains("nobody.service"),
            "{unknown:?}"
        );
        let template = unit_file(c, "t@.service", "[Service]\nExecStart=/bin/true\n")?;
        fleetctl.run(&["submit", &template])?;
        let started = fleetctl.output(&["start", "t@.service"])?;
        ensure!(
            started.code == Some(1) && started.stderr.contains("template"),
            "{started:?}"
        );
        fleetctl.run(&["destroy", "t@.service"])?;
        let broken = unit_file(
            c,
            "broken.service",
            "[Service]\nExecStart=/bin/true\n[X-Fleet]\nGlobal=true\nMachineOf=a.service\n",
        )?;
        let refused = fleetctl.output(&["start", &broken])?;
        ensure!(
            refused.code == Some(1) && refused.stderr.contains("Global"),
            "{refused:?}"
        );
        let nowhere = fleetctl.output(&["ssh", "no-such-machine", "true"])?;
        ensure!(nowhere.code == Some(1), "{nowhere:?}");
        Ok(())
    })
}

#[test]
#[ignore = "boots machines"]
fn fleetctl_says_why_systemd_did_not_start_a_unit() -> Result<()> {
    cluster(|c| {
        let fleetctl = Fleetctl::by(c, "node2")?;
        let sleeps = |name: &str, head: &str| {
            let text = format!("[Unit]\n{head}\n[Service]\nExecStart=/bin/sleep infinity\n");
            unit_file(c, name, &text)
        };
        let refused = fleetctl.output(&[
            "start",
            &sleeps("needs-none.service", "Requires=no-such.service")?,
        ])?;
        ensure!(refused.code == Some(1), "{refused:?}");
        says(
            &refused.stderr,
            &[
                "systemd refused to start needs-none.service",
                "no-such.service not found",
            ],
        )?;
        says(
            &fleetctl.run(&["list-units", "--fields=unit,active,reason"])?,
            &["needs-none.service", "inactive", "no-such.service not found"],
        )?;
        let status = fleetctl.output(&["status", "needs-none.service"])?;
        ensure!(status.code == Some(3), "{status:?}");
        says(&status.stderr, &["no-such.service not found"])?;

        // Of a failed dependency nothing is in the state of the unit itself.
        let fails = unit_file(
            c,
            "fails.service",
            "[Service]\nType=oneshot\nExecStart=/bin/false\n",
        )?;
        fleetctl.run(&["load", &fails])?;
        let head = "Requires=fails.service\nAfter=fails.service\n[X-Fleet]\nMachineOf=fails.service";
        let failed = fleetctl.output(&["start", &sleeps("needs-failed.service", head)?])?;
        ensure!(failed.code == Some(1), "{failed:?}");
        says(&failed.stderr, &["a unit that it requires failed"])?;

        fleetctl.run(&[
            "start",
            &sleeps(
                "needs-docker.service",
                "Requires=docker.service\nAfter=docker.service",
            )?,
        ])?;
        let all = [
            "needs-none.service",
            "needs-failed.service",
            "fails.service",
            "needs-docker.service",
        ];
        fleetctl.run(&[&["destroy"], &all[..]].concat())?;
        Ok(())
    })
}

#[test]
#[ignore = "boots machines"]
fn instances_are_replaced_one_at_a_time() -> Result<()> {
    cluster(|c| {
        let fleetctl = Fleetctl::by(c, "node2")?;
        let units = ["roll@1.service", "roll@2.service", "roll@3.service"];
        let folder = unit_file(
            c,
            "roll@.service",
            "[Service]\nType=exec\nExecStart=/bin/sleep 1001\n",
        )?;
        let folder = folder.trim_end_matches("roll@.service").to_owned();
        let paths = units.map(|unit| format!("{folder}{unit}"));
        let start = |options: &[&str]| {
            let words = [&["start"], options].concat();
            let paths = paths.iter().map(String::as_str);
            fleetctl.output(&words.into_iter().chain(paths).collect::<Vec<_>>())
        };
        let versions = |text: &str| -> Result<usize> {
            let count = |unit: &&str| {
                let cat = fleetctl.run(&["cat", unit])?;
                anyhow::Ok(usize::from(cat.contains(text)))
            };
            units.iter().map(count).sum()
        };
        ensure!(start(&[])?.code == Some(0));

        unit_file(
            c,
            "roll@.service",
            "[Service]\nType=exec\nExecStart=/bin/no-such-program\n",
        )?;
        let roll = ["--replace", "--max-unavailable", "1"];
        let broken = start(&roll)?;
        ensure!(broken.code == Some(1), "{broken:?}");
        says(
            &broken.stderr,
            &["the last 2 of the units given were not touched"],
        )?;
        ensure!(versions("no-such-program")? == 1 && versions("1001")? == 2);

        unit_file(
            c,
            "roll@.service",
            "[Service]\nType=exec\nExecStart=/bin/sleep 1002\n",
        )?;
        let mended = start(&roll)?;
        ensure!(mended.code == Some(0), "{mended:?}");
        ensure!(versions("1002")? == 3);
        let huge = "[Service]\nExecStart=/bin/true\n[X-Fleet]\nMemoryReserve=64G\n";
        let huge = unit_file(c, "huge.service", huge)?;
        let waits = fleetctl.output(&["start", "--timeout", "20s", &huge])?;
        says(&waits.stderr, &["3 machines", "memory"])?;
        fleetctl.run(&[&["destroy", "huge.service"], &units[..]].concat())?;
        Ok(())
    })
}

#[test]
#[ignore = "boots machines"]
fn a_killed_supervisor_comes_back_with_everything_and_disturbs_no_unit() -> Result<()> {
    cluster(|c| {
        let fleetctl = Fleetctl::by(c, "node1")?;
        let file = unit_file(c, "steady.service", "[Service]\nExecStart=/bin/sleep infinity\n")?;
        fleetctl.run(&["start", &file])?;
        let at = faults::name_of(c, &fleetctl.wait_active("steady.service", SOON)?)?;
        let pid = "systemctl show -P MainPID steady.service";
        let before = c.run(&at, pid)?;
        let acknowledged = faults::write_until(c, "node1", "/killed", |c| {
            for _ in 0..3 {
                for name in NODES {
                    c.run(
                        name,
                        "sudo systemctl kill --kill-whom=main -s KILL corten.service",
                    )?;
                }
                c.wait_all_ready(|_, _| {})?;
            }
            Ok(())
        })?;
        faults::all_there(c, "node3", "/killed", &acknowledged)?;
        ensure!(c.run(&at, pid)? == before, "steady.service was restarted");
        fleetctl.run(&["destroy", "steady.service"])?;
        Ok(())
    })
}

#[test]
#[ignore = "boots machines"]
fn a_power_cut_of_all_machines_loses_no_acknowledged_key() -> Result<()> {
    cluster(|c| {
        let acknowledged = faults::write_until(c, "node2", "/cut", |c| {
            for name in NODES {
                c.machine_mut(name)?.power_cut()?;
            }
            Ok(())
        })?;
        c.power_on_all()?;
        c.wait_all_ready(|_, _| {})?;
        faults::all_there(c, "node1", "/cut", &acknowledged)
    })
}

#[test]
#[ignore = "boots machines"]
fn a_machine_cut_off_loses_its_unit_and_stops_it_when_it_is_back() -> Result<()> {
    cluster(|c| {
        let fleetctl = Fleetctl::by(c, "node1")?;
        let file = unit_file(c, "single.service", "[Service]\nExecStart=/bin/sleep infinity\n")?;
        fleetctl.run(&["start", &file])?;
        let text = "[Service]\nExecStart=/bin/sleep infinity\n[X-Fleet]\nMachineOf=single.service\nOnPartition=stop\n";
        let fenced = unit_file(c, "fenced.service", text)?;
        fleetctl.run(&["start", &fenced])?;
        let address = fleetctl.wait_active("single.service", SOON)?;
        let lonely = faults::name_of(c, &address)?;
        ensure!(fleetctl.wait_active("fenced.service", SOON)? == address);
        let other = NODES
            .into_iter()
            .find(|name| *name != lonely)
            .context("another machine")?;
        c.network().cut(&lonely)?;
        let fleetctl = Fleetctl::by(c, other)?;
        fleetctl.wait_units("both elsewhere", SOON, |rows| {
            rows.iter()
                .filter(|row| row.active == "active" && row.address != address)
                .count()
                == 2
        })?;
        ensure!(c.run(&lonely, "systemctl is-active single.service")?.trim() == "active");
        // systemd forgets a stopped unit's times, the journal does not.
        let when = |name: &str, what: &str| -> Result<f64> {
            let ask =
                format!("sudo journalctl -b -u fenced.service -o short-unix | grep ' systemd.*{what} '");
            let line = c.run(name, &ask)?;
            Ok(line.split_whitespace().next().unwrap_or_default().parse()?)
        };
        let next = fleetctl.wait_active("fenced.service", SOON)?;
        let stopped = when(&lonely, "Stopped")?;
        let started = when(&faults::name_of(c, &next)?, "Started")?;
        ensure!(
            stopped <= started,
            "it stopped at {stopped} on the machine that was cut off, and had started at {started} elsewhere"
        );
        says(&fails(c, &lonely, "etcdctl set /minority x", 4)?, &["Error"])?;
        c.network().heal(&lonely)?;
        wait_output(
            c,
            &lonely,
            "systemctl is-active single.service; true",
            SOON,
            |text| text.trim() != "active",
        )?;
        wait_output(
            c,
            other,
            "fleetctl list-machines --no-legend | wc -l",
            SOON,
            |count| count.trim() == "3",
        )?;
        fleetctl.run(&["destroy", "single.service", "fenced.service"])?;
        Ok(())
    })
}

#[test]
#[ignore = "boots machines"]
fn without_a_majority_clients_say_so_and_units_run_on() -> Result<()> {
    cluster(|c| {
        let fleetctl = Fleetctl::by(c, "node1")?;
        let text = "[Service]\nExecStart=/bin/sleep infinity\n[X-Fleet]\nMachineMetadata=zone=a\n";
        let file = unit_file(c, "held.service", text)?;
        fleetctl.run(&["start", &file])?;
        c.network().cut("node2")?;
        c.network().cut("node3")?;
        says(&fails(c, "node1", "etcdctl set /nobody x", 4)?, &["Error"])?;
        let later = unit_file(c, "later.service", "[Service]\nExecStart=/bin/true\n")?;
        let refused = fleetctl.output(&["submit", &later])?;
        ensure!(
            refused.code == Some(1) && !refused.stderr.is_empty(),
            "{refused:?}"
        );
        ensure!(c.run("node1", "systemctl is-active held.service")?.trim() == "active");
        wait_output(c, "node1", "systemctl show -P StatusText corten", SOON, |text| {
            text.contains("nothing can be changed")
        })?;
        c.network().heal_all()?;
        wait_output(c, "node1", "etcdctl set /again x || true", SOON, |text| {
            text.trim() == "x"
        })?;
        fleetctl.run(&["destroy", "held.service"])?;
        Ok(())
    })
}

#[test]
#[ignore = "boots machines"]
fn a_lossy_and_slow_network_is_survived() -> Result<()> {
    cluster(|c| {
        c.network().set(None, None, faults::BAD_NETWORK)?;
        for number in 0..5 {
            let set = format!("etcdctl set /lossy/{number} {number}");
            wait_output(c, NODES[number % 3], &set, SOON, |text| {
                text.trim() == number.to_string()
            })?;
        }
        Ok(())
    })
}
