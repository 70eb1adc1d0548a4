//! `corten supervisor` as a process: its configuration, its signals, what it tells systemd.

use std::ffi::OsString;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use tokio::signal::unix::{SignalKind, signal};

use crate::chain::chain;
use crate::listeners::Listeners;
use crate::notify::{Notifier, watchdog_interval};
use crate::settings::fragments::{ConfError, Fragments, from_environment, from_fleet_conf, merge};
use crate::settings::{Settings, SettingsError, understand};
use crate::supervisor::Supervisor;
use crate::systemd::dbus::SystemBus;
use crate::{journal, status};

/// The exit code of a configuration that cannot be understood (sysexits.h); corten.service is not restarted then.
const EX_CONFIG: u8 = 78;
const FLEET_CONF: &str = "/etc/fleet/fleet.conf";
/// How often the state is looked at that `systemctl status` shows, when no watchdog asks more often.
const LOOK: Duration = Duration::from_secs(10);

const USAGE: &str = "usage: corten supervisor

Runs this machine's supervisor: a member of the store, the APIs of etcd and fleet, the scheduler and the agent.
It takes no options. It is configured by the variables of etcd2 (ETCD_NAME, ETCD_DATA_DIR, ETCD_INITIAL_CLUSTER, ...)
and of fleet (FLEET_METADATA, FLEET_PUBLIC_IP, FLEET_AGENT_TTL, ...), and by /etc/fleet/fleet.conf. Without any, it is
a cluster of one on loopback. By hand, CORTEN_FLEET_SOCKET says where the fleet API's socket is.
";

/// Runs `corten supervisor`; `args` are what follows that.
pub fn main(args: &[OsString]) -> ExitCode {
    match args.first().and_then(|arg| arg.to_str()) {
        None => {}
        Some("--help" | "-h" | "help") => {
            print!("{USAGE}");
            return ExitCode::SUCCESS;
        }
        Some(_) => {
            eprint!("corten supervisor takes no arguments\n\n{USAGE}");
            return ExitCode::from(2);
        }
    }
    match start() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let text = chain(&error);
            tracing::error!("{text}");
            eprintln!("corten supervisor: {text}");
            if error.is::<SettingsError>() || error.is::<ConfError>() {
                ExitCode::from(EX_CONFIG)
            } else {
                ExitCode::FAILURE
            }
        }
    }
}

fn start() -> anyhow::Result<()> {
    let understood = match understand(&given()?) {
        Ok(understood) => understood,
        Err(error) => {
            journal::install("info");
            return Err(error.into());
        }
    };
    journal::install(&understood.settings.log);
    for warning in &understood.warnings {
        tracing::warn!("{warning}");
    }
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .context("no runtime")?;
    let outcome = runtime.block_on(run(understood.settings));
    runtime.shutdown_timeout(Duration::from_secs(1));
    outcome
}

fn given() -> anyhow::Result<Fragments> {
    let file = match std::fs::read_to_string(FLEET_CONF) {
        Ok(text) => from_fleet_conf(FLEET_CONF, &text)?,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Fragments::new(),
        Err(error) => return Err(error).context(format!("{FLEET_CONF} cannot be read")),
    };
    let text = |(name, value): (OsString, OsString)| {
        Some((name.into_string().ok()?, value.to_string_lossy().into_owned()))
    };
    Ok(merge(
        file,
        from_environment(std::env::vars_os().filter_map(text)),
    ))
}

async fn run(settings: Settings) -> anyhow::Result<()> {
    let notifier = Notifier::new(std::env::var("NOTIFY_SOCKET").ok().as_deref());
    let mut terminate = signal(SignalKind::terminate()).context("SIGTERM cannot be caught")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("SIGINT cannot be caught")?;
    let listeners = Listeners::open(&settings).await?;
    let mut supervisor =
        Supervisor::start(&settings, listeners, SystemBus::default(), rand::random()).await?;
    tracing::info!(
        "member {} started with its data in {}",
        settings.etcd.name,
        settings.etcd.data_dir.display()
    );
    let watching = tell_systemd(&notifier, &supervisor, &settings);
    let ended = tokio::select! {
        _ = terminate.recv() => None,
        _ = interrupt.recv() => None,
        () = watching => None,
        why = supervisor.failed() => Some(why),
    };
    notifier.stopping();
    supervisor.stop().await;
    match ended {
        None => Ok(()),
        Some(why) => bail!(why),
    }
}

/// Keeps systemd told: ready once registered, one line of status, and the watchdog fed while every loop moves.
fn tell_systemd<'n>(
    notifier: &'n Notifier,
    supervisor: &Supervisor,
    settings: &Settings,
) -> impl Future<Output = ()> + use<'n> {
    let (node, pulses) = (supervisor.node.clone(), supervisor.pulses.clone());
    let mut registered = supervisor.registered.clone();
    let mut leader = node.leader();
    let name = settings.etcd.name.clone();
    let variable = |name| std::env::var(name).ok();
    let watchdog = watchdog_interval(
        variable("WATCHDOG_USEC").as_deref(),
        variable("WATCHDOG_PID").as_deref(),
        std::process::id(),
    );
    async move {
        let mut ready = false;
        let mut said = String::new();
        loop {
            let line = status::line(&name, &node, *registered.borrow_and_update());
            if !ready && *registered.borrow() > 0 {
                ready = notifier.ready(&line);
            } else if line != said {
                notifier.status(&line);
            }
            said = line;
            if let Some(interval) = watchdog {
                match pulses.stuck(Instant::now(), interval / 2)[..] {
                    [] => notifier.alive(),
                    ref stuck => tracing::error!(?stuck, "these loops do not move: the watchdog is not fed"),
                }
            }
            tokio::select! {
                _ = registered.changed() => {}
                _ = leader.changed() => {}
                () = tokio::time::sleep(watchdog.map_or(LOOK, |interval| (interval / 4).min(LOOK))) => {}
            }
        }
    }
}
