//! A v2 keys request from its method, path and parameters, checked in etcd's order (contract `etcd.md` section 1.1).

use super::error::{Code, Error};
use super::{Compare, Op, Watch, Write, path};

/// How many directories deep a key may lie. etcd sets no limit; a tree this deep would make one answer's nesting, and
/// the stack that prints it, a client's choice.
pub const MAX_DEPTH: usize = 512;

/// What a request asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Request {
    /// Read a key or list a directory.
    Get(Get),
    /// Wait for a change.
    Watch(Watch),
    /// Change something.
    Write {
        /// The change.
        write: Write,
        /// Answer with the action only.
        no_value_on_success: bool,
    },
}

/// A read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Get {
    /// The cleaned key.
    pub key: String,
    /// List all levels.
    pub recursive: bool,
    /// Asked to sort; ours always are.
    pub sorted: bool,
    /// The answer must be linearizable.
    pub quorum: bool,
}

/// Parses a request.
///
/// `method` is GET, HEAD, PUT, POST or DELETE (the caller answers 405 to others); `raw_path` the decoded path behind
/// `/v2/keys`; `pairs` the parameters with the body's first ([`super::form::pairs`]); `now_ms` the clock, from which a
/// TTL becomes a time.
///
/// # Errors
/// etcd's error for the first check that fails, with index 0.
pub fn parse(
    method: &str,
    raw_path: &str,
    pairs: &[(String, String)],
    now_ms: u64,
) -> Result<Request, Error> {
    let key = path::clean(raw_path);
    let form = Form(pairs);
    let index = |name| {
        form.number(name)
            .ok_or_else(|| quoted(Code::IndexNotANumber, name))
    };
    let flag = |name| form.flag(name).ok_or_else(|| quoted(Code::InvalidField, name));

    let prev_index = index("prevIndex")?;
    let since = index("waitIndex")?;
    let (recursive, sorted, wait) = (flag("recursive")?, flag("sorted")?, flag("wait")?);
    let (dir, quorum, stream) = (flag("dir")?, flag("quorum")?, flag("stream")?);
    if wait && method != "GET" {
        return Err(refused(
            Code::InvalidField,
            "\"wait\" can only be used with GET requests",
        ));
    }
    let prev_value = form.get("prevValue").unwrap_or_default().to_owned();
    if form.get("prevValue").is_some() && prev_value.is_empty() {
        return Err(refused(Code::PrevValueRequired, "\"prevValue\" cannot be empty"));
    }
    let no_value_on_success = flag("noValueOnSuccess")?;
    let ttl = form.ttl()?;
    let optional = |name: &str| match form.get(name) {
        None => Ok(None),
        Some(text) => bool_of(text)
            .map(Some)
            .ok_or_else(|| refused(Code::InvalidField, &format!("invalid value for {name}"))),
    };
    let prev_exist = optional("prevExist")?;
    let refresh = optional("refresh")?.unwrap_or(false);
    let value = form.get("value").unwrap_or_default().to_owned();
    if refresh && !value.is_empty() {
        return Err(refused(Code::RefreshValue, "A value was provided on a refresh"));
    }
    if refresh && ttl.is_none() {
        return Err(refused(Code::RefreshTtlRequired, "No TTL value set"));
    }
    if path::parts(&key).count() > MAX_DEPTH {
        return Err(refused(
            Code::InvalidField,
            &format!("the key lies deeper than {MAX_DEPTH} directories"),
        ));
    }

    let expire_ms = ttl.and_then(|seconds| seconds.checked_mul(1000)?.checked_add(now_ms));
    let prev = Compare {
        value: prev_value,
        index: prev_index,
    };
    let op = match method {
        "GET" if quorum || !wait => {
            return Ok(Request::Get(Get {
                key,
                recursive,
                sorted,
                quorum,
            }));
        }
        "GET" => {
            return Ok(Request::Watch(Watch {
                key,
                recursive,
                stream,
                since,
            }));
        }
        "HEAD" => {
            return Ok(Request::Get(Get {
                key,
                recursive,
                sorted,
                quorum: false,
            }));
        }
        "POST" => Op::CreateInOrder {
            dir,
            value,
            expire_ms,
        },
        "DELETE" if prev == Compare::default() => Op::Delete { dir, recursive },
        "DELETE" => Op::CompareAndDelete { prev },
        _ => match prev_exist {
            Some(false) => Op::Create {
                dir,
                value,
                expire_ms,
            },
            Some(true) if prev == Compare::default() => Op::Update {
                value,
                expire_ms,
                refresh,
            },
            None if prev == Compare::default() => Op::Set {
                dir,
                value,
                expire_ms,
                refresh,
            },
            _ => Op::CompareAndSwap {
                prev,
                value,
                expire_ms,
                refresh,
            },
        },
    };
    Ok(Request::Write {
        write: Write { key, op, now_ms },
        no_value_on_success,
    })
}

/// Whether a request that parses says `recursive`, whatever its method: who may make it depends on that.
pub fn is_recursive(pairs: &[(String, String)]) -> bool {
    Form(pairs).flag("recursive").unwrap_or_default()
}

/// The parameters; of several with one name the first counts.
struct Form<'p>(&'p [(String, String)]);

impl Form<'_> {
    fn get(&self, name: &str) -> Option<&str> {
        self.0
            .iter()
            .find(|(n, _)| n == name)
            .map(|(_, value)| value.as_str())
    }

    /// 0 where absent, `None` where it is no number.
    fn number(&self, name: &str) -> Option<u64> {
        self.get(name).map_or(Some(0), uint_of)
    }

    /// False where absent, `None` where it is no bool.
    fn flag(&self, name: &str) -> Option<bool> {
        self.get(name).map_or(Some(false), bool_of)
    }

    /// Seconds; `None` where absent or empty.
    fn ttl(&self) -> Result<Option<u64>, Error> {
        match self.get("ttl") {
            None | Some("") => Ok(None),
            Some(text) => uint_of(text)
                .map(Some)
                .ok_or_else(|| quoted(Code::TtlNotANumber, "ttl")),
        }
    }
}

/// Go's `strconv.ParseUint(s, 10, 64)`: digits only, no sign.
fn uint_of(text: &str) -> Option<u64> {
    if text.bytes().all(|b| b.is_ascii_digit()) {
        text.parse().ok()
    } else {
        None
    }
}

/// Go's `strconv.ParseBool`.
fn bool_of(text: &str) -> Option<bool> {
    match text {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Some(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Some(false),
        _ => None,
    }
}

fn quoted(code: Code, name: &str) -> Error {
    refused(code, &format!("invalid value for \"{name}\""))
}

fn refused(code: Code, cause: &str) -> Error {
    Error::new(code, cause, 0)
}
