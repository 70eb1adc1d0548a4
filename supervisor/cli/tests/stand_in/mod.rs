//! A stand-in for fleet's API: keeps the units it is given and says of each what its `ExecStart=` asks for, as a cluster
//! of one machine would. What is tested behind it is fleetctl, not the API; that one has tests of its own.
//!
//! | the command has | systemd's state of the unit, once it is to be launched |
//! |---|---|
//! | `/bin/false` | `failed` |
//! | `/bin/slow` | `activating`, and `active` after it was asked for [`SLOW`] times |
//! | `/bin/stuck` | `active`, also when it is destroyed: its machine does nothing |
//! | anything else | `active` |

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::sync::{Arc, Mutex};

use corten_spec::unit_file::UnitFile;
use corten_spec::unit_name::UnitName;
use serde_json::{Value, json};

/// The machine that has everything.
pub const MACHINE: &str = "0123456789abcdef0123456789abcdef";
/// So often a slow unit is asked for before it is active.
pub const SLOW: usize = 8;

/// What it keeps.
#[derive(Clone, Default)]
pub struct Api(Arc<Mutex<Kept>>);

#[derive(Default)]
struct Kept {
    units: BTreeMap<String, Unit>,
    /// `PUT web.service launched`: the changes, in order; and `ACTIVE web.service` when a slow one is said to be so.
    changes: Vec<String>,
    /// Answer every change of this unit with 500.
    broken: Option<String>,
    /// So often the machine is not yet there when it is asked for.
    late: usize,
    /// So many changes are answered with 503.
    leaderless: usize,
    /// Destroyed, and still on the machine, which has trouble.
    left: BTreeMap<String, Unit>,
}

struct Unit {
    options: Value,
    desired: String,
    asked: usize,
    /// It is replaced a few machines at a time, so many.
    limit: Option<u64>,
}

impl Api {
    /// Serves on a unix socket for as long as the test runs.
    pub fn serve(socket: &Path) -> Api {
        let api = Api::default();
        let listener = UnixListener::bind(socket).expect("a socket");
        let served = api.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let api = served.clone();
                std::thread::spawn(move || api.converse(stream));
            }
        });
        api
    }

    /// The changes since this was asked for last.
    pub fn changes(&self) -> Vec<String> {
        std::mem::take(&mut self.kept().changes)
    }

    /// From now on changes of this unit fail.
    pub fn break_changes_of(&self, name: &str) {
        self.kept().broken = Some(name.to_owned());
    }

    /// The machine comes after it was asked for once more, with its units.
    pub fn come_late(&self) {
        self.kept().late = 1;
    }

    /// There is no leader for the next changes.
    pub fn elect(&self, changes: usize) {
        self.kept().leaderless = changes;
    }

    /// The machine is well again.
    pub fn recover(&self) {
        self.kept().left.clear();
    }

    /// The text of a unit it keeps.
    pub fn text(&self, name: &str) -> String {
        self.kept()
            .units
            .get(name)
            .map(|unit| unit.file().to_string())
            .unwrap_or_default()
    }

    fn kept(&self) -> std::sync::MutexGuard<'_, Kept> {
        self.0.lock().expect("no test panics while it asks")
    }

    fn converse(&self, stream: UnixStream) {
        let mut writer = stream.try_clone().expect("a second handle");
        let mut reader = BufReader::new(stream);
        while let Some((request, body)) = next(&mut reader) {
            let (status, answer) = self.answer(&request, &body);
            let text = if answer.is_null() {
                String::new()
            } else {
                answer.to_string()
            };
            let head = format!("HTTP/1.1 {status} x\r\nContent-Length: {}\r\n\r\n", text.len());
            if writer.write_all((head + &text).as_bytes()).is_err() {
                return;
            }
        }
    }

    fn answer(&self, request: &str, body: &[u8]) -> (u16, Value) {
        let mut words = request.split(' ');
        let (method, target) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        let path = path.replace("%40", "@");
        let mut kept = self.kept();
        if method != "GET" && kept.leaderless > 0 {
            kept.leaderless -= 1;
            return refusal(503, "there is no leader");
        }
        match (method, path.strip_prefix("/fleet/v1/").unwrap_or_default()) {
            ("GET", "machines") if kept.late > 0 => {
                kept.late -= 1;
                (200, json!({"machines": []}))
            }
            ("GET", "machines") => {
                let metadata = match kept.left.is_empty() {
                    true => json!({}),
                    false => json!({"trouble": "systemd does not answer"}),
                };
                let machine = json!({"id": MACHINE, "primaryIP": "127.0.0.1", "metadata": metadata});
                (200, json!({ "machines": [machine] }))
            }
            ("GET", "units") => {
                let units: Vec<Value> = kept.units.iter().map(|(name, unit)| unit.shown(name)).collect();
                (200, json!({ "units": units }))
            }
            ("GET", "state") => {
                let wanted = query.replace("%40", "@");
                let of = |name: &str| {
                    !wanted.contains("unitName=") || wanted.contains(&format!("unitName={name}"))
                };
                let Kept { units, left, .. } = &mut *kept;
                let units = units
                    .iter_mut()
                    .chain(left)
                    .filter(|(name, unit)| of(name) && unit.desired != "inactive");
                let states: Vec<Value> = units.map(|(name, unit)| unit.state(name)).collect();
                kept.note_active();
                (200, json!({ "states": states }))
            }
            (_, item) => match item.strip_prefix("units/") {
                Some(name) => kept.unit(method, name, body),
                None => refusal(404, ""),
            },
        }
    }
}

impl Kept {
    fn note_active(&mut self) {
        let units = self.units.iter_mut();
        let active = units.filter(|(_, unit)| unit.command() == "/bin/slow" && unit.asked == SLOW + 1);
        for (name, unit) in active {
            unit.asked += 1;
            self.changes.push(format!("ACTIVE {name}"));
        }
    }

    fn unit(&mut self, method: &str, name: &str, body: &[u8]) -> (u16, Value) {
        if method == "GET" {
            let unit = self.units.get(name);
            return unit.map_or_else(
                || refusal(404, "unit does not exist"),
                |unit| (200, unit.shown(name)),
            );
        }
        if self.broken.as_deref() == Some(name) {
            return refusal(500, "");
        }
        if method == "DELETE" {
            self.changes.push(format!("DELETE {name}"));
            let Some(unit) = self.units.remove(name) else {
                return refusal(404, "unit does not exist");
            };
            if unit.command() == "/bin/stuck" {
                self.left.insert(name.to_owned(), unit);
            }
            return (204, Value::Null);
        }
        if let Err(error) = UnitName::parse(name) {
            return refusal(400, &error.to_string());
        }
        let body: Value = serde_json::from_slice(body).expect("fleetctl sends JSON");
        let desired = body["desiredState"].as_str().unwrap_or("inactive").to_owned();
        let with = if body["options"].is_array() {
            "with its file "
        } else {
            ""
        };
        let limit = body["maxUnavailable"].as_u64();
        let at_most = limit.map_or(String::new(), |limit| format!(", at most {limit}"));
        self.changes.push(format!("PUT {name} {with}{desired}{at_most}"));
        let options = match (&body["options"], self.units.get(name)) {
            (Value::Null, Some(unit)) => unit.options.clone(),
            (Value::Null, None) => return refusal(409, "unit does not exist and options field empty"),
            (options, _) => options.clone(),
        };
        self.units.insert(
            name.to_owned(),
            Unit {
                options,
                desired,
                asked: 0,
                limit,
            },
        );
        (201, Value::Null)
    }
}

impl Unit {
    fn file(&self) -> UnitFile {
        serde_json::from_value(self.options.clone()).expect("options are options")
    }

    fn command(&self) -> String {
        self.file()
            .values("Service", "ExecStart")
            .next()
            .unwrap_or_default()
            .to_owned()
    }

    fn shown(&self, name: &str) -> Value {
        let mut shown = json!({"name": name, "options": self.options, "desiredState": self.desired, "currentState": self.desired});
        if self.desired != "inactive" {
            shown["machineID"] = MACHINE.into();
        }
        let is_new = match self.command().as_str() {
            "/bin/false" => false,
            "/bin/slow" => self.asked > SLOW,
            _ => true,
        };
        if let Some(limit) = self.limit.filter(|_| !is_new) {
            shown["rollout"] = json!({"allowed": 1, "of": 3, "maxUnavailable": limit, "reason": "waits"});
        }
        shown
    }

    fn state(&mut self, name: &str) -> Value {
        self.asked += 1;
        let file = self.file();
        let command = file
            .values("Service", "ExecStart")
            .next()
            .unwrap_or_default()
            .to_owned();
        let (active, sub) = match command.as_str() {
            _ if self.desired != "launched" => ("inactive", "dead"),
            "/bin/false" => ("failed", "failed"),
            "/bin/slow" if self.asked <= SLOW => ("activating", "start"),
            _ => ("active", "running"),
        };
        json!({
            "name": name, "hash": self.file().hash(), "machineID": MACHINE,
            "systemdLoadState": "loaded", "systemdActiveState": active, "systemdSubState": sub,
        })
    }
}

fn refusal(code: u16, message: &str) -> (u16, Value) {
    (code, json!({"error": {"code": code, "message": message}}))
}

/// The next request: its first line and its body.
fn next(reader: &mut BufReader<UnixStream>) -> Option<(String, Vec<u8>)> {
    let mut line = || {
        let mut line = String::new();
        let read = reader.read_line(&mut line).ok()?;
        (read > 0).then(|| line.trim_end().to_owned())
    };
    let request = line()?;
    let mut length = 0;
    loop {
        let header = line()?.to_ascii_lowercase();
        if header.is_empty() {
            break;
        }
        if let Some(value) = header.strip_prefix("content-length:") {
            length = value.trim().parse().ok()?;
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    Some((request, body))
}
