//! The machines that have what `MachineMetadata=` asks for, by load: one pool for each distinct wish, so that neither
//! finding the least loaded nor telling how many machines lack what looks at all of them.

use std::collections::{BTreeMap, BTreeSet};

use corten_spec::machine::{Machine, MetadataRequirements};
use slab::Slab;

use crate::cluster::Spot;
use crate::key::{Key, MachineIx};

/// A pool's position.
pub type PoolIx = u32;

/// One wish and the machines that meet it.
#[derive(Debug)]
pub struct Pool {
    /// The wish.
    pub asks: MetadataRequirements,
    /// Those that meet it, by id.
    pub by_id: BTreeSet<Key>,
    /// For each key of the wish, how many machines lack it and none before it.
    pub lacking: Vec<usize>,
    by_load: BTreeSet<(usize, Key)>,
    users: usize,
}

impl Pool {
    /// Its machines, least loaded first, ties by lowest id.
    pub fn least_loaded(&self) -> impl Iterator<Item = MachineIx> + '_ {
        self.by_load.iter().map(|(_, key)| key.ix)
    }

    fn join(&mut self, ix: PoolIx, spot: &mut Spot) {
        match first_lack(&self.asks, &spot.machine) {
            Some(at) => self.lacking[at] += 1,
            None => {
                self.by_id.insert(spot.key.clone());
                self.by_load.insert((spot.load(), spot.key.clone()));
                spot.pools.push(ix);
            }
        }
    }
}

/// The position of the first key of `asks` that `machine` does not have a wanted value of.
fn first_lack(asks: &MetadataRequirements, machine: &Machine) -> Option<usize> {
    asks.iter()
        .position(|(key, wanted)| !machine.metadata.get(key).is_some_and(|has| wanted.contains(has)))
}

/// All pools.
#[derive(Debug, Default)]
pub struct Pools {
    pools: Slab<Pool>,
    ids: BTreeMap<MetadataRequirements, PoolIx>,
}

impl Pools {
    /// The pool of a wish, made if it is the first of its kind; to be given back with [`Pools::release`].
    pub fn acquire(&mut self, asks: &MetadataRequirements, machines: &mut Slab<Spot>) -> PoolIx {
        if let Some(ix) = self.ids.get(asks) {
            self.pools[*ix as usize].users += 1;
            return *ix;
        }
        let pool = Pool {
            asks: asks.clone(),
            by_id: BTreeSet::new(),
            lacking: vec![0; asks.len()],
            by_load: BTreeSet::new(),
            users: 1,
        };
        let ix = self.pools.insert(pool) as PoolIx;
        for (_, spot) in machines.iter_mut() {
            self.pools[ix as usize].join(ix, spot);
        }
        self.ids.insert(asks.clone(), ix);
        ix
    }

    /// Gives a pool back; the last one does away with it.
    pub fn release(&mut self, ix: PoolIx, machines: &mut Slab<Spot>) {
        let pool = &mut self.pools[ix as usize];
        pool.users -= 1;
        if pool.users > 0 {
            return;
        }
        let pool = self.pools.remove(ix as usize);
        self.ids.remove(&pool.asks);
        for key in pool.by_id {
            machines[key.ix as usize].pools.retain(|other| *other != ix);
        }
    }

    /// A machine joins every pool whose wish it meets.
    pub fn join(&mut self, spot: &mut Spot) {
        for (ix, pool) in self.pools.iter_mut() {
            pool.join(ix as PoolIx, spot);
        }
    }

    /// A machine leaves all pools.
    pub fn leave(&mut self, spot: &mut Spot) {
        spot.pools.clear();
        for (_, pool) in self.pools.iter_mut() {
            match first_lack(&pool.asks, &spot.machine) {
                Some(at) => pool.lacking[at] -= 1,
                None => {
                    pool.by_id.remove(&spot.key);
                    pool.by_load.remove(&(spot.load(), spot.key.clone()));
                }
            }
        }
    }

    /// A machine's load was `before` and is what it is now.
    pub fn reload(&mut self, before: usize, spot: &Spot) {
        let old = (before, spot.key.clone());
        for ix in &spot.pools {
            let pool = &mut self.pools[*ix as usize];
            pool.by_load.remove(&old);
            pool.by_load.insert((spot.load(), spot.key.clone()));
        }
    }

    /// A pool.
    pub fn get(&self, ix: PoolIx) -> &Pool {
        &self.pools[ix as usize]
    }
}
