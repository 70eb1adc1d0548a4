//! The main job as the README's first command does it, on a cluster of its own.

use anyhow::Result;
use corten_vm::steps::Steps;
use corten_vm::{Plan, demo, rig};

#[test]
#[ignore = "boots machines"]
fn the_main_job_from_power_on_to_self_healing() -> Result<()> {
    rig::alone(
        "main-job",
        env!("CARGO_BIN_EXE_corten-vm"),
        &Plan::default(),
        |cluster| {
            demo::run(cluster, &Steps::new(&rig::folder("main-job")))?;
            let findings = rig::unexpected(&cluster.findings(), &[]);
            anyhow::ensure!(
                findings.is_empty(),
                "the consoles say what no healthy machine says: {findings:#?}"
            );
            Ok(())
        },
    )
}
