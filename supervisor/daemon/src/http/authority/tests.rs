//! What etcdctl 3.4 sends, as recorded; header blocks in every shape, read back by a library; anything at all.
#![allow(clippy::unwrap_used)]

use std::time::Duration;

use axum::Router;
use axum::http::Uri;
use bytes::BytesMut;
use loona_hpack::{Decoder, Encoder};
use proptest::prelude::*;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::frames::Frames;
use crate::stop;

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// Empty SETTINGS and the acknowledgement of the server's.
const SETTINGS: &str = "000000040000000000 000000040100000000";
/// `etcdctl --endpoints=http://127.0.0.1:45521 endpoint status`: its HEADERS and DATA.
const STATUS: &str = "000077 01 04 00000001 8386459760a924882d9dcb6571afa066a925a87510ac6e48d36a3f41909d29aee30c044eae05c0
    b86e34db620f5f8b1d75d0620d263d4c4d65647a8b9acac8b4c7602bb2caecff40027465864d833505b11f40899acac8b24d494f6a7f860befbceb2d
    5b408d25062d495875996ee5b1063d5f03332e34 000005 00 01 00000001 0000000000";
/// `endpoint health` at the same endpoint.
const HEALTH: &str = "00006b 01 04 00000001 8386459060a924882d9dcb6571af9b8b1b4754c5418b089d5c0b8170dc69b6c41f5f8b1d75d0
    620d263d4c4d65647a8b9acac8b4c7602bb2caecff40027465864d833505b11f40899acac8b24d494f6a7f860bef81f7816f408d25062d495875996e
    e5b1063d5f03332e34 00000d 00 01 00000001 00000000080a066865616c7468";
/// A second request after the first: all of it stands in the table by now.
const AGAIN: &str = "000009 01 05 00000003 8386c4c3c2c1c0bfbe";
const ENDPOINT: &str = "127.0.0.1:45521";

fn unhex(text: &str) -> Vec<u8> {
    let digits: Vec<u8> = text.bytes().filter(u8::is_ascii_hexdigit).collect();
    let pairs = digits.chunks(2);
    pairs
        .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap())
        .collect()
}

fn recorded(frames: &[&str]) -> Vec<u8> {
    [PREFACE, &unhex(SETTINGS), &unhex(&frames.concat())].concat()
}

/// What is read of `sent`, which comes in pieces of these sizes, the last one over and over.
fn read(sent: &[u8], sizes: &[usize]) -> Vec<u8> {
    let (mut frames, mut out) = (Frames::default(), BytesMut::new());
    let mut rest = sent;
    let mut sizes = sizes.iter().copied();
    let mut size = 1;
    while !rest.is_empty() {
        size = sizes.next().unwrap_or(size).clamp(1, rest.len());
        frames.push(&rest[..size], &mut out);
        rest = &rest[size..];
    }
    frames.end(&mut out);
    out.to_vec()
}

/// The fields of each header block in whole frames after the preface, as one table reads them.
fn fields(sent: &[u8]) -> Vec<Vec<(String, String)>> {
    let mut decoder = Decoder::new();
    let (mut blocks, mut block) = (Vec::new(), Vec::new());
    let mut rest = sent.strip_prefix(PREFACE).unwrap();
    while !rest.is_empty() {
        let length = u32::from_be_bytes([0, rest[0], rest[1], rest[2]]) as usize;
        assert!(length <= 16_384);
        let (kind, flags) = (rest[3], rest[4]);
        let mut payload = &rest[9..9 + length];
        rest = &rest[9 + length..];
        if ![1, 9].contains(&kind) {
            continue;
        }
        if flags & 8 != 0 {
            payload = &payload[1..length - usize::from(payload[0])];
        }
        if kind == 1 && flags & 0x20 != 0 {
            assert_eq!(payload[..5], [0, 0, 0, 7, 16]);
            payload = &payload[5..];
        }
        block.extend_from_slice(payload);
        if flags & 4 != 0 {
            let text = |bytes| String::from_utf8(bytes).unwrap();
            let decoded = decoder.decode(&block).unwrap();
            blocks.push(decoded.into_iter().map(|(n, v)| (text(n), text(v))).collect());
            block.clear();
        }
    }
    blocks
}

/// A block in frames whose fragments have at most `cut` bytes, the first with so much padding and a priority.
fn framed(block: &[u8], cut: usize, padding: Option<u8>, priority: bool) -> Vec<u8> {
    let mut fragments = block.chunks(cut).collect::<Vec<_>>();
    if fragments.is_empty() {
        fragments.push(&[]);
    }
    let mut frames = Vec::new();
    for (number, fragment) in fragments.iter().enumerate() {
        let is_first = number == 0;
        let mut flags = if number + 1 == fragments.len() { 4 } else { 0 };
        let mut payload = fragment.to_vec();
        if is_first && priority {
            flags |= 0x20;
            payload.splice(0..0, [0, 0, 0, 7, 16]);
        }
        if let Some(padding) = padding.filter(|_| is_first) {
            flags |= 8;
            payload.insert(0, padding);
            payload.extend(std::iter::repeat_n(0, padding.into()));
        }
        frames.extend_from_slice(&(payload.len() as u32).to_be_bytes()[1..]);
        frames.extend_from_slice(&[if is_first { 1 } else { 9 }, flags, 0, 0, 0, 1]);
        frames.extend(payload);
    }
    frames
}

fn block(encoder: &mut Encoder<'_>, authority: &str, cookie: &str) -> Vec<u8> {
    encoder.encode([
        (&b":method"[..], &b"POST"[..]),
        (b":authority", authority.as_bytes()),
        (b"cookie", cookie.as_bytes()),
    ])
}

#[test]
fn etcdctls_url_becomes_its_authority_and_all_else_stays() {
    let sent = recorded(&[STATUS, AGAIN]);
    let expected = ("http://127.0.0.1:45521", ENDPOINT);
    for size in [1, 7, 1000] {
        let read = fields(&read(&sent, &[size]));
        let mut wanted = fields(&sent);
        for block in &mut wanted {
            let authority = block.iter_mut().find(|(name, _)| name == ":authority").unwrap();
            assert_eq!(authority.1, expected.0);
            authority.1 = expected.1.to_owned();
        }
        assert_eq!(read, wanted);
    }
}

#[test]
fn what_needs_no_mending_is_not_looked_at_again() {
    let sent = recorded(&[HEALTH]);
    let (mut frames, mut out) = (Frames::default(), BytesMut::new());
    frames.push(&sent, &mut out);
    assert!(frames.are_over());
    assert_eq!(out, sent);
    // A client that would begin with it afterwards gets what `h2` says to it.
    let later = recorded(&[HEALTH, STATUS]);
    assert_eq!(read(&later, &[10]), later);
    let http1 = b"PRI /v2/keys HTTP/1.1\r\n\r\n";
    assert_eq!(read(http1, &[1]), http1);
}

#[test]
fn only_the_authority_part_of_a_url_is_taken() {
    for (sent, expected) in [
        ("http://[::1]:2379", "[::1]:2379"),
        ("https://etcd.example:2379/path?query", "etcd.example:2379"),
        ("http://host", "host"),
        ("host:2379", "host:2379"),
        ("", ""),
        ("unix:///run/etcd.sock", "unix:///run/etcd.sock"),
        ("a b", "a b"),
    ] {
        let block = block(&mut Encoder::new(), sent, "c");
        let sent = [PREFACE, &framed(&block, 9000, None, false)].concat();
        let read = fields(&read(&sent, &[1000]));
        assert_eq!(read[0][1], (":authority".to_owned(), expected.to_owned()));
    }
}

#[test]
fn a_block_may_come_in_every_shape() {
    let long = "x".repeat(20_000);
    for (cut, padding, priority, cookie) in [
        (9000, None, false, "c"),
        (9000, Some(0), true, "c"),
        (3, Some(255), false, "c"),
        (1, Some(9), true, "c"),
        (16_000, None, true, &long),
        (16_379, None, true, &long),
    ] {
        let mut encoder = Encoder::new();
        let mut sent = PREFACE.to_vec();
        for authority in ["http://one:1", "http://one:1", "two:2"] {
            sent.extend(framed(
                &block(&mut encoder, authority, cookie),
                cut,
                padding,
                priority,
            ));
            // DATA between them
            sent.extend([0, 0, 2, 0, 0, 0, 0, 0, 1, 1, 2]);
        }
        let read = read(&sent, &[5000]);
        let wanted = ["one:1", "one:1", "two:2"].map(|authority| {
            [(":method", "POST"), (":authority", authority), ("cookie", cookie)]
                .map(|(name, value)| (name.to_owned(), value.to_owned()))
                .to_vec()
        });
        assert_eq!(fields(&read), wanted, "{cut} {padding:?} {priority}");
    }
}

#[test]
fn a_block_that_never_ends_is_handed_on() {
    let mut sent = [PREFACE, &[0, 0, 0, 1, 0, 0, 0, 0, 1]].concat();
    for _ in 0..10_000 {
        sent.extend([0, 0, 1, 9, 0, 0, 0, 0, 1, 0x20]);
    }
    let (mut frames, mut out) = (Frames::default(), BytesMut::new());
    frames.push(&sent, &mut out);
    assert!(frames.are_over());
    assert_eq!(out, sent);
}

/// Waits until the server, as it is, has answered what was `sent` with so many times this URL.
async fn answered(sent: &[u8], url: &str, times: usize) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let app = Router::new().fallback(|uri: Uri| async move { format!("<{uri}>") });
    let (_stopper, stop) = stop::channel();
    tokio::spawn(crate::http::serve(listener, app.into(), stop));
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(sent).await.unwrap();
    let mut came = Vec::new();
    let all = async {
        while String::from_utf8_lossy(&came).matches(url).count() < times {
            assert!(stream.read_buf(&mut came).await.unwrap() > 0, "{came:?}");
        }
    };
    let in_time = tokio::time::timeout(Duration::from_secs(10), all).await;
    assert!(in_time.is_ok(), "{}", String::from_utf8_lossy(&came));
}

#[tokio::test]
async fn the_server_answers_etcdctl() {
    let status = "<http://127.0.0.1:45521/etcdserverpb.Maintenance/Status>";
    answered(&recorded(&[STATUS, AGAIN]), status, 2).await;
    let health = "<http://127.0.0.1:45521/etcdserverpb.KV/Range>";
    answered(&recorded(&[HEALTH]), health, 1).await;
}

fn pieces() -> impl Strategy<Value = Vec<usize>> {
    proptest::collection::vec(1usize..200, 0..20)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn an_untouched_connection_is_the_same_byte_for_byte(
        tail in proptest::collection::vec(any::<u8>(), 0..300), sizes in pieces()
    ) {
        let sent = [recorded(&[HEALTH]), tail].concat();
        prop_assert_eq!(read(&sent, &sizes), sent);
    }

    #[test]
    fn nothing_makes_it_panic_and_pieces_make_no_difference(
        tail in proptest::collection::vec(any::<u8>(), 0..300), sizes in pieces()
    ) {
        let sent = [PREFACE, &tail].concat();
        prop_assert_eq!(read(&sent, &sizes), read(&sent, &[usize::MAX]));
    }

    #[test]
    fn a_near_miss_is_handed_on_or_mended(
        changes in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..6), sizes in pieces()
    ) {
        let mut sent = recorded(&[STATUS, AGAIN, STATUS]);
        for (at, byte) in changes {
            let at = at.index(sent.len());
            sent[at] = byte;
        }
        prop_assert_eq!(read(&sent, &sizes), read(&sent, &[usize::MAX]));
    }

    #[test]
    fn any_block_in_any_shape(
        fields in proptest::collection::vec(any::<u8>(), 0..100), cut in 1usize..50,
        padding in proptest::option::of(any::<u8>()), priority: bool, sizes in pieces()
    ) {
        let sent = [PREFACE, &framed(&fields, cut, padding, priority)].concat();
        let read = read(&sent, &sizes);
        prop_assert!(read.len() <= sent.len() + 1024);
    }
}
