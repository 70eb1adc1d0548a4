//! Unix sockets in folders with long names: a socket's address holds 107 bytes at most (unix(7)), a checkout may lie
//! deeper. The folder is opened and the socket reached through `/proc/self/fd`, which is always short.

use std::fs::File;
use std::io::{Error, ErrorKind, Result};
use std::os::fd::AsRawFd;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};

/// Keeps the folder open while the short name is used.
fn short(path: &Path) -> Result<(File, PathBuf)> {
    let invalid = || {
        Error::new(
            ErrorKind::InvalidInput,
            format!("not a socket's path: {}", path.display()),
        )
    };
    let folder = File::open(
        path.parent()
            .filter(|parent| !parent.as_os_str().is_empty())
            .unwrap_or(Path::new(".")),
    )?;
    let name = path.file_name().ok_or_else(invalid)?;
    let short = PathBuf::from(format!("/proc/self/fd/{}", folder.as_raw_fd())).join(name);
    Ok((folder, short))
}

/// Connects to a unix socket however long its path is.
pub fn connect(path: &Path) -> Result<UnixStream> {
    let (_folder, short) = short(path)?;
    UnixStream::connect(short)
}

/// Listens on a unix socket however long its path is; a socket left by a dead process is replaced.
pub fn listen(path: &Path) -> Result<UnixListener> {
    let (_folder, short) = short(path)?;
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    UnixListener::bind(short)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn sockets_work_in_deep_folders() {
        let root = tempfile::tempdir().unwrap();
        let deep = root.path().join("x".repeat(120)).join("y".repeat(120));
        std::fs::create_dir_all(&deep).unwrap();
        let path = deep.join("socket");
        let _first = listen(&path).unwrap();
        let listener = listen(&path).unwrap();
        connect(&path).unwrap();
        listener.accept().unwrap();
    }
}
