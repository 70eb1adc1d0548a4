//! Answers as etcdctl prints them: `simple` lines, or `json` as Go writes its messages.
//!
//! That JSON has the fields in the order and under the names of the .proto files, zero ones left out, numbers and
//! enumerations as numbers, bytes in base64, and a choice wrapped once more under its Go name.

use std::fmt::Write;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use corten_etcd_api::DESCRIPTORS;
use corten_etcd_api::mvccpb::KeyValue;
use prost::Message;
use prost_reflect::{DescriptorPool, DynamicMessage, FieldDescriptor, Kind, ReflectMessage, Value};

use crate::go;
use crate::terminal::say;

/// How to print.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Format {
    /// Lines.
    Simple {
        /// Keys and values as `\x61\x62`.
        hex: bool,
    },
    /// One line of JSON.
    Json,
    /// Boxes; members and endpoints only.
    Table,
}

impl Format {
    /// Reads `--write-out`; fields and protobuf are not there.
    pub(super) fn read(name: &str, hex: bool) -> Option<Format> {
        match name {
            "simple" => Some(Format::Simple { hex }),
            "json" => Some(Format::Json),
            "table" => Some(Format::Table),
            _ => None,
        }
    }

    /// Prints the JSON of `message`, or what `lines` prints.
    pub(super) fn show(self, name: &str, message: &impl Message, lines: impl FnOnce()) {
        match self {
            Format::Json => say(json(name, message)),
            _ => lines(),
        }
    }

    /// Prints a key and its value, or the value alone.
    pub(super) fn pair(self, pair: &KeyValue, value_only: bool) {
        if !value_only {
            self.bytes(&pair.key);
        }
        self.bytes(&pair.value);
    }

    fn bytes(self, bytes: &[u8]) {
        match self {
            Format::Simple { hex: true } => {
                let hex: Vec<String> = bytes.iter().map(|byte| format!("\\x{byte:02x}")).collect();
                say(hex.concat());
            }
            _ => line(bytes),
        }
    }
}

/// A line of any bytes.
pub(super) fn line(bytes: &[u8]) {
    use std::io::Write as _;
    let mut out = std::io::stdout().lock();
    let written = out.write_all(bytes).and_then(|()| out.write_all(b"\n"));
    if written.and_then(|()| out.flush()).is_err() {
        say(""); // ends us as a reader that is gone does
    }
}

/// A message of the API by its full name, as Go's JSON.
pub(super) fn json(name: &str, message: &impl Message) -> String {
    let pool = DescriptorPool::decode(DESCRIPTORS).expect("our own descriptors");
    let descriptor = pool.get_message_by_name(name).expect("a message of the API");
    let message = DynamicMessage::decode(descriptor, message.encode_to_vec().as_slice());
    let mut out = String::new();
    write_message(&mut out, &message.expect("our own encoding"));
    out
}

/// The fields of the header, as Go has them where it is embedded; ends in a comma where there are any.
pub(super) fn header_fields(header: Option<&corten_etcd_api::etcdserverpb::ResponseHeader>) -> String {
    let header = header.cloned().unwrap_or_default();
    let json = json("etcdserverpb.ResponseHeader", &header);
    let fields = json.trim_start_matches('{').trim_end_matches('}');
    if fields.is_empty() {
        String::new()
    } else {
        format!("{fields},")
    }
}

fn write_message(out: &mut String, message: &DynamicMessage) {
    out.push('{');
    let mut first = true;
    for field in message.descriptor().fields() {
        if !message.has_field(&field) {
            continue;
        }
        if !first {
            out.push(',');
        }
        first = false;
        let value = message.get_field(&field);
        match field.containing_oneof() {
            Some(choice) => {
                let (choice, own) = (camel(choice.name()), camel(field.name()));
                let _ = write!(out, "\"{choice}\":{{\"{own}\":");
                write_value(out, &field, &value);
                out.push('}');
            }
            None => {
                let _ = write!(out, "\"{}\":", field.name());
                write_value(out, &field, &value);
            }
        }
    }
    out.push('}');
}

/// `response_put` as Go names it.
fn camel(name: &str) -> String {
    name.split('_')
        .map(|word| {
            let (head, rest) = word.split_at(word.len().min(1));
            head.to_uppercase() + rest
        })
        .collect()
}

fn write_value(out: &mut String, field: &FieldDescriptor, value: &Value) {
    let _ = match value {
        Value::Bool(value) => write!(out, "{value}"),
        Value::I32(value) | Value::EnumNumber(value) => write!(out, "{value}"),
        Value::I64(value) => write!(out, "{value}"),
        Value::U32(value) => write!(out, "{value}"),
        Value::U64(value) => write!(out, "{value}"),
        Value::F32(value) => write!(out, "{value}"),
        Value::F64(value) => write!(out, "{value}"),
        Value::String(value) => write!(out, "{}", go::to_json(value)),
        Value::Bytes(value) => write!(out, "\"{}\"", STANDARD.encode(value)),
        Value::Message(value) => {
            write_message(out, value);
            Ok(())
        }
        Value::List(values) => {
            out.push('[');
            for (at, value) in values.iter().enumerate() {
                if at > 0 {
                    out.push(',');
                }
                write_value(out, field, value);
            }
            out.push(']');
            Ok(())
        }
        Value::Map(_) => {
            debug_assert!(matches!(field.kind(), Kind::Message(_)), "etcd has no maps");
            write!(out, "null")
        }
    };
}

/// A table as etcdctl draws it: titles in the middle, cells to the right.
pub(super) fn table(titles: &[&str], rows: &[Vec<String>]) {
    let widths: Vec<usize> = titles
        .iter()
        .enumerate()
        .map(|(at, title)| {
            let cells = rows.iter().map(|row| row[at].chars().count());
            cells.fold(title.len(), usize::max)
        })
        .collect();
    let rule: String = widths
        .iter()
        .map(|width| format!("+{}", "-".repeat(width + 2)))
        .collect();
    let rule = rule + "+";
    let head: String = titles
        .iter()
        .zip(&widths)
        .map(|(title, width)| format!("| {title:^width$} "))
        .collect();
    say(&rule);
    say(head + "|");
    say(&rule);
    for row in rows {
        let cells: String = row
            .iter()
            .zip(&widths)
            .map(|(cell, width)| format!("| {cell:>width$} "))
            .collect();
        say(cells + "|");
    }
    say(&rule);
}

#[cfg(test)]
mod tests {
    use corten_etcd_api::etcdserverpb as pb;

    use super::*;

    #[test]
    fn json_as_gos() {
        let header = Some(pb::ResponseHeader {
            cluster_id: 6012025715201963436,
            revision: 5,
            ..pb::ResponseHeader::default()
        });
        let put = pb::ResponseOp {
            response: Some(pb::response_op::Response::ResponsePut(pb::PutResponse::default())),
        };
        let answer = pb::TxnResponse {
            header,
            succeeded: true,
            responses: vec![put],
        };
        assert_eq!(
            json("etcdserverpb.TxnResponse", &answer),
            "{\"header\":{\"cluster_id\":6012025715201963436,\"revision\":5},\"succeeded\":true,\
             \"responses\":[{\"Response\":{\"ResponsePut\":{}}}]}"
        );
        assert_eq!(
            header_fields(header.as_ref()),
            "\"cluster_id\":6012025715201963436,\"revision\":5,"
        );
        let alarm = pb::AlarmMember {
            member_id: 7,
            alarm: 1,
        };
        assert_eq!(
            json("etcdserverpb.AlarmMember", &alarm),
            "{\"memberID\":7,\"alarm\":1}"
        );
    }
}
