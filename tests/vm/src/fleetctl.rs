//! The product's `fleetctl`, run on the host as an operator would: through an SSH tunnel to one machine, with the
//! cluster's key from its file.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use corten_qemu::wait_until;

use crate::cluster::{CONNECT_WITHIN_S, Cluster};

/// So many arguments of a command that failed are named.
const NAMED: usize = 8;

/// `fleetctl --tunnel` to one machine.
#[derive(Debug, Clone)]
pub struct Fleetctl {
    program: PathBuf,
    key: Key,
    port: u16,
}

/// Where the key comes from.
#[derive(Debug, Clone)]
enum Key {
    File(PathBuf),
    Agent(PathBuf),
}

/// What a command left.
#[derive(Debug, Clone)]
pub struct Output {
    /// Its exit code; `None` if a signal ended it.
    pub code: Option<i32>,
    /// Its standard output.
    pub stdout: String,
    /// Its standard error.
    pub stderr: String,
}

/// One row of `list-units`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnitRow {
    /// The unit's name.
    pub unit: String,
    /// The address of its machine, empty if it has none.
    pub address: String,
    /// systemd's active state.
    pub active: String,
    /// systemd's sub-state.
    pub sub: String,
}

impl UnitRow {
    /// Is it active on a machine whose address is known, and is another than `address`?
    pub fn is_active_elsewhere(&self, address: &str) -> bool {
        self.active == "active" && !self.address.is_empty() && self.address != address
    }
}

impl Fleetctl {
    /// By way of the machine `name`.
    pub fn by(cluster: &Cluster, name: &str) -> Result<Fleetctl> {
        let layout = cluster.layout();
        Ok(Fleetctl {
            program: layout.bin().join("fleetctl"),
            key: Key::File(layout.key()),
            port: cluster.ssh(name)?.port,
        })
    }

    /// With the key from an agent instead.
    pub fn with_agent(self, socket: &Path) -> Fleetctl {
        Fleetctl {
            key: Key::Agent(socket.to_owned()),
            ..self
        }
    }

    /// The variables it runs with, for whoever goes on by hand.
    pub fn environment(&self) -> Vec<(&'static str, String)> {
        vec![
            ("FLEETCTL_TUNNEL", format!("127.0.0.1:{}", self.port)),
            ("FLEETCTL_STRICT_HOST_KEY_CHECKING", "false".to_owned()),
            ("FLEETCTL_SSH_CONFIG", "/dev/null".to_owned()),
            ("FLEETCTL_SSH_TIMEOUT", CONNECT_WITHIN_S.to_string()),
            match &self.key {
                Key::File(path) => ("FLEETCTL_SSH_IDENTITY", path.display().to_string()),
                Key::Agent(socket) => ("SSH_AUTH_SOCK", socket.display().to_string()),
            },
        ]
    }

    /// It with arguments, ready to be run.
    pub fn command<A: AsRef<OsStr>>(&self, args: &[A]) -> Command {
        let mut command = Command::new(&self.program);
        command.args(args).envs(self.environment());
        command
    }

    /// Runs it, whatever becomes of it.
    pub fn output(&self, args: &[&str]) -> Result<Output> {
        let output = self
            .command(args)
            .stdin(Stdio::null())
            .output()
            .with_context(|| format!("running {}", self.program.display()))?;
        Ok(Output {
            code: output.status.code(),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        })
    }

    /// Runs it; it must succeed. Returns its standard output.
    pub fn run(&self, args: &[&str]) -> Result<String> {
        let output = self.output(args)?;
        if output.code != Some(0) {
            let said = format!("{}{}", output.stdout, output.stderr);
            let more = if args.len() > NAMED { " ..." } else { "" };
            bail!(
                "fleetctl {}{more} ended with {:?}: {}",
                args[..args.len().min(NAMED)].join(" "),
                output.code,
                said.trim()
            );
        }
        Ok(output.stdout)
    }

    /// The rows of `list-units`.
    pub fn units(&self) -> Result<Vec<UnitRow>> {
        Ok(parse_units(&self.run(&[
            "list-units",
            "--no-legend",
            "--full",
        ])?))
    }

    /// Waits until `wanted` holds of the rows of `list-units`; returns them.
    pub fn wait_units(
        &self,
        condition: &str,
        deadline: Duration,
        wanted: impl Fn(&[UnitRow]) -> bool,
    ) -> Result<Vec<UnitRow>> {
        Ok(wait_until(condition, deadline, || {
            let rows = self.units().map_err(|error| format!("{error:#}"))?;
            if wanted(&rows) {
                Ok(rows)
            } else {
                Err(format!("{rows:?}"))
            }
        })?)
    }

    /// Waits until a unit is active somewhere; returns the address of its machine.
    pub fn wait_active(&self, unit: &str, deadline: Duration) -> Result<String> {
        let active = |row: &&UnitRow| row.unit == unit && row.active == "active";
        let rows = self.wait_units(&format!("{unit} to be active"), deadline, |rows| {
            rows.iter().any(|r| active(&r))
        })?;
        Ok(rows
            .iter()
            .find(active)
            .map(|row| row.address.clone())
            .unwrap_or_default())
    }
}

/// Rows of `UNIT  <machine>/<ip>  ACTIVE  SUB`, separated by tabs and blanks.
fn parse_units(text: &str) -> Vec<UnitRow> {
    let row = |line: &str| {
        let mut fields = line.split_whitespace().map(str::to_owned);
        let unit = fields.next()?;
        let machine = fields.next()?;
        let address = machine
            .rsplit_once('/')
            .map(|(_, ip)| ip.to_owned())
            .unwrap_or_default();
        Some(UnitRow {
            unit,
            address,
            active: fields.next()?,
            sub: fields.next()?,
        })
    };
    text.lines().filter_map(row).collect()
}

/// Writes a unit file for [`Fleetctl`] to submit; returns its path.
pub fn unit_file(cluster: &Cluster, name: &str, text: &str) -> Result<String> {
    let folder = cluster.layout().dir().join("units");
    write_unit(&folder, name, text)
}

fn write_unit(folder: &Path, name: &str, text: &str) -> Result<String> {
    std::fs::create_dir_all(folder).with_context(|| format!("making {}", folder.display()))?;
    let path = folder.join(name);
    std::fs::write(&path, text).with_context(|| format!("writing {}", path.display()))?;
    Ok(path.display().to_string())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_read_as_they_are_printed() {
        let text =
            "a@1.service\t0123456789abcdef/10.77.0.11\tactive\t\trunning\nb.service\t-\t\t\tinactive\tdead\n";
        let rows = parse_units(text);
        assert_eq!(rows[0].address, "10.77.0.11");
        assert_eq!(
            (rows[0].active.as_str(), rows[0].sub.as_str()),
            ("active", "running")
        );
        assert_eq!(
            (
                rows[1].unit.as_str(),
                rows[1].address.as_str(),
                rows[1].active.as_str()
            ),
            ("b.service", "", "inactive")
        );
    }
}
