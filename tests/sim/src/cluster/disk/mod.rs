//! A disk in memory that knows what is synced. A power cut leaves the synced bytes and, of every write behind them, any
//! sectors, or none, or all; of new names and removals, the first few.
//!
//! A cut can be set to happen at a certain operation, in the midst of it: from then on every operation fails, and
//! [`SimDisk::lose_power`] says what is left.

mod platter;

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use corten_raft::{Disk, File};

use self::platter::{Change, Content, Inner, Naming, name, no_power};
use crate::rng::Rng;

/// The disk; clones are the same disk.
#[derive(Debug, Clone)]
pub struct SimDisk(Arc<Mutex<Inner>>);

#[derive(Debug)]
struct SimFile {
    disk: SimDisk,
    id: u64,
    boot: u64,
}

impl SimDisk {
    /// An empty disk.
    pub fn new(rng: Rng) -> SimDisk {
        SimDisk(Arc::new(Mutex::new(Inner {
            rng,
            contents: BTreeMap::new(),
            names: BTreeMap::new(),
            synced_names: BTreeMap::new(),
            namings: Vec::new(),
            dirs: BTreeSet::new(),
            next: 0,
            boots: 0,
            off: false,
            cut_in: None,
            full: false,
            lies: false,
            saved: None,
        })))
    }

    fn with<T>(&self, f: impl FnOnce(&mut Inner) -> T) -> T {
        f(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Has the power go at the `n`th operation from now on.
    pub fn cut_in(&self, n: u64) {
        self.with(|disk| disk.cut_in = Some(n));
    }

    /// Whether the power is gone.
    pub fn is_off(&self) -> bool {
        self.with(|disk| disk.off)
    }

    /// Whether there is no room left for anything new.
    pub fn set_full(&self, full: bool) {
        self.with(|disk| disk.full = full);
    }

    /// Has syncs do nothing, and say that all is well.
    pub fn set_lies(&self, lies: bool) {
        self.with(|disk| disk.lies = lies);
    }

    /// The program using it was killed: nothing is lost.
    pub fn close(&self) {
        self.with(|disk| {
            disk.boots += 1;
            (disk.off, disk.cut_in) = (false, None);
        });
    }

    /// The power went, and is back: what was not synced is lost, or some of it.
    pub fn lose_power(&self) {
        self.close();
        self.with(|disk| {
            let Inner { rng, contents, .. } = disk;
            for content in contents.values_mut() {
                Inner::survive(rng, content);
            }
            let kept = rng.range(0, disk.namings.len() as u64 + 1) as usize;
            let namings = std::mem::take(&mut disk.namings);
            for by in &namings[..kept] {
                name(&mut disk.synced_names, by);
            }
            disk.names = disk.synced_names.clone();
            let named: BTreeSet<u64> = disk.names.values().copied().collect();
            disk.contents.retain(|id, _| named.contains(id));
        });
    }

    /// The first time, remembers what is there; the next time, goes back to that: what no disk may do.
    pub fn roll_back(&self) {
        self.with(|disk| match disk.saved.take() {
            Some((contents, names)) => {
                disk.contents = contents;
                disk.synced_names = names.clone();
                disk.names = names;
            }
            None => disk.saved = Some((disk.contents.clone(), disk.names.clone())),
        });
    }

    fn file(&self, id: u64, boot: u64) -> Arc<dyn File> {
        Arc::new(SimFile {
            disk: self.clone(),
            id,
            boot,
        })
    }
}

impl Disk for SimDisk {
    fn create(&self, path: &Path) -> io::Result<Arc<dyn File>> {
        let (id, boot) = self.with(|disk| {
            if disk.begin()? {
                return Err(no_power());
            }
            if disk.full {
                return Err(io::ErrorKind::StorageFull.into());
            }
            disk.next += 1;
            let id = disk.next;
            disk.contents.insert(id, Content::default());
            let by = Naming::Create(path.to_path_buf(), id);
            name(&mut disk.names, &by);
            disk.namings.push(by);
            Ok((id, disk.boots))
        })?;
        Ok(self.file(id, boot))
    }

    fn open(&self, path: &Path) -> io::Result<Arc<dyn File>> {
        let (id, boot) = self.with(|disk| {
            if disk.begin()? {
                return Err(no_power());
            }
            let id = disk.names.get(path).copied().ok_or(io::ErrorKind::NotFound)?;
            io::Result::Ok((id, disk.boots))
        })?;
        Ok(self.file(id, boot))
    }

    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        self.with(|disk| {
            if disk.off {
                return Err(no_power());
            }
            let id = disk.names.get(path).ok_or(io::ErrorKind::NotFound)?;
            Ok(disk.contents[id].now.clone())
        })
    }

    fn exists(&self, path: &Path) -> bool {
        self.with(|disk| disk.names.contains_key(path))
    }

    fn make_dir(&self, dir: &Path) -> io::Result<()> {
        self.with(|disk| disk.dirs.insert(dir.to_path_buf()));
        Ok(())
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<PathBuf>> {
        self.with(|disk| {
            if disk.off {
                return Err(no_power());
            }
            let inside = disk.names.keys().filter(|path| path.parent() == Some(dir));
            Ok(inside.cloned().collect())
        })
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.with(|disk| {
            let last = disk.begin()?;
            if !disk.names.contains_key(from) {
                return Err(io::ErrorKind::NotFound.into());
            }
            let by = Naming::Rename(from.to_path_buf(), to.to_path_buf());
            name(&mut disk.names, &by);
            disk.namings.push(by);
            if last { Err(no_power()) } else { Ok(()) }
        })
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.with(|disk| {
            let last = disk.begin()?;
            let by = Naming::Remove(path.to_path_buf());
            name(&mut disk.names, &by);
            disk.namings.push(by);
            if last { Err(no_power()) } else { Ok(()) }
        })
    }

    fn sync_dir(&self, _dir: &Path) -> io::Result<()> {
        self.with(|disk| {
            if disk.begin()? {
                return Err(no_power());
            }
            if disk.lies {
                return Ok(());
            }
            for by in std::mem::take(&mut disk.namings) {
                name(&mut disk.synced_names, &by);
            }
            Ok(())
        })
    }
}

impl SimFile {
    fn with<T>(&self, f: impl FnOnce(&mut Inner) -> io::Result<T>) -> io::Result<T> {
        self.disk.with(|disk| {
            if disk.off || disk.boots != self.boot {
                return Err(no_power());
            }
            f(disk)
        })
    }
}

impl File for SimFile {
    fn read_at(&self, bytes: &mut [u8], offset: u64) -> io::Result<usize> {
        self.with(|disk| {
            let content = &disk.contents[&self.id].now;
            let rest = content.get(offset as usize..).unwrap_or_default();
            let count = rest.len().min(bytes.len());
            bytes[..count].copy_from_slice(&rest[..count]);
            Ok(count)
        })
    }

    fn read_exact_at(&self, bytes: &mut [u8], offset: u64) -> io::Result<()> {
        if self.read_at(bytes, offset)? == bytes.len() {
            Ok(())
        } else {
            Err(io::ErrorKind::UnexpectedEof.into())
        }
    }

    fn write_all_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.with(|disk| {
            let grows = offset + bytes.len() as u64 > disk.contents[&self.id].now.len() as u64;
            if disk.full && grows {
                return Err(io::ErrorKind::StorageFull.into());
            }
            let last = disk.begin()?;
            disk.apply(self.id, Change::Write(offset, bytes.to_vec()));
            if last { Err(no_power()) } else { Ok(()) }
        })
    }

    fn length(&self) -> io::Result<u64> {
        self.with(|disk| Ok(disk.contents[&self.id].now.len() as u64))
    }

    fn set_len(&self, length: u64) -> io::Result<()> {
        self.with(|disk| {
            let last = disk.begin()?;
            disk.apply(self.id, Change::Length(length));
            if last { Err(no_power()) } else { Ok(()) }
        })
    }

    fn sync_data(&self) -> io::Result<()> {
        self.with(|disk| {
            if disk.begin()? {
                return Err(no_power());
            }
            if !disk.lies {
                disk.sync(self.id);
            }
            Ok(())
        })
    }

    fn sync_all(&self) -> io::Result<()> {
        self.sync_data()
    }
}
