//! The messages of a watch stream: what a client asks for, in the store's words, and events in portions a client can take.

use bytes::Bytes;
use corten_etcd_api::etcdserverpb::watch_create_request::FilterType;
use corten_etcd_api::etcdserverpb::{WatchCreateRequest, WatchResponse};
use corten_etcd_api::mvccpb::Event;
use corten_watch::v3::interest::{Interest, Until};
use prost::Message;

/// What a portion takes at most, in bytes, unless one event takes more: well below what clients accept.
const PORTION: usize = 1536 * 1024;

/// What a client wants to be told of.
///
/// # Errors
/// When the range is empty, in etcd's words.
pub fn interest(request: &WatchCreateRequest) -> Result<Interest, &'static str> {
    // No key is the smallest key; one zero byte as the end is no end.
    let key = if request.key.is_empty() {
        Bytes::from_static(b"\0")
    } else {
        request.key.clone()
    };
    let until = match &*request.range_end {
        [] => Until::Itself,
        [0] => Until::Open,
        end if *key >= *end => return Err("mvcc: watcher range is empty"),
        _ => Until::Before(request.range_end.clone()),
    };
    let filters: Vec<FilterType> = request.filters().collect();
    Ok(Interest {
        key,
        until,
        no_put: filters.contains(&FilterType::Noput),
        no_delete: filters.contains(&FilterType::Nodelete),
    })
}

/// One message, or as many as it takes to keep each below the limit if the client can join them again.
pub fn portions(whole: WatchResponse, fragment: bool) -> Vec<WatchResponse> {
    if !fragment || whole.events.len() < 2 || whole.encoded_len() < PORTION {
        return vec![whole];
    }
    let part = |events: Vec<Event>| WatchResponse {
        header: whole.header,
        watch_id: whole.watch_id,
        fragment: true,
        events,
        ..WatchResponse::default()
    };
    let mut parts = Vec::new();
    let (mut events, mut size) = (Vec::new(), 0);
    for event in whole.events {
        let weight = event.encoded_len() + 8;
        if !events.is_empty() && size + weight >= PORTION {
            parts.push(part(std::mem::take(&mut events)));
            size = 0;
        }
        size += weight;
        events.push(event);
    }
    let mut last = part(events);
    last.fragment = false;
    parts.push(last);
    parts
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use corten_etcd_api::mvccpb::KeyValue;

    use super::*;

    #[test]
    fn ranges_as_etcd_reads_them() {
        let ask = |key: &'static [u8], end: &'static [u8]| {
            interest(&WatchCreateRequest {
                key: Bytes::from_static(key),
                range_end: Bytes::from_static(end),
                ..WatchCreateRequest::default()
            })
        };
        assert_eq!(ask(b"a", b"").unwrap().until, Until::Itself);
        assert_eq!(ask(b"a", b"\0").unwrap().until, Until::Open);
        assert_eq!(ask(b"", b"\0").unwrap().key, Bytes::from_static(b"\0"));
        assert_eq!(
            ask(b"a", b"b").unwrap().until,
            Until::Before(Bytes::from_static(b"b"))
        );
        assert!(ask(b"b", b"b").is_err());
        assert!(ask(b"b", b"a").is_err());
    }

    #[test]
    fn a_large_message_comes_in_parts_that_join_to_it() {
        let event = |size: usize| Event {
            kv: Some(KeyValue {
                value: Bytes::from(vec![b'x'; size]),
                ..KeyValue::default()
            }),
            ..Event::default()
        };
        let whole = WatchResponse {
            watch_id: 3,
            events: vec![event(1 << 20), event(1 << 19), event(1 << 18), event(1 << 20)],
            ..WatchResponse::default()
        };
        assert_eq!(portions(whole.clone(), false), std::slice::from_ref(&whole));
        let parts = portions(whole.clone(), true);
        let last = parts.len() - 1;
        for (at, part) in parts.iter().enumerate() {
            assert!(part.encoded_len() <= PORTION && part.watch_id == 3);
            assert_eq!(part.fragment, at < last);
        }
        let joined: Vec<Event> = parts.into_iter().flat_map(|part| part.events).collect();
        assert!(last > 0 && joined == whole.events);
    }
}
