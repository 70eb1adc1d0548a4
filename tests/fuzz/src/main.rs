//! Writes the good inputs of each target into folders, for libFuzzer to begin with, and prints the targets' names:
//! `corten-fuzz DIR`.

use std::io::Write;
use std::path::Path;

fn main() -> std::io::Result<()> {
    let Some(dir) = std::env::args().nth(1) else {
        return Err(std::io::Error::other("usage: corten-fuzz DIR"));
    };
    for target in corten_fuzz::TARGETS {
        let dir = Path::new(&dir).join(target.name);
        std::fs::create_dir_all(&dir)?;
        for (number, seed) in (target.seeds)().iter().enumerate() {
            std::fs::write(dir.join(format!("seed-{number}")), seed)?;
        }
        writeln!(std::io::stdout(), "{}", target.name)?;
    }
    Ok(())
}
