//! The frames of one direction of an HTTP/2 connection (RFC 9113 section 4), as they come in pieces: header blocks are held
//! until they are whole, all else passes at once.
//!
//! ```text
//! frame    length u24 | type u8 | flags u8 | stream u32 | payload
//! HEADERS  [padding's length u8, if PADDED] [dependency u32, weight u8, if PRIORITY] fragment [padding]
//! ```
//!
//! | place | what comes next | then |
//! |---|---|---|
//! | Preface | the client's preface; without it this is HTTP/1 | Head, or Over |
//! | Head | the nine bytes before a payload | Payload, Block, or Over for what breaks the rules |
//! | Payload | of a frame that is none of ours | Head |
//! | Block | the payload of HEADERS or CONTINUATION | Head, or Over when the first block is in order |
//! | Over | bytes that are not looked at | |

use bytes::{BufMut, BytesMut};

use super::block;

const PREFACE: &[u8; 24] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
const HEAD: usize = 9;
const HEADERS: u8 = 1;
const CONTINUATION: u8 = 9;
const END_HEADERS: u8 = 0x04;
const PADDED: u8 = 0x08;
const PRIORITY: u8 = 0x20;
/// What PRIORITY puts before the fragment.
const PRIORITY_LEN: usize = 5;
/// The largest payload that every peer takes (RFC 9113 section 4.2); the server announces no other.
const MAX_FRAME: usize = 16_384;
/// The frames of one header block that are held, in bytes. The server takes 16 KiB of fields; a larger block is its to refuse.
const MAX_HELD: usize = 32 * 1024;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    /// With how many bytes of it seen.
    Preface(usize),
    /// With how many bytes of it held.
    Head(usize),
    /// With how many bytes to come.
    Payload(usize),
    /// With how many bytes to come, at the end of `held`, and whether the block ends with them.
    Block(usize, bool),
    Over,
}

/// See the module.
#[derive(Debug)]
pub struct Frames {
    place: Place,
    /// Not handed on: the frames of a header block, and a head.
    held: Vec<u8>,
    /// Whether the first block had to be rewritten, so that those after it may have to be, too.
    is_mending: bool,
}

impl Default for Frames {
    fn default() -> Frames {
        Frames {
            place: Place::Preface(0),
            held: Vec::new(),
            is_mending: false,
        }
    }
}

impl Frames {
    /// Whether all that comes from now on is handed on as it is.
    pub fn are_over(&self) -> bool {
        self.place == Place::Over
    }

    /// The client sends no more: what is held is handed on.
    pub fn end(&mut self, out: &mut BytesMut) {
        self.hand_on(out);
    }

    /// Takes what came, and appends what may be read to `out`.
    pub fn push(&mut self, mut came: &[u8], out: &mut BytesMut) {
        while !came.is_empty() {
            let taken = match self.place {
                Place::Preface(seen) => self.preface(seen, came, out),
                Place::Head(held) => self.head(held, came, out),
                Place::Payload(left) => {
                    let taken = left.min(came.len());
                    out.extend_from_slice(&came[..taken]);
                    self.payload(left - taken);
                    taken
                }
                Place::Block(left, is_last) => self.block(left, is_last, came, out),
                Place::Over => {
                    out.extend_from_slice(came);
                    came.len()
                }
            };
            came = &came[taken..];
        }
    }

    fn preface(&mut self, seen: usize, came: &[u8], out: &mut BytesMut) -> usize {
        let wanted = &PREFACE[seen..];
        let taken = wanted.len().min(came.len());
        self.place = if came[..taken] != wanted[..taken] {
            Place::Over
        } else if taken < wanted.len() {
            Place::Preface(seen + taken)
        } else {
            Place::Head(0)
        };
        out.extend_from_slice(&came[..taken]);
        taken
    }

    fn head(&mut self, held: usize, came: &[u8], out: &mut BytesMut) -> usize {
        let taken = (HEAD - held).min(came.len());
        self.held.extend_from_slice(&came[..taken]);
        self.place = Place::Head(held + taken);
        if held + taken == HEAD {
            self.begin(out);
        }
        taken
    }

    /// A head is whole: what is to be done with its payload.
    fn begin(&mut self, out: &mut BytesMut) {
        let (before, head) = self.held.split_at(self.held.len() - HEAD);
        let length = length(head);
        let is_ours = match before.get(5..HEAD) {
            None => head[3] == HEADERS,
            Some(stream) => head[3] == CONTINUATION && head[5..] == *stream,
        };
        if is_ours && length <= MAX_FRAME && self.held.len() + length <= MAX_HELD {
            let is_last = head[4] & END_HEADERS != 0;
            self.block(length, is_last, &[], out);
        } else if before.is_empty() && head[3] != HEADERS {
            self.hand_on(out);
            self.payload(length);
        } else {
            self.give_up(out);
        }
    }

    fn payload(&mut self, left: usize) {
        self.place = if left == 0 {
            Place::Head(0)
        } else {
            Place::Payload(left)
        };
    }

    fn block(&mut self, left: usize, is_last: bool, came: &[u8], out: &mut BytesMut) -> usize {
        let taken = left.min(came.len());
        self.held.extend_from_slice(&came[..taken]);
        if taken < left {
            self.place = Place::Block(left - taken, is_last);
        } else {
            self.place = Place::Head(0);
            if is_last {
                self.end_block(out);
            }
        }
        taken
    }

    fn end_block(&mut self, out: &mut BytesMut) {
        match mended(&split(&self.held)) {
            Some(frames) => {
                self.is_mending = true;
                self.held.clear();
                out.extend_from_slice(&frames);
            }
            None if self.is_mending => self.hand_on(out),
            None => self.give_up(out),
        }
    }

    fn hand_on(&mut self, out: &mut BytesMut) {
        out.extend_from_slice(&self.held);
        self.held.clear();
    }

    fn give_up(&mut self, out: &mut BytesMut) {
        self.hand_on(out);
        self.held = Vec::new();
        self.place = Place::Over;
    }
}

fn length(head: &[u8]) -> usize {
    usize::from(head[0]) << 16 | usize::from(head[1]) << 8 | usize::from(head[2])
}

/// Whole frames, each as its head and its payload.
fn split(mut held: &[u8]) -> Vec<(&[u8], &[u8])> {
    let mut frames = Vec::new();
    while let Some((head, rest)) = held.split_at_checked(HEAD) {
        let Some((payload, rest)) = rest.split_at_checked(length(head)) else {
            break;
        };
        frames.push((head, payload));
        held = rest;
    }
    frames
}

/// The frames of a header block with its authority put right; none when there is nothing to put right.
fn mended(frames: &[(&[u8], &[u8])]) -> Option<Vec<u8>> {
    let (&(head, first), others) = frames.split_first()?;
    let flags = head[4];
    let (priority, fragment) = open(flags, first)?;
    let mut fields = fragment.to_vec();
    for (_, payload) in others {
        fields.extend_from_slice(payload);
    }
    let fields = block::mended(&fields)?;
    let (first, mut others) = fields.split_at(fields.len().min(MAX_FRAME - PRIORITY_LEN));
    let flags = flags & !(PADDED | END_HEADERS);
    let stream = &head[5..];
    let mut frames = Vec::new();
    put(
        &mut frames,
        HEADERS,
        flags | end(others),
        stream,
        &[priority, first],
    );
    while !others.is_empty() {
        let fragment;
        (fragment, others) = others.split_at(others.len().min(MAX_FRAME));
        put(&mut frames, CONTINUATION, end(others), stream, &[fragment]);
    }
    Some(frames)
}

/// The flag of a frame after which `left` of its block is left.
fn end(left: &[u8]) -> u8 {
    if left.is_empty() { END_HEADERS } else { 0 }
}

/// The priority and the fragment in the payload of a HEADERS frame.
fn open(flags: u8, payload: &[u8]) -> Option<(&[u8], &[u8])> {
    let mut rest = payload;
    if flags & PADDED != 0 {
        let (&padding, behind) = rest.split_first()?;
        rest = &behind[..behind.len().checked_sub(padding.into())?];
    }
    let priority = if flags & PRIORITY == 0 { 0 } else { PRIORITY_LEN };
    rest.split_at_checked(priority)
}

fn put(frames: &mut Vec<u8>, kind: u8, flags: u8, stream: &[u8], payload: &[&[u8]]) {
    let length = payload.iter().map(|part| part.len()).sum::<usize>();
    frames.put_uint(length as u64, 3);
    frames.extend_from_slice(&[kind, flags]);
    frames.extend_from_slice(stream);
    for part in payload {
        frames.extend_from_slice(part);
    }
}
