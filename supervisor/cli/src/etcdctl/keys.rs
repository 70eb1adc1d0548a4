//! The v2 keys API: requests as etcd's own client writes them, answers as it reads them.

use hyper::Method;
use serde::{Deserialize, Serialize};

use super::cluster::Cluster;
use super::fault::{CallFault, EtcdError};
use crate::go;
use crate::http::{Request, Response};

const FORM: &str = "application/x-www-form-urlencoded";

/// A key or directory. The order of the fields is the order of etcdctl's JSON.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Node {
    pub(super) key: String,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub(super) dir: bool,
    pub(super) value: String,
    pub(super) nodes: Option<Vec<Node>>,
    #[serde(rename = "createdIndex")]
    pub(super) created_index: u64,
    #[serde(rename = "modifiedIndex")]
    pub(super) modified_index: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) expiration: Option<String>,
    /// Seconds left; 0 when it stays.
    #[serde(skip_serializing_if = "is_zero")]
    pub(super) ttl: i64,
}

/// An answer of the keys API.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Answer {
    pub(super) action: String,
    #[serde(default)]
    pub(super) node: Node,
    #[serde(default, rename = "prevNode")]
    pub(super) prev_node: Option<Node>,
    /// The store's index when it was given.
    #[serde(skip)]
    pub(super) index: u64,
}

fn is_zero(number: &i64) -> bool {
    *number == 0
}

/// What a write asks for beside key and value.
#[derive(Debug, Default)]
pub(super) struct Write {
    pub(super) dir: bool,
    /// Empty: whatever it was.
    pub(super) prev_value: String,
    /// 0: whatever it was.
    pub(super) prev_index: u64,
    /// Must it be there, must it not, or either.
    pub(super) prev_exist: Option<bool>,
    /// Seconds; not above 0: stays.
    pub(super) ttl: i64,
}

/// `PUT key`.
pub(super) fn put(key: &str, value: &str, write: &Write) -> Request {
    let mut query = Query::default();
    let mut form = Query::default();
    query.add_if(write.dir, "dir", "true");
    query.add_if(
        write.prev_exist.is_some(),
        "prevExist",
        write.prev_exist == Some(true),
    );
    query.add_if(write.prev_index != 0, "prevIndex", write.prev_index);
    query.add_if(
        !write.dir && !write.prev_value.is_empty(),
        "prevValue",
        &write.prev_value,
    );
    form.add_if(write.ttl > 0, "ttl", write.ttl);
    form.add_if(!write.dir, "value", value);
    request(Method::PUT, key, &query).with_body(FORM, form.text())
}

/// `POST key`: makes a key with the next number under it.
pub(super) fn post(key: &str, value: &str, ttl: i64) -> Request {
    let mut form = Query::default();
    form.add_if(ttl > 0, "ttl", ttl);
    form.add_if(true, "value", value);
    request(Method::POST, key, &Query::default()).with_body(FORM, form.text())
}

/// `GET key`.
pub(super) fn get(key: &str, quorum: bool, recursive: bool, sorted: bool) -> Request {
    let mut query = Query::default();
    query.add_if(true, "quorum", quorum);
    query.add_if(true, "recursive", recursive);
    query.add_if(true, "sorted", sorted);
    request(Method::GET, key, &query)
}

/// `GET key?wait=true`; `wait_index` 0 waits for the next change.
pub(super) fn wait(key: &str, wait_index: u64, recursive: bool) -> Request {
    let mut query = Query::default();
    query.add_if(true, "recursive", recursive);
    query.add_if(true, "wait", true);
    query.add_if(true, "waitIndex", wait_index);
    request(Method::GET, key, &query)
}

/// `DELETE key`.
pub(super) fn delete(key: &str, dir: bool, recursive: bool, prev_value: &str, prev_index: u64) -> Request {
    let mut query = Query::default();
    query.add_if(dir, "dir", true);
    query.add_if(prev_index != 0, "prevIndex", prev_index);
    query.add_if(!prev_value.is_empty(), "prevValue", prev_value);
    query.add_if(recursive, "recursive", true);
    request(Method::DELETE, key, &query)
}

/// Calls and reads the answer.
pub(super) async fn call(cluster: &mut Cluster, request: &Request) -> Result<Answer, CallFault> {
    read(&cluster.call(request).await?)
}

/// Reads an answer of the keys API, or its error.
pub(super) fn read(response: &Response) -> Result<Answer, CallFault> {
    if !response.status.is_success() {
        let error: EtcdError = serde_json::from_slice(&response.body).map_err(|_| CallFault::NotEtcd)?;
        return Err(error.into());
    }
    let mut answer: Answer = serde_json::from_slice(&response.body).map_err(|_| CallFault::NotEtcd)?;
    answer.index = response
        .header("X-Etcd-Index")
        .and_then(|index| index.parse().ok())
        .unwrap_or_default();
    Ok(answer)
}

fn request(method: Method, key: &str, query: &Query) -> Request {
    let path = go::escape_path(&go::clean(&format!("/v2/keys/{key}")));
    match query.text() {
        text if text.is_empty() => Request::new(method, path),
        text => Request::new(method, format!("{path}?{text}")),
    }
}

#[derive(Default)]
struct Query(Vec<(&'static str, String)>);

impl Query {
    fn add_if(&mut self, wanted: bool, name: &'static str, value: impl ToString) {
        if wanted {
            self.0.push((name, value.to_string()));
        }
    }

    fn text(&self) -> String {
        go::escape_query(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(request: &Request) -> String {
        format!(
            "{} {} {}",
            request.method,
            request.path,
            String::from_utf8_lossy(&request.body)
        )
    }

    #[test]
    fn requests_are_written_as_etcds_client_does() {
        let cas = Write {
            prev_value: "a b".into(),
            prev_index: 3,
            prev_exist: Some(true),
            ttl: 5,
            ..Write::default()
        };
        let dir = Write {
            dir: true,
            prev_exist: Some(false),
            prev_value: "ignored".into(),
            ..Write::default()
        };
        let table = [
            (
                put("/x y", "1&", &Write::default()),
                "PUT /v2/keys/x%20y value=1%26",
            ),
            (
                put("x", "1", &cas),
                "PUT /v2/keys/x?prevExist=true&prevIndex=3&prevValue=a+b ttl=5&value=1",
            ),
            (put("/d/", "", &dir), "PUT /v2/keys/d?dir=true&prevExist=false "),
            (post("/", "v", -1), "POST /v2/keys value=v"),
            (
                get("/a/../b", true, false, false),
                "GET /v2/keys/b?quorum=true&recursive=false&sorted=false ",
            ),
            (
                wait("/w", 37, true),
                "GET /v2/keys/w?recursive=true&wait=true&waitIndex=37 ",
            ),
            (
                delete("/x", true, true, "v", 0),
                "DELETE /v2/keys/x?dir=true&prevValue=v&recursive=true ",
            ),
            (delete("/x", false, false, "", 0), "DELETE /v2/keys/x "),
        ];
        for (request, expected) in table {
            assert_eq!(line(&request), expected);
        }
    }
}
