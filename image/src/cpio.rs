//! Writing a cpio archive in the "newc" form that the kernel unpacks as initramfs; pure.
//!
//! (Kernel, driver-api/early-userspace/buffer-format.) Everything is root's, every time is the same: the same entries
//! give the same bytes.

/// An archive being written.
#[derive(Debug)]
pub struct Archive {
    bytes: Vec<u8>,
    inode: u32,
    mtime: u32,
}

impl Archive {
    /// An empty archive whose entries all carry `mtime` (seconds).
    pub fn new(mtime: u64) -> Self {
        Self {
            bytes: Vec::new(),
            inode: 0,
            mtime: u32::try_from(mtime).unwrap_or(u32::MAX),
        }
    }

    /// Adds a directory; its parents must have been added before.
    pub fn folder(&mut self, path: &str) {
        self.entry(path, 0o040_755, &[]);
    }

    /// Adds a file.
    pub fn file(&mut self, path: &str, mode: u32, content: &[u8]) {
        self.entry(path, 0o100_000 | mode, content);
    }

    /// Ends the archive.
    pub fn finish(mut self) -> Vec<u8> {
        self.inode = u32::MAX;
        self.mtime = 0;
        self.entry("TRAILER!!!", 0, &[]);
        self.bytes.resize(self.bytes.len().next_multiple_of(512), 0);
        self.bytes
    }

    fn entry(&mut self, path: &str, mode: u32, content: &[u8]) {
        self.inode = self.inode.wrapping_add(1);
        let links = if mode & 0o040_000 == 0 { 1 } else { 2 };
        let fields = [
            self.inode,
            mode,
            0,
            0,
            links,
            self.mtime,
            content.len() as u32,
            0,
            0,
            0,
            0,
            path.len() as u32 + 1,
            0,
        ];
        self.bytes.extend_from_slice(b"070701");
        for field in fields {
            self.bytes.extend_from_slice(format!("{field:08X}").as_bytes());
        }
        self.bytes.extend_from_slice(path.as_bytes());
        self.bytes.push(0);
        self.pad();
        self.bytes.extend_from_slice(content);
        self.pad();
    }

    fn pad(&mut self) {
        self.bytes.resize(self.bytes.len().next_multiple_of(4), 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_lie_on_multiples_of_four() {
        let mut a = Archive::new(5);
        a.folder("modules");
        a.file("init", 0o755, b"abc");
        let bytes = a.finish();
        assert_eq!(bytes.len() % 512, 0);
        let text = String::from_utf8_lossy(&bytes);
        assert_eq!(text.matches("070701").count(), 3);
        assert!(text.contains("TRAILER!!!"));
        let file = text
            .match_indices("070701")
            .nth(1)
            .map(|(at, _)| at)
            .unwrap_or_default();
        assert_eq!(file % 4, 0);
        assert_eq!(&text[file + 6 + 8..file + 6 + 16], "000081ED");
        assert_eq!(&text[file + 6 + 48..file + 6 + 56], "00000003");
    }
}
