//! What the real etcdctl is not beside for: it has no `get --count-only`, ends over an endpoint named twice, in the
//! environment and on the line, and its snapshots say more than ours.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use crate::{Server, check};

pub fn look(server: &Server, etcdctl: &Path, dir: &Path) -> usize {
    let run = |line: &str| server.run("3", etcdctl, line, "");
    run("put counted/1 x");
    run("put counted/2 x");
    let file = dir.join("snapshot");
    let part = dir.join("snapshot.part");
    std::fs::write(&part, "left by an earlier attempt, open to all").expect("a file of ours");
    let saved = run(&format!("snapshot save {}", file.display())).code;
    let mode = std::fs::metadata(&file).map_or(0, |metadata| metadata.permissions().mode() & 0o777);
    let two = run(&format!(
        "--endpoints {},127.0.0.1:2 snapshot save {}",
        server.client,
        file.display()
    ));
    let refusal = "snapshot must be requested to one selected node, not multiple [CLIENT 127.0.0.1:2]";
    let restore = run("--endpoints 127.0.0.1:2 snapshot restore f --name a --data-dir d --skip-hash-check");
    let hint = "snapshot restore works on files, not on a member: use etcdutl snapshot restore";
    let twice = run(&format!(
        "--endpoints 127.0.0.1:2 --endpoints {} get counted/1",
        server.client
    ));
    check(
        "get --count-only",
        run("get --count-only --prefix counted/").stdout,
        "2\n".to_owned(),
    ) + check(
        "snapshot save is ours alone to read",
        (saved, mode),
        (Some(0), 0o600),
    ) + check("snapshot save leaves nothing beside", part.exists(), false)
        + check(
            "snapshot save of two",
            (two.code, two.stderr),
            (Some(5), format!("Error: {refusal}\n")),
        )
        + check(
            "snapshot restore",
            (restore.code, restore.stderr),
            (Some(4), format!("Error: {hint}\n")),
        )
        + check("--endpoints twice", twice.stdout, "counted/1\nx\n".to_owned())
}
