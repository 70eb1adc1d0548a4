//! What tests in virtual machines stand on: a cluster of their own or one shared by a file of tests, kept whole between
//! them; on failure the journals are saved and the place of the logs is said; after every test the consoles are read for
//! what no healthy machine says.
//!
//! A test that cannot run, because QEMU or the image is missing, fails and says what is missing.

use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use corten_qemu::console::{Finding, Kind};
use corten_qemu::wait_until;

use crate::cluster::{Cluster, Plan};
use crate::host::Image;

/// The checkout: tests run in their package's folder.
fn checkout() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// The image under test: `out/image`, or what `CORTEN_IMAGE` names.
pub fn image() -> Result<Image> {
    let named = std::env::var_os("CORTEN_IMAGE").map(PathBuf::from);
    Image::open(&named.unwrap_or_else(|| checkout().join("out/image")))
}

/// Where the logs of the tests called `name` lie.
pub fn folder(name: &str) -> PathBuf {
    checkout().join("out/vm").join(name)
}

/// Runs a test on a cluster of its own whose machines are off. `vm` is the `corten-vm` program.
pub fn alone(name: &str, vm: &str, plan: &Plan, test: impl FnOnce(&mut Cluster) -> Result<()>) -> Result<()> {
    let mut cluster = Cluster::prepare(plan, &image()?, Path::new(vm), &folder(name))?;
    let result = evidence(&mut cluster, name, test);
    cluster.down()?;
    result
}

/// A cluster of three that the tests of one file take in turn. It ends with the process of the tests.
#[derive(Debug)]
pub struct SharedCluster {
    name: &'static str,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    cluster: Option<Cluster>,
    /// Findings of earlier tests, not to be counted again.
    known: usize,
    /// Why the cluster could not be made; the other tests fail at once.
    broken: Option<String>,
}

impl SharedCluster {
    /// One that is made when the first test asks for it; `name` names its folder.
    pub const fn new(name: &'static str) -> SharedCluster {
        SharedCluster {
            name,
            state: Mutex::new(State {
                cluster: None,
                known: 0,
                broken: None,
            }),
        }
    }

    /// Runs a test on the whole cluster: all machines Ready, all links sound. `vm` is the `corten-vm` program.
    pub fn test(&self, vm: &str, test: impl FnOnce(&mut Cluster) -> Result<()>) -> Result<()> {
        self.test_with(vm, &[], test)
    }

    /// The same for a test that provokes lines of these kinds on a console.
    pub fn test_with(
        &self,
        vm: &str,
        expected: &[Kind],
        test: impl FnOnce(&mut Cluster) -> Result<()>,
    ) -> Result<()> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(why) = &state.broken {
            bail!("there is no cluster, as an earlier test found: {why}");
        }
        if state.cluster.is_none() {
            state.cluster = Some(
                Cluster::prepare(&Plan::default(), &image()?, Path::new(vm), &folder(self.name))
                    .inspect_err(|error| state.broken = Some(format!("{error:#}")))?,
            );
        }
        let State {
            cluster: Some(cluster),
            known,
            broken,
        } = &mut *state
        else {
            bail!("no cluster")
        };
        let made_whole = evidence(cluster, self.name, whole);
        if let Err(error) = made_whole {
            *broken = Some(format!("{error:#}"));
            return Err(error);
        }
        let result = evidence(cluster, self.name, test);
        let findings = cluster.findings();
        let fresh = unexpected(findings.get(*known..).unwrap_or_default(), expected);
        *known = findings.len();
        result?;
        if !fresh.is_empty() {
            bail!(
                "the consoles say what no healthy machine says:\n{}",
                fresh.join("\n")
            );
        }
        Ok(())
    }
}

/// Everything on, everything connected, every machine Ready.
fn whole(cluster: &mut Cluster) -> Result<()> {
    cluster.network().heal_all()?;
    cluster.power_on_all()?;
    cluster.wait_all_ready(|name, time| println!("{name} is Ready after {:.1} s", time.as_secs_f64()))
}

fn evidence(cluster: &mut Cluster, name: &str, test: impl FnOnce(&mut Cluster) -> Result<()>) -> Result<()> {
    let result = test(cluster);
    if result.is_err() {
        // Journals of machines that are cut off come too: SSH does not go through the switch.
        cluster.save_journals();
    }
    result.with_context(|| format!("consoles and journals are in {}", folder(name).display()))
}

/// Findings that are not of the expected kinds, as text.
pub fn unexpected(findings: &[(String, Finding)], expected: &[Kind]) -> Vec<String> {
    findings
        .iter()
        .filter(|(_, finding)| !expected.contains(&finding.kind))
        .map(|(name, finding)| format!("{name}: {finding}"))
        .collect()
}

/// Waits until a command on a machine succeeds and its output fits; returns the output.
pub fn wait_output(
    cluster: &Cluster,
    name: &str,
    command: &str,
    deadline: Duration,
    fits: impl Fn(&str) -> bool,
) -> Result<String> {
    Ok(wait_until(
        &format!("`{command}` on {name} to say what is wanted"),
        deadline,
        || {
            let output = cluster.run(name, command).map_err(|error| format!("{error:#}"))?;
            if fits(&output) { Ok(output) } else { Err(output) }
        },
    )?)
}

/// Runs a command that must fail with a code; returns what it said on both outputs.
pub fn fails(cluster: &Cluster, name: &str, command: &str, code: i32) -> Result<String> {
    let output = cluster
        .ssh(name)?
        .output(command, &[], crate::cluster::COMMAND_WITHIN)?;
    let said = format!("{}{}", output.stdout, output.stderr);
    if output.status.code() != Some(code) {
        bail!(
            "`{command}` on {name} ended with {}, not {code}: {said}",
            output.status
        );
    }
    Ok(said)
}

/// Asserts that a text has all these parts.
pub fn says(text: &str, parts: &[&str]) -> Result<()> {
    match parts.iter().find(|part| !text.contains(**part)) {
        Some(missing) => bail!("{missing:?} is missing in: {text}"),
        None => Ok(()),
    }
}
