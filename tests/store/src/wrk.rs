//! The v2 load: Debian's wrk with a script of ours, so that both servers meet a client neither of us wrote.

use std::io::Write;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use tokio::process::Command;

use crate::load::{KEYS, Load, Measured, VALUE};

/// Says how to get wrk if it is missing.
pub fn check() -> Result<()> {
    match std::process::Command::new("wrk").arg("-v").output() {
        Ok(_) => Ok(()),
        Err(error) => bail!("wrk cannot be started ({error}): apt-get install wrk"),
    }
}

fn script(load: Load) -> String {
    let request = match load {
        Load::Put => {
            r#"wrk.format("PUT", path, {["Content-Type"] = "application/x-www-form-urlencoded"}, body)"#
        }
        Load::Get => r#"wrk.format("GET", path)"#,
        Load::QuorumGet => r#"wrk.format("GET", path .. "?quorum=true")"#,
    };
    // The requests are made beforehand: on few processors, what wrk spends on making them is taken from the server.
    format!(
        r#"
local requests = {{}}
function init()
  local body = "value=" .. string.rep("x", {VALUE})
  for i = 1, {KEYS} do
    local path = "/v2/keys/bench/k" .. i - 1
    requests[i] = {request}
  end
end
function request()
  return requests[math.random({KEYS})]
end
function done(summary, latency, requests)
  local e = summary.errors
  io.write(string.format("RESULT %d %d %f %f %d\n", summary.requests, summary.duration,
    latency:percentile(50), latency:percentile(99), e.connect + e.read + e.write + e.status + e.timeout))
end
"#
    )
}

/// Loads the server on `port` over `connections` for a while.
pub async fn run(port: u16, load: Load, connections: usize, lasting: Duration) -> Result<Measured> {
    let mut file = tempfile::Builder::new().suffix(".lua").tempfile()?;
    file.write_all(script(load).as_bytes())?;
    let output = Command::new("wrk")
        .args(["--threads", "1", "--timeout", "10s"])
        .args(["--connections", &connections.to_string()])
        .args(["--duration", &format!("{}s", lasting.as_secs())])
        .arg("--script")
        .arg(file.path())
        .arg(format!("http://127.0.0.1:{port}"))
        .output()
        .await?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix("RESULT "))
        .with_context(|| format!("wrk gave no result:\n{text}"))?;
    let numbers: Vec<f64> = line.split(' ').map(str::parse).collect::<Result<_, _>>()?;
    let [requests, us, p50, p99, errors] = numbers[..] else {
        bail!("wrk's result is odd: {line}");
    };
    ensure!(errors == 0.0, "{errors} requests of {requests} failed:\n{text}");
    Ok(Measured {
        per_second: requests / (us / 1e6),
        p50_ms: p50 / 1e3,
        p99_ms: p99 / 1e3,
    })
}
