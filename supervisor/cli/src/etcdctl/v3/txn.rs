//! `txn`: comparisons, requests for when they hold, requests for when they do not, each a line, the three parted by empty
//! lines, from standard input.

use std::io::BufRead;

use clap::ArgMatches;
use corten_etcd_api::etcdserverpb as pb;
use pb::compare::{CompareResult, CompareTarget, TargetUnion};
use pb::request_op::Request;
use pb::response_op::Response;

use super::connection::Etcd;
use super::fault::{Failure, INVALID_INPUT};
use super::key_value::{self, delete_request, put_request, range_request};
use super::print::Format;
use super::{arguments, number, switch};
use crate::terminal::say;

pub(super) async fn run(etcd: &Etcd, format: Format, matches: &ArgMatches) -> Result<(), Failure> {
    if !super::words(matches).is_empty() {
        return Err(Failure::args("txn command does not accept argument"));
    }
    let prompt = |text: &str| {
        if switch(matches, "interactive") {
            say(text);
        }
    };
    let mut lines = std::io::stdin().lock().lines().map_while(Result::ok);
    let mut section = || -> Result<Vec<String>, Failure> {
        let mut section = Vec::new();
        // What ends before its empty line has been cut off, and half a transaction is none.
        loop {
            match lines.next() {
                Some(line) if line.trim().is_empty() => return Ok(section),
                Some(line) => section.push(line),
                None => return Err(invalid("EOF".to_owned())),
            }
        }
    };
    prompt("compares:");
    let compare = section()?
        .iter()
        .map(|line| comparison(line))
        .collect::<Result<_, _>>()?;
    prompt("success requests (get, put, del):");
    let success = section()?
        .iter()
        .map(|line| operation(line))
        .collect::<Result<_, _>>()?;
    prompt("failure requests (get, put, del):");
    let failure = section()?
        .iter()
        .map(|line| operation(line))
        .collect::<Result<_, _>>()?;
    let request = pb::TxnRequest {
        compare,
        success,
        failure,
    };
    let answer: pb::TxnResponse = etcd.call("/etcdserverpb.KV/Txn", request).await?;
    format.show("etcdserverpb.TxnResponse", &answer, || show(format, &answer));
    Ok(())
}

fn show(format: Format, answer: &pb::TxnResponse) {
    say(if answer.succeeded { "SUCCESS" } else { "FAILURE" });
    for response in &answer.responses {
        say("");
        match &response.response {
            Some(Response::ResponsePut(answer)) => key_value::show_put(format, answer),
            Some(Response::ResponseRange(answer)) => key_value::show_range(format, answer, false),
            Some(Response::ResponseDeleteRange(answer)) => key_value::show_delete(format, answer),
            Some(Response::ResponseTxn(answer)) => show(format, answer),
            None => {}
        }
    }
}

fn invalid(text: String) -> Failure {
    Failure::new(INVALID_INPUT, text)
}

/// `mod("key") > "1"`
fn comparison(line: &str) -> Result<pb::Compare, Failure> {
    let malformed = || invalid(format!("malformed comparison: {line}"));
    let (target, rest) = line.trim().split_once('(').ok_or_else(malformed)?;
    let (key, rest) = quoted(rest).ok_or_else(malformed)?;
    let rest = rest
        .trim_start()
        .strip_prefix(')')
        .ok_or_else(malformed)?
        .trim_start();
    let (sign, rest) = rest.split_once(char::is_whitespace).ok_or_else(malformed)?;
    let (value, _) = quoted(rest).ok_or_else(malformed)?;
    let result = match sign {
        "=" => CompareResult::Equal,
        "!=" => CompareResult::NotEqual,
        ">" => CompareResult::Greater,
        "<" => CompareResult::Less,
        _ => return Err(malformed()),
    };
    let integer = |radix| {
        number::int(&value, radix).map_err(|_| invalid(format!("invalid txn compare request: {line}")))
    };
    let (target, union) = match target.trim() {
        "ver" | "version" => (CompareTarget::Version, TargetUnion::Version(integer(10)?)),
        "c" | "create" => (CompareTarget::Create, TargetUnion::CreateRevision(integer(10)?)),
        "m" | "mod" => (CompareTarget::Mod, TargetUnion::ModRevision(integer(10)?)),
        "lease" => (CompareTarget::Lease, TargetUnion::Lease(integer(16)?)),
        "val" | "value" => (CompareTarget::Value, TargetUnion::Value(value.clone().into())),
        other => {
            return Err(invalid(format!(
                "malformed comparison: {line} (unknown target {other})"
            )));
        }
    };
    Ok(pb::Compare {
        result: result.into(),
        target: target.into(),
        key: key.into(),
        target_union: Some(union),
        ..pb::Compare::default()
    })
}

/// A quoted text at the beginning, and what follows it.
fn quoted(text: &str) -> Option<(String, &str)> {
    let text = text.trim_start();
    let quote = text.chars().next().filter(|quote| matches!(quote, '"' | '`'))?;
    let mut end = None;
    let mut escaped = false;
    for (at, letter) in text.char_indices().skip(1) {
        match letter {
            _ if escaped => escaped = false,
            '\\' if quote == '"' => escaped = true,
            letter if letter == quote => {
                end = Some(at);
                break;
            }
            _ => {}
        }
    }
    let end = end?;
    let inner = &text[1..end];
    let rest = &text[end + 1..];
    if quote == '`' {
        return Some((inner.to_owned(), rest));
    }
    // The escapes people type are the same in Go and JSON.
    Some((serde_json::from_str(&text[..=end]).ok()?, rest))
}

/// `put key "a value" --lease=1234`, `get key --prefix`, `del key`.
fn operation(line: &str) -> Result<pb::RequestOp, Failure> {
    let bad = || invalid(format!("invalid txn request: {line}"));
    let words = split(line).ok_or_else(bad)?;
    if words.len() < 2 {
        return Err(invalid(format!("invalid txn compare request: {line}")));
    }
    let matches = arguments::operations()
        .try_get_matches_from(words)
        .map_err(|_| bad())?;
    let request = match matches.subcommand() {
        Some(("put", matches)) => Request::RequestPut(put_request(matches)?),
        Some(("get", matches)) => Request::RequestRange(range_request(matches)?),
        Some(("del", matches)) => Request::RequestDeleteRange(delete_request(matches)?),
        _ => return Err(bad()),
    };
    Ok(pb::RequestOp {
        request: Some(request),
    })
}

/// Splits at spaces; double quotes with their escapes, and single quotes, keep them.
fn split(line: &str) -> Option<Vec<String>> {
    let mut words = Vec::new();
    let mut rest = line.trim();
    while let Some(first) = rest.chars().next() {
        let (word, behind) = match first {
            '"' => quoted(rest)?,
            '\'' => {
                let (word, behind) = rest[1..].split_once('\'')?;
                (word.to_owned(), behind)
            }
            _ => {
                let end = rest.find(char::is_whitespace).unwrap_or(rest.len());
                (rest[..end].to_owned(), &rest[end..])
            }
        };
        words.push(word);
        rest = behind.trim_start();
    }
    Some(words)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_a_transaction() {
        let compare = comparison("mod(\"a \\\"key\\\"\") > \"7\"").unwrap();
        assert_eq!(compare.key, &b"a \"key\""[..]);
        assert_eq!(compare.target_union, Some(TargetUnion::ModRevision(7)));
        assert_eq!(compare.result, i32::from(CompareResult::Greater));
        for wrong in [
            "",
            "mod",
            "mod(a) > \"1\"",
            "mod(\"a\") ~ \"1\"",
            "mod(\"a\") > \"x\"",
            "size(\"a\") = \"1\"",
        ] {
            assert_eq!(comparison(wrong).unwrap_err().code, INVALID_INPUT, "{wrong}");
        }
        let put = operation("put a \"b c\" --lease=10").unwrap();
        let Some(Request::RequestPut(put)) = put.request else {
            panic!("{put:?}")
        };
        assert_eq!((&put.value[..], put.lease), (&b"b c"[..], 16));
        assert!(operation("get 'a b' --prefix").is_ok());
        assert!(operation("txn").is_err() && operation("put \"a").is_err());
    }
}
