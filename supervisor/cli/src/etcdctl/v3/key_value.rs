//! put, get, del, compaction: requests of their words, which transactions read too, and their answers.

use std::io::Read;

use clap::ArgMatches;
use corten_etcd_api::etcdserverpb as pb;

use super::connection::Etcd;
use super::fault::{BAD_FEATURE, ERROR, Failure};
use super::number;
use super::print::Format;
use super::{switch, text, words};
use crate::terminal::say;

/// `--prefix` and `--from-key`, both spelled for the key of a range.
pub(super) struct Span {
    pub(super) key: Vec<u8>,
    pub(super) end: Vec<u8>,
}

/// The least key that no key with this prefix reaches; one byte 0 for "no end".
pub(super) fn prefix_end(prefix: &[u8]) -> Vec<u8> {
    let mut end = prefix.to_vec();
    while let Some(last) = end.pop() {
        if last < 0xff {
            end.push(last + 1);
            return end;
        }
    }
    vec![0]
}

impl Span {
    /// A key, an end perhaps, and what the options make of them.
    pub(super) fn of(key: &str, end: Option<&str>, prefix: bool, from_key: bool) -> Span {
        let mut span = Span {
            key: key.as_bytes().to_vec(),
            end: end.unwrap_or_default().as_bytes().to_vec(),
        };
        if prefix || from_key {
            span.end = if from_key || key.is_empty() {
                vec![0]
            } else {
                prefix_end(&span.key)
            };
            if key.is_empty() {
                span.key = vec![0];
            }
        }
        span
    }

    fn read(command: &str, matches: &ArgMatches) -> Result<Span, Failure> {
        let words = words(matches);
        let (prefix, from_key) = (switch(matches, "prefix"), switch(matches, "from-key"));
        let (key, end) = match words[..] {
            [key] => (key, None),
            [key, end] => (key, Some(end)),
            _ => {
                return Err(Failure::args(format!(
                    "{command} command needs one argument as key and an optional argument as range_end"
                )));
            }
        };
        if prefix && from_key {
            return Err(Failure::args(
                "`--prefix` and `--from-key` cannot be set at the same time, choose one",
            ));
        }
        if end.is_some() && (prefix || from_key) {
            return Err(Failure::args(
                "too many arguments, only accept one argument when `--prefix` or `--from-key` is set",
            ));
        }
        Ok(Span::of(key, end, prefix, from_key))
    }
}

/// The request of `put`.
pub(super) fn put_request(matches: &ArgMatches) -> Result<pb::PutRequest, Failure> {
    const NEEDS: &str = "put command needs 1 argument and input from stdin or 2 arguments";
    let words = words(matches);
    let Some(key) = words.first() else {
        return Err(Failure::args(NEEDS));
    };
    let ignore_value = switch(matches, "ignore-value");
    if ignore_value && words.len() > 1 {
        return Err(Failure::args(
            "put command needs only 1 argument when 'ignore-value' is set",
        ));
    }
    let value = match words.get(1) {
        _ if ignore_value => Vec::new(),
        Some(value) => value.as_bytes().to_vec(),
        None => {
            let mut value = Vec::new();
            let read = std::io::stdin().lock().read_to_end(&mut value);
            if read.is_err() || value.is_empty() {
                return Err(Failure::args(NEEDS));
            }
            value
        }
    };
    let lease = text(matches, "lease").unwrap_or("0");
    let lease = number::int(lease, 16)
        .map_err(|why| Failure::args(format!("bad lease ID ({why}), expecting ID in Hex")))?;
    Ok(pb::PutRequest {
        key: key.as_bytes().to_vec().into(),
        value: value.into(),
        lease,
        prev_kv: switch(matches, "prev-kv"),
        ignore_value,
        ignore_lease: switch(matches, "ignore-lease"),
    })
}

/// The request of `get`.
pub(super) fn range_request(matches: &ArgMatches) -> Result<pb::RangeRequest, Failure> {
    use pb::range_request::{SortOrder, SortTarget};
    let span = Span::read("get", matches)?;
    let serializable = match text(matches, "consistency").unwrap_or("l") {
        "s" => true,
        "l" => false,
        other => {
            return Err(Failure::new(
                BAD_FEATURE,
                format!("unknown consistency flag {other:?}"),
            ));
        }
    };
    let order = match text(matches, "order").unwrap_or_default().to_uppercase().as_str() {
        "" => SortOrder::None,
        "ASCEND" => SortOrder::Ascend,
        "DESCEND" => SortOrder::Descend,
        other => return Err(Failure::new(BAD_FEATURE, format!("bad sort order {other}"))),
    };
    let target = match text(matches, "sort-by")
        .unwrap_or_default()
        .to_uppercase()
        .as_str()
    {
        "" | "KEY" => SortTarget::Key,
        "CREATE" => SortTarget::Create,
        "MODIFY" => SortTarget::Mod,
        "VALUE" => SortTarget::Value,
        "VERSION" => SortTarget::Version,
        other => return Err(Failure::new(BAD_FEATURE, format!("bad sort target {other}"))),
    };
    Ok(pb::RangeRequest {
        key: span.key.into(),
        range_end: span.end.into(),
        limit: super::integer(matches, "limit"),
        revision: super::integer(matches, "rev"),
        sort_order: order.into(),
        sort_target: target.into(),
        serializable,
        keys_only: switch(matches, "keys-only"),
        count_only: switch(matches, "count-only"),
        ..pb::RangeRequest::default()
    })
}

/// The request of `del`.
pub(super) fn delete_request(matches: &ArgMatches) -> Result<pb::DeleteRangeRequest, Failure> {
    let span = Span::read("del", matches)?;
    Ok(pb::DeleteRangeRequest {
        key: span.key.into(),
        range_end: span.end.into(),
        prev_kv: switch(matches, "prev-kv"),
    })
}

/// The lines of an answer to `put`.
pub(super) fn show_put(format: Format, answer: &pb::PutResponse) {
    say("OK");
    if let Some(before) = &answer.prev_kv {
        format.pair(before, false);
    }
}

/// The lines of an answer to `get`.
pub(super) fn show_range(format: Format, answer: &pb::RangeResponse, value_only: bool) {
    for pair in &answer.kvs {
        format.pair(pair, value_only);
    }
}

/// The lines of an answer to `del`.
pub(super) fn show_delete(format: Format, answer: &pb::DeleteRangeResponse) {
    say(answer.deleted.to_string());
    for pair in &answer.prev_kvs {
        format.pair(pair, false);
    }
}

pub(super) async fn put(etcd: &Etcd, format: Format, matches: &ArgMatches) -> Result<(), Failure> {
    let answer: pb::PutResponse = etcd.call("/etcdserverpb.KV/Put", put_request(matches)?).await?;
    format.show("etcdserverpb.PutResponse", &answer, || show_put(format, &answer));
    Ok(())
}

pub(super) async fn get(etcd: &Etcd, format: Format, matches: &ArgMatches) -> Result<(), Failure> {
    let value_only = switch(matches, "print-value-only");
    if value_only && !matches!(format, Format::Simple { .. }) {
        return Err(Failure::new(
            BAD_FEATURE,
            "print-value-only is only for `--write-out=simple`",
        ));
    }
    let answer: pb::RangeResponse = etcd
        .call("/etcdserverpb.KV/Range", range_request(matches)?)
        .await?;
    format.show("etcdserverpb.RangeResponse", &answer, || {
        if switch(matches, "count-only") {
            say(answer.count.to_string());
        }
        show_range(format, &answer, value_only);
    });
    Ok(())
}

pub(super) async fn delete(etcd: &Etcd, format: Format, matches: &ArgMatches) -> Result<(), Failure> {
    let request = delete_request(matches)?;
    let answer: pb::DeleteRangeResponse = etcd.call("/etcdserverpb.KV/DeleteRange", request).await?;
    format.show("etcdserverpb.DeleteRangeResponse", &answer, || {
        show_delete(format, &answer);
    });
    Ok(())
}

pub(super) async fn compact(etcd: &Etcd, matches: &ArgMatches) -> Result<(), Failure> {
    let [revision] = words(matches)[..] else {
        return Err(Failure::args("compaction command needs 1 argument"));
    };
    let revision = number::int(revision, 10).map_err(|why| Failure::new(ERROR, why))?;
    let request = pb::CompactionRequest {
        revision,
        physical: switch(matches, "physical"),
    };
    let _: pb::CompactionResponse = etcd.call("/etcdserverpb.KV/Compact", request).await?;
    say(format!("compacted revision {revision}"));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ends_of_prefixes() {
        for (prefix, end) in [
            (&b"a"[..], &b"b"[..]),
            (b"a\xff", b"b"),
            (b"\xff\xff", b"\0"),
            (b"a/", b"a0"),
        ] {
            assert_eq!(prefix_end(prefix), end);
        }
        let all = Span::of("", None, true, false);
        assert_eq!((all.key, all.end), (vec![0], vec![0]));
    }
}
