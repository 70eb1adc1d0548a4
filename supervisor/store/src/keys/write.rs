//! The writes of the tree (contract `etcd.md` section 1.2): each succeeds with one event and one index, or fails with
//! etcd's error and changes nothing.

use std::sync::Arc;

use super::error::{Code, Error};
use super::event::{Action, Event, Node, Notice};
use super::history::{self, Row};
use super::tree::{self, Body, Found, Lookup, Stored};
use super::{Compare, Op, Write as Request, path};
use crate::meta::Meta;
use crate::tables::{StoreFault, Write};

/// The answer, and what the watchers get.
type Applied = (Result<Arc<Event>, Error>, Option<Notice>);

/// What a successful write hands to [`finish`].
struct Done {
    action: Action,
    node: Node,
    prev_node: Option<Node>,
    refresh: bool,
    removed: Vec<String>,
}

/// Applies one write: the answer, and the notice for watchers unless it failed or was a refresh.
pub(crate) fn apply(
    tx: &mut (impl Write + ?Sized),
    meta: &mut Meta,
    request: &Request,
) -> Result<Applied, StoreFault> {
    let done = dispatch(tx, meta, request)?;
    count(meta, &request.op, done.is_ok());
    match done {
        Ok(done) => finish(tx, meta, done).map(|(event, notice)| (Ok(event), notice)),
        Err(error) => Ok((Err(error), None)),
    }
}

fn dispatch(tx: &mut (impl Write + ?Sized), meta: &mut Meta, request: &Request) -> Lookup<Done> {
    let Request { key, op, now_ms } = request;
    match op {
        Op::Set {
            dir,
            value,
            expire_ms,
            refresh,
        } => {
            let new = New {
                dir: *dir,
                value,
                expire_ms: *expire_ms,
            };
            set(tx, meta, key, new, *refresh, *now_ms)
        }
        Op::Create {
            dir,
            value,
            expire_ms,
        } => create(
            tx,
            meta,
            key,
            New {
                dir: *dir,
                value,
                expire_ms: *expire_ms,
            },
            *now_ms,
        ),
        Op::CreateInOrder {
            dir,
            value,
            expire_ms,
        } => {
            let key = path::join(key, &format!("{:020}", meta.etcd_index + 1));
            create(
                tx,
                meta,
                &key,
                New {
                    dir: *dir,
                    value,
                    expire_ms: *expire_ms,
                },
                *now_ms,
            )
        }
        Op::Update {
            value,
            expire_ms,
            refresh,
        } => {
            let change = Change {
                value,
                expire_ms: *expire_ms,
                refresh: *refresh,
            };
            update(tx, meta, key, change, *now_ms)
        }
        Op::CompareAndSwap {
            prev,
            value,
            expire_ms,
            refresh,
        } => {
            let change = Change {
                value,
                expire_ms: *expire_ms,
                refresh: *refresh,
            };
            compare_and_swap(tx, meta, key, prev, change, *now_ms)
        }
        Op::Delete { dir, recursive } => delete(tx, meta, key, *dir, *recursive, *now_ms),
        Op::CompareAndDelete { prev } => compare_and_delete(tx, meta, key, prev, *now_ms),
    }
}

/// A node to be made.
#[derive(Clone, Copy)]
struct New<'r> {
    dir: bool,
    value: &'r str,
    expire_ms: Option<u64>,
}

/// A node to be changed in place.
#[derive(Clone, Copy)]
struct Change<'r> {
    value: &'r str,
    expire_ms: Option<u64>,
    refresh: bool,
}

fn set(
    tx: &mut (impl Write + ?Sized),
    meta: &mut Meta,
    key: &str,
    new: New<'_>,
    refresh: bool,
    now_ms: u64,
) -> Lookup<Done> {
    let old = match tree::find(tx, meta.etcd_index, key)? {
        Ok(old) => Some(old),
        Err(error) if error.code == Code::KeyNotFound && !refresh => None,
        Err(error) => return Ok(Err(error)),
    };
    if key == "/" {
        return refused(Code::RootReadOnly, "/", meta);
    }
    let Some(old) = old else {
        return make(tx, meta, Action::Set, key, new, None, now_ms);
    };
    if old.stored.is_dir() {
        return refused(Code::NotFile, key, meta);
    }
    let kept = New {
        value: old.stored.value(),
        ..new
    };
    let mut done = make(
        tx,
        meta,
        Action::Set,
        key,
        if refresh { kept } else { new },
        Some(&old),
        now_ms,
    )?;
    if let Ok(done) = &mut done {
        done.refresh = refresh;
    }
    Ok(done)
}

fn create(
    tx: &mut (impl Write + ?Sized),
    meta: &mut Meta,
    key: &str,
    new: New<'_>,
    now_ms: u64,
) -> Lookup<Done> {
    if key == "/" {
        return refused(Code::RootReadOnly, "/", meta);
    }
    match tree::find(tx, meta.etcd_index, key)? {
        Ok(_) => refused(Code::NodeExist, key, meta),
        Err(error) if error.code == Code::KeyNotFound => {
            make(tx, meta, Action::Create, key, new, None, now_ms)
        }
        Err(error) => Ok(Err(error)),
    }
}

/// Makes a node with the coming index, its parents with it, in place of the file `old` if there is one.
fn make(
    tx: &mut (impl Write + ?Sized),
    meta: &mut Meta,
    action: Action,
    key: &str,
    new: New<'_>,
    old: Option<&Found>,
    now_ms: u64,
) -> Lookup<Done> {
    let name = tree::name_of(key);
    let dir_key = &key[..key.len() - name.len()];
    let parent = match old.and_then(|old| old.parent) {
        Some(parent) => parent,
        None => match tree::make_dirs(tx, meta, dir_key)? {
            Ok(parent) => parent,
            Err(error) => return Ok(Err(error)),
        },
    };
    let index = meta.etcd_index + 1;
    let body = if new.dir {
        let id = meta.next_dir;
        meta.next_dir += 1;
        Body::Dir(id)
    } else {
        Body::File(new.value.to_owned())
    };
    let stored = Stored {
        created: index,
        modified: index,
        expire_ms: new.expire_ms,
        body,
        long_name: None,
    };
    let node = stored.show(key, now_ms);
    tree::reschedule(
        tx,
        parent,
        key,
        old.and_then(|old| old.stored.expire_ms),
        new.expire_ms,
    )?;
    tree::put(tx, parent, name, stored)?;
    let prev_node = old.map(|old| old.stored.show(key, now_ms));
    Ok(Ok(Done {
        action,
        node,
        prev_node,
        refresh: false,
        removed: Vec::new(),
    }))
}

fn update(
    tx: &mut (impl Write + ?Sized),
    meta: &mut Meta,
    key: &str,
    change: Change<'_>,
    now_ms: u64,
) -> Lookup<Done> {
    if key == "/" {
        return refused(Code::RootReadOnly, "/", meta);
    }
    let old = match tree::find(tx, meta.etcd_index, key)? {
        Ok(old) => old,
        Err(error) => return Ok(Err(error)),
    };
    if old.stored.is_dir() && !change.value.is_empty() {
        return refused(Code::NotFile, key, meta);
    }
    Ok(Ok(rewrite(tx, meta, Action::Update, &old, change, now_ms)?))
}

fn compare_and_swap(
    tx: &mut (impl Write + ?Sized),
    meta: &mut Meta,
    key: &str,
    prev: &Compare,
    change: Change<'_>,
    now_ms: u64,
) -> Lookup<Done> {
    if key == "/" {
        return refused(Code::RootReadOnly, "/", meta);
    }
    match expected(tx, meta, key, prev)? {
        Ok(old) => Ok(Ok(rewrite(
            tx,
            meta,
            Action::CompareAndSwap,
            &old,
            change,
            now_ms,
        )?)),
        Err(error) => Ok(Err(error)),
    }
}

/// Finds the file `key` if it is as `prev` expects: 100, 104, 102 or 101 otherwise.
fn expected(tx: &(impl Write + ?Sized), meta: &Meta, key: &str, prev: &Compare) -> Lookup<Found> {
    let old = match tree::find(tx, meta.etcd_index, key)? {
        Ok(old) => old,
        Err(error) => return Ok(Err(error)),
    };
    if old.stored.is_dir() {
        return refused(Code::NotFile, if key == "/" { "" } else { key }, meta);
    }
    let (value, modified) = (old.stored.value(), old.stored.modified);
    let value_differs = !prev.value.is_empty() && prev.value != value;
    let index_differs = prev.index != 0 && prev.index != modified;
    let cause = match (value_differs, index_differs) {
        (false, false) => return Ok(Ok(old)),
        (true, false) => format!("[{} != {value}]", prev.value),
        (false, true) => format!("[{} != {modified}]", prev.index),
        (true, true) => format!("[{} != {value}] [{} != {modified}]", prev.value, prev.index),
    };
    refused(Code::TestFailed, cause, meta)
}

/// Changes a node in place, keeping its createdIndex. A directory's modifiedIndex stays too, though its event shows the
/// new one: etcd's way.
fn rewrite(
    tx: &mut (impl Write + ?Sized),
    meta: &Meta,
    action: Action,
    old: &Found,
    change: Change<'_>,
    now_ms: u64,
) -> Result<Done, StoreFault> {
    let index = meta.etcd_index + 1;
    let mut new = Stored {
        modified: index,
        expire_ms: change.expire_ms,
        ..old.stored.clone()
    };
    match &mut new.body {
        Body::File(value) if !change.refresh => change.value.clone_into(value),
        Body::File(_) => {}
        Body::Dir(_) => new.modified = old.stored.modified,
    }
    let node = Node {
        modified_index: index,
        ..new.show(&old.key, now_ms)
    };
    let prev_node = Some(old.stored.show(&old.key, now_ms));
    if let Some(parent) = old.parent {
        tree::reschedule(tx, parent, &old.key, old.stored.expire_ms, new.expire_ms)?;
        tree::put(tx, parent, tree::name_of(&old.key), new)?;
    }
    Ok(Done {
        action,
        node,
        prev_node,
        refresh: change.refresh,
        removed: Vec::new(),
    })
}

fn delete(
    tx: &mut (impl Write + ?Sized),
    meta: &mut Meta,
    key: &str,
    dir: bool,
    recursive: bool,
    now_ms: u64,
) -> Lookup<Done> {
    if key == "/" {
        return refused(Code::RootReadOnly, "/", meta);
    }
    let old = match tree::find(tx, meta.etcd_index, key)? {
        Ok(old) => old,
        Err(error) => return Ok(Err(error)),
    };
    if let Body::Dir(id) = old.stored.body {
        if !dir && !recursive {
            return refused(Code::NotFile, key, meta);
        }
        if !recursive && !tree::is_empty(tx, id)? {
            return refused(Code::DirNotEmpty, key, meta);
        }
    }
    Ok(Ok(take_away(tx, meta, Action::Delete, &old, now_ms)?))
}

fn compare_and_delete(
    tx: &mut (impl Write + ?Sized),
    meta: &mut Meta,
    key: &str,
    prev: &Compare,
    now_ms: u64,
) -> Lookup<Done> {
    match expected(tx, meta, key, prev)? {
        Ok(old) => Ok(Ok(take_away(tx, meta, Action::CompareAndDelete, &old, now_ms)?)),
        Err(error) => Ok(Err(error)),
    }
}

fn take_away(
    tx: &mut (impl Write + ?Sized),
    meta: &Meta,
    action: Action,
    old: &Found,
    now_ms: u64,
) -> Result<Done, StoreFault> {
    let removed = tree::remove(tx, old)?;
    let node = Node {
        key: old.key.clone(),
        dir: old.stored.is_dir(),
        modified_index: meta.etcd_index + 1,
        created_index: old.stored.created,
        ..Node::default()
    };
    let prev_node = Some(old.stored.show(&old.key, now_ms));
    Ok(Done {
        action,
        node,
        prev_node,
        refresh: false,
        removed,
    })
}

/// Counts the index up and writes the history.
fn finish(
    tx: &mut (impl Write + ?Sized),
    meta: &mut Meta,
    done: Done,
) -> Result<(Arc<Event>, Option<Notice>), StoreFault> {
    let Done {
        action,
        node,
        prev_node,
        refresh,
        removed,
    } = done;
    let event = Arc::new(Event {
        action,
        node,
        prev_node,
        etcd_index: meta.etcd_index + 1,
    });
    history::record(
        tx,
        meta,
        &Row::Key {
            event: Arc::clone(&event),
            refresh,
        },
    )?;
    let notice = (!refresh).then(|| Notice {
        event: Arc::clone(&event),
        removed,
    });
    Ok((event, notice))
}

fn refused<T>(code: Code, cause: impl Into<String>, meta: &Meta) -> Lookup<T> {
    Ok(Err(Error::new(code, cause, meta.etcd_index)))
}

fn count(meta: &mut Meta, op: &Op, ok: bool) {
    let stats = &mut meta.stats;
    let (success, fail) = match op {
        Op::Set { .. } => (&mut stats.sets_success, &mut stats.sets_fail),
        Op::Create { .. } | Op::CreateInOrder { .. } => (&mut stats.create_success, &mut stats.create_fail),
        Op::Update { .. } => (&mut stats.update_success, &mut stats.update_fail),
        Op::CompareAndSwap { .. } => (
            &mut stats.compare_and_swap_success,
            &mut stats.compare_and_swap_fail,
        ),
        Op::Delete { .. } => (&mut stats.delete_success, &mut stats.delete_fail),
        Op::CompareAndDelete { .. } => (
            &mut stats.compare_and_delete_success,
            &mut stats.compare_and_delete_fail,
        ),
    };
    *(if ok { success } else { fail }) += 1;
}
