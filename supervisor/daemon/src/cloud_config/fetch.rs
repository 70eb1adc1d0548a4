//! User-data from a URL: `http`, `https` (against the roots webpki carries) or `file`.
//!
//! The network may be up and the server not yet: failures that may pass are tried again, with growing pauses, until
//! [`DEADLINE`] is over. Refuses answers beyond the size user-data may have.

use std::io::Read;
use std::path::Path;
use std::time::{Duration, Instant};

use backon::{BlockingRetryable, ExponentialBuilder};
use corten_spec::cloud_config::encoding::UNPACKED_MAX;

use super::say::Say;

/// After this no new attempt is made; a machine waits no longer for its user-data.
const DEADLINE: Duration = Duration::from_secs(120);
/// One attempt, from connecting to the last byte.
const ATTEMPT: Duration = Duration::from_secs(20);
const PAUSE_MIN: Duration = Duration::from_millis(200);
const PAUSE_MAX: Duration = Duration::from_secs(10);

/// Why an attempt failed.
#[derive(Debug, thiserror::Error)]
enum AttemptError {
    /// Asking again would bring the same.
    #[error("{0}")]
    Final(String),
    /// It may pass.
    #[error("{0}")]
    Passing(String),
}

/// The bytes behind `url`.
///
/// # Errors
/// Why the last attempt failed.
pub fn fetch(url: &str, say: &Say) -> Result<Vec<u8>, String> {
    if let Some(path) = url.strip_prefix("file://") {
        return std::fs::read(Path::new(path)).map_err(|e| e.to_string());
    }
    if !url.starts_with("http://") && !url.starts_with("https://") {
        return Err("only http, https and file can be fetched".to_owned());
    }
    let agent: ureq::Agent = ureq::Agent::config_builder()
        .timeout_global(Some(ATTEMPT))
        .http_status_as_error(false)
        .build()
        .into();
    let begin = Instant::now();
    let mut said = String::new();
    let pauses = ExponentialBuilder::new()
        .with_min_delay(PAUSE_MIN)
        .with_max_delay(PAUSE_MAX)
        .with_max_times(usize::MAX);
    (|| attempt(&agent, url))
        .retry(pauses)
        .when(|e| matches!(e, AttemptError::Passing(_)) && begin.elapsed() < DEADLINE)
        .notify(|e, _| {
            let why = e.to_string();
            if why != said {
                say.warning(format!("{url}: {why}; trying again for {DEADLINE:?}"));
                said = why;
            }
        })
        .call()
        .map_err(|e| e.to_string())
}

fn attempt(agent: &ureq::Agent, url: &str) -> Result<Vec<u8>, AttemptError> {
    let passing = |e: &dyn std::fmt::Display| AttemptError::Passing(e.to_string());
    let mut answer = agent.get(url).call().map_err(|e| passing(&e))?;
    match answer.status().as_u16() {
        200 => {}
        408 | 425 | 429 | 500..=599 => return Err(passing(&answer.status())),
        _ => return Err(AttemptError::Final(answer.status().to_string())),
    }
    let mut bytes = Vec::new();
    let mut body = answer.body_mut().as_reader().take(UNPACKED_MAX + 1);
    body.read_to_end(&mut bytes).map_err(|e| passing(&e))?;
    match bytes.len() as u64 > UNPACKED_MAX {
        true => Err(AttemptError::Final(format!("more than {UNPACKED_MAX} bytes"))),
        false => Ok(bytes),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use std::io::{BufRead, BufReader, Write};
    use std::net::TcpListener;

    /// Answers one request with each of these, on loopback.
    fn server(answers: Vec<&'static str>) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/user_data", listener.local_addr().unwrap());
        std::thread::spawn(move || {
            for answer in answers {
                let (mut stream, _) = listener.accept().unwrap();
                let mut lines = BufReader::new(stream.try_clone().unwrap()).lines();
                while lines.next().is_some_and(|line| !line.unwrap().is_empty()) {}
                write!(stream, "HTTP/1.1 {answer}").unwrap();
            }
        });
        url
    }

    #[test]
    fn tries_again_what_may_pass() {
        let url = server(vec![
            "503 Busy\r\ncontent-length: 0\r\nconnection: close\r\n\r\n",
            "200 OK\r\ncontent-length: 5\r\nconnection: close\r\n\r\nhello",
        ]);
        let say = Say::to_list();
        assert_eq!(fetch(&url, &say).unwrap(), b"hello");
        assert!(say.said().contains("503"), "{}", say.said());
    }

    #[test]
    fn gives_up_on_what_will_not() {
        let url = server(vec![
            "404 Not Found\r\ncontent-length: 0\r\nconnection: close\r\n\r\n",
        ]);
        assert!(fetch(&url, &Say::to_list()).unwrap_err().contains("404"));
        assert!(
            fetch("gopher://x", &Say::to_list())
                .unwrap_err()
                .contains("only http")
        );
        assert!(fetch("file:///nonexistent", &Say::to_list()).is_err());
    }
}
