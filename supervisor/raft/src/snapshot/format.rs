//! A snapshot's bytes; the layout stands in the module's head.

use std::io::{self, Read, Write};

use corten_store::tables::Table;

use crate::types::SnapshotMeta;

const MAGIC: &[u8; 8] = b"CORTSNP1";
/// Rows are gathered into blocks of about this size.
const BLOCK: usize = 64 << 10;
/// Longer blocks or metas are damage: a value is at most a few MiB.
const LONGEST: u32 = 256 << 20;

/// What is called for each row; its words end the reading.
pub(crate) type TakeRow<'r> = dyn FnMut(Table, &[u8], &[u8]) -> Result<(), String> + 'r;

/// Writes a snapshot.
pub(crate) struct Writer<W: Write> {
    out: W,
    block: Vec<u8>,
    rows: u64,
}

impl<W: Write> Writer<W> {
    /// Writes the head.
    pub fn begin(mut out: W, cluster: u64, meta: &SnapshotMeta) -> io::Result<Writer<W>> {
        let meta = postcard::to_stdvec(meta).map_err(io::Error::other)?;
        out.write_all(MAGIC)?;
        out.write_all(&cluster.to_le_bytes())?;
        write_block(&mut out, &meta)?;
        Ok(Writer {
            out,
            block: Vec::with_capacity(2 * BLOCK),
            rows: 0,
        })
    }

    /// Adds a row.
    pub fn row(&mut self, table: Table, key: &[u8], value: &[u8]) -> io::Result<()> {
        let key_length = u16::try_from(key.len()).map_err(io::Error::other)?;
        let value_length = u32::try_from(value.len()).map_err(io::Error::other)?;
        self.block.push(table as u8);
        self.block.extend_from_slice(&key_length.to_le_bytes());
        self.block.extend_from_slice(&value_length.to_le_bytes());
        self.block.extend_from_slice(key);
        self.block.extend_from_slice(value);
        self.rows += 1;
        if self.block.len() >= BLOCK {
            self.flush()?;
        }
        Ok(())
    }

    fn flush(&mut self) -> io::Result<()> {
        if !self.block.is_empty() {
            write_block(&mut self.out, &self.block)?;
            self.block.clear();
        }
        Ok(())
    }

    /// Writes the end; gives the file and the number of rows.
    pub fn finish(mut self) -> io::Result<(W, u64)> {
        self.flush()?;
        let count = self.rows.to_le_bytes();
        self.out.write_all(&0u32.to_le_bytes())?;
        self.out.write_all(&crc32c::crc32c(&count).to_le_bytes())?;
        self.out.write_all(&count)?;
        Ok((self.out, self.rows))
    }
}

pub(super) fn write_block(out: &mut impl Write, bytes: &[u8]) -> io::Result<()> {
    let length = u32::try_from(bytes.len()).map_err(io::Error::other)?;
    out.write_all(&length.to_le_bytes())?;
    out.write_all(&crc32c::crc32c(bytes).to_le_bytes())?;
    out.write_all(bytes)
}

/// Reads the head; says what is wrong with it.
pub(crate) fn read_head(input: &mut impl Read, cluster: u64) -> Result<SnapshotMeta, String> {
    let (found, meta) = read_any_head(input)?;
    if found != cluster {
        return Err(format!("it belongs to cluster {found:x}, not {cluster:x}"));
    }
    Ok(meta)
}

/// Reads the head of any cluster's snapshot: that cluster, and what the snapshot says of itself.
pub(crate) fn read_any_head(input: &mut impl Read) -> Result<(u64, SnapshotMeta), String> {
    let magic: [u8; 8] = bytes(input)?;
    if magic != *MAGIC {
        return Err("it does not begin as a snapshot does".to_owned());
    }
    let cluster = u64::from_le_bytes(bytes(input)?);
    let mut meta = Vec::new();
    if !read_block(input, &mut meta)? {
        return Err("it has no head".to_owned());
    }
    let meta = postcard::from_bytes(&meta).map_err(|e| format!("its head is not of this version: {e}"))?;
    Ok((cluster, meta))
}

/// Gives each row to `row`, to the end; says what is wrong, or what `row` said.
pub(crate) fn read_rows(input: &mut impl Read, row: &mut TakeRow<'_>) -> Result<u64, String> {
    let (mut block, mut rows) = (Vec::new(), 0);
    while read_block(input, &mut block)? {
        let mut rest = block.as_slice();
        while !rest.is_empty() {
            rest = read_row(rest, row)?;
            rows += 1;
        }
    }
    let counted = u64::from_le_bytes(bytes(input)?);
    if crc32c::crc32c(&counted.to_le_bytes()).to_le_bytes() != block[..] || counted != rows {
        return Err(format!(
            "it ends after {rows} rows, which is not what its end says"
        ));
    }
    Ok(rows)
}

fn read_row<'b>(bytes: &'b [u8], row: &mut TakeRow<'_>) -> Result<&'b [u8], String> {
    let short = || "a row is cut short".to_owned();
    let (head, rest) = bytes.split_at_checked(7).ok_or_else(short)?;
    let key_length = usize::from(u16::from_le_bytes([head[1], head[2]]));
    let value_length = u32::from_le_bytes([head[3], head[4], head[5], head[6]]) as usize;
    let (key, rest) = rest.split_at_checked(key_length).ok_or_else(short)?;
    let (value, rest) = rest.split_at_checked(value_length).ok_or_else(short)?;
    let table = Table::from_number(head[0]).ok_or_else(|| format!("there is no table {}", head[0]))?;
    row(table, key, value)?;
    Ok(rest)
}

/// Reads a block into `block`; false at the end mark, whose checksum is then in `block`.
fn read_block(input: &mut impl Read, block: &mut Vec<u8>) -> Result<bool, String> {
    let length = u32::from_le_bytes(bytes(input)?);
    let sum: [u8; 4] = bytes(input)?;
    block.clear();
    if length == 0 {
        block.extend_from_slice(&sum);
        return Ok(false);
    }
    if length > LONGEST {
        return Err(format!("a block of {length} bytes"));
    }
    // Memory for what is there, not for what is claimed.
    let read = input.by_ref().take(u64::from(length)).read_to_end(block);
    if read.map_err(|e| e.to_string())? != length as usize {
        return Err("a block is cut short".to_owned());
    }
    if crc32c::crc32c(block).to_le_bytes() != sum {
        return Err("a block does not match its checksum".to_owned());
    }
    Ok(true)
}

fn bytes<const N: usize>(input: &mut impl Read) -> Result<[u8; N], String> {
    let mut bytes = [0; N];
    input.read_exact(&mut bytes).map_err(|e| e.to_string())?;
    Ok(bytes)
}
