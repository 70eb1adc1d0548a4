//! QEMU's monitor protocol: line JSON over a unix socket (docs/interop/qmp-spec). One connection per command: QEMU
//! serves one client at a time, and a command of ours may come from another process than the last.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use serde_json::{Value, json};

use crate::short_path;

/// How long the monitor may take for an answer.
const ANSWER_WITHIN: Duration = Duration::from_secs(20);

/// Why a monitor command failed.
#[derive(Debug, thiserror::Error)]
pub enum QmpError {
    /// No monitor to talk to, or it went away.
    #[error("QEMU's monitor does not answer {command:?}: {source}")]
    Away {
        /// The command.
        command: String,
        /// What went wrong on the socket.
        source: std::io::Error,
    },
    /// QEMU refused.
    #[error("QEMU refused {command:?}: {reason}")]
    Refused {
        /// The command.
        command: String,
        /// Its reason.
        reason: String,
    },
}

/// Runs one command on the monitor at `socket` and returns what QEMU returns.
pub fn execute(socket: &Path, command: &str, arguments: Value) -> Result<Value, QmpError> {
    let away = |source| QmpError::Away {
        command: command.to_owned(),
        source,
    };
    let answer = converse(socket, command, arguments).map_err(away)?;
    if let Some(error) = answer.get("error") {
        let reason = error["desc"].as_str().unwrap_or("no reason given").to_owned();
        return Err(QmpError::Refused {
            command: command.to_owned(),
            reason,
        });
    }
    Ok(answer["return"].clone())
}

fn converse(socket: &Path, command: &str, arguments: Value) -> std::io::Result<Value> {
    let stream = short_path::connect(socket)?;
    stream.set_read_timeout(Some(ANSWER_WITHIN))?;
    let mut reader = BufReader::new(stream.try_clone()?);
    read(&mut reader, |message| message.get("QMP").is_some())?;
    ask(&stream, &mut reader, "qmp_capabilities", Value::Null)?;
    ask(&stream, &mut reader, command, arguments)
}

fn ask(
    mut stream: &UnixStream,
    reader: &mut BufReader<UnixStream>,
    command: &str,
    arguments: Value,
) -> std::io::Result<Value> {
    let mut request = json!({ "execute": command });
    if !arguments.is_null() {
        request["arguments"] = arguments;
    }
    stream.write_all(format!("{request}\n").as_bytes())?;
    read(reader, |message| {
        message.get("return").is_some() || message.get("error").is_some()
    })
}

/// The next message that `wanted` wants; events between are passed over.
fn read(reader: &mut BufReader<UnixStream>, wanted: impl Fn(&Value) -> bool) -> std::io::Result<Value> {
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line)? == 0 {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
        let message: Value = serde_json::from_str(&line)?;
        if wanted(&message) {
            return Ok(message);
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn served(answers: &'static [&'static str]) -> (tempfile::TempDir, std::thread::JoinHandle<Vec<String>>) {
        let folder = tempfile::tempdir().unwrap();
        let listener = short_path::listen(&folder.path().join("qmp.sock")).unwrap();
        let server = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            stream
                .write_all(b"{\"QMP\": {\"version\": {}, \"capabilities\": []}}\r\n")
                .unwrap();
            let mut reader = BufReader::new(stream.try_clone().unwrap());
            let mut requests = Vec::new();
            for answer in answers {
                let mut line = String::new();
                reader.read_line(&mut line).unwrap();
                requests.push(line.trim().to_owned());
                stream.write_all(answer.as_bytes()).unwrap();
            }
            requests
        });
        (folder, server)
    }

    #[test]
    fn passes_over_events_and_returns_the_answer() {
        let (folder, server) = served(&[
            "{\"return\": {}}\r\n",
            "{\"event\": \"STOP\", \"timestamp\": {}}\r\n{\"return\": {\"status\": \"paused\"}}\r\n",
        ]);
        let answer = execute(&folder.path().join("qmp.sock"), "query-status", Value::Null).unwrap();
        assert_eq!(answer["status"], "paused");
        assert_eq!(
            server.join().unwrap(),
            [
                r#"{"execute":"qmp_capabilities"}"#,
                r#"{"execute":"query-status"}"#
            ]
        );
    }

    #[test]
    fn a_refusal_and_an_absence_are_told_apart() {
        let (folder, server) = served(&[
            "{\"return\": {}}\n",
            "{\"error\": {\"desc\": \"no such thing\"}}\n",
        ]);
        let socket = folder.path().join("qmp.sock");
        let error = execute(&socket, "set_link", json!({"name": "x"})).unwrap_err();
        assert!(
            matches!(&error, QmpError::Refused { reason, .. } if reason == "no such thing"),
            "{error}"
        );
        server.join().unwrap();
        assert!(matches!(
            execute(&socket, "quit", Value::Null),
            Err(QmpError::Away { .. })
        ));
    }
}
