//! The same again from what was kept: from the log alone, and with other clocks.

use lotgate_domain::entry::Frame;
use lotgate_domain::ids::{Hash, PublicKey, StationId};
use lotgate_domain::ledger::memory::MemoryStore;
use lotgate_domain::ledger::number::{Fresh, number};
use lotgate_domain::ledger::{Ingested, Leaf, Station, Store as _, Tree, TreeRow, ingest, prefix};
use lotgate_domain::merkle::proof::TreeHead;
use lotgate_domain::operation;
use lotgate_domain::protocol::After;
use lotgate_domain::protocol::push::{PushClock, PushHeader};
use lotgate_domain::statement::Statement as _;
use lotgate_domain::statement::event::ForkFound;
use lotgate_domain::time::Timestamp;

use super::cloud::Cloud;
use super::dice::Dice;
use super::{Wrong, ready};

/// In one of so many seeds every signature of the log is verified once more.
const VERIFIED: u64 = 8;

/// The store before any operation: the stations, and the certificates that are in the log before.
fn empty(cloud: &Cloud) -> MemoryStore {
    let mut store = MemoryStore::new(cloud.store.stations.values().cloned());
    store.generation = cloud.store.generation;
    store.blocked.clone_from(&cloud.store.blocked);
    store
}

/// The key that the entry names; that it signed was checked before.
fn named(frame: &Frame<'_>, station: &Station) -> Option<PublicKey> {
    let header = operation::read(frame).ok()?.header;
    station.keys().map(|known| known.key).find(|key| key.key_id() == header.key)
}

/// T1 of entries of one epoch that follow each other.
fn take(
    store: &mut MemoryStore,
    station: StationId,
    entries: &[Vec<u8>],
    (wall, now): (Timestamp, Timestamp),
    verify: prefix::Verify,
) -> Result<Ingested, Wrong> {
    let station = store.stations[&station].clone();
    let frames: Vec<Frame<'_>> = entries.iter().map(|bytes| Frame::read(bytes).unwrap()).collect();
    let first = operation::read(&frames[0]).unwrap().header;
    let after = After { seq: first.seq - 1, hash: first.prev };
    let clock = PushClock { wall, mono_ms: 0, boot: lotgate_domain::ids::BootId::from_parts(1, &[1; 10]) };
    let count = entries.len() as u64;
    let header = PushHeader { v: 1, epoch: first.epoch, after, count, clock, log: None };
    let checked = frames.iter().map(|frame| prefix::check(frame, &station, verify)).collect();
    ready(ingest(store, &station, &header, checked, now)).map_err(|error| Wrong::new("g", error.to_string()))
}

/// (c), (g): the log is read from its first leaf; every chain in it verifies, and what it gives is what the cloud has.
pub(crate) fn from_log(cloud: &Cloud, seed: u64) -> Result<(), Wrong> {
    // T1 has verified each of these signatures before it stored the same bytes.
    let verify = if seed.is_multiple_of(VERIFIED) { prefix::verify_signature } else { named };
    let mut store = empty(cloud);
    let mut run: Vec<Leaf> = Vec::new();
    for leaf in &cloud.store.leaves {
        let fork = matches!(leaf, Leaf::Statement { kind, .. } if *kind == ForkFound::KIND);
        run.push(leaf.clone());
        if matches!(leaf, Leaf::Operation { .. }) || fork {
            continue;
        }
        let leaves = std::mem::take(&mut run);
        append_run(&mut store, leaves, verify)?;
    }
    if !run.is_empty() {
        return Err(Wrong::new("f", "the log ends without a verdict"));
    }
    let same = |id: &StationId| {
        let stored = |store: &MemoryStore| {
            store.entries(*id).map(|(place, entry)| (place, entry.clone())).collect::<Vec<_>>()
        };
        stored(&store) == stored(&cloud.store)
    };
    let root = |store: &MemoryStore| store.rows.last().map(|row| row.head);
    if !cloud.store.stations.keys().all(same) || root(&store) != root(&cloud.store) {
        return Err(Wrong::new("g", "what the log gives is not what the cloud has"));
    }
    Ok(())
}

/// The leaves of one batch, or one leaf that is none.
fn append_run(store: &mut MemoryStore, leaves: Vec<Leaf>, verify: prefix::Verify) -> Result<(), Wrong> {
    let operations = leaves.iter().filter_map(|leaf| match leaf {
        Leaf::Operation { station, branch, entry, .. } => Some((*station, *branch, entry.bytes.clone())),
        _ => None,
    });
    let operations: Vec<_> = operations.collect();
    let mut batch = None;
    if let Some((station, branch, _)) = operations.first() {
        let entries: Vec<Vec<u8>> = operations.iter().map(|(_, _, bytes)| bytes.clone()).collect();
        let time = Timestamp::from_unix_ms(0);
        let ingested = take(store, *station, &entries, (time, time), verify)?;
        let forks = leaves.iter().any(|leaf| matches!(leaf, Leaf::Statement { .. }));
        let Some((new, kept)) = ingested.new else {
            return Err(Wrong::new("g", "a batch of the log is not new"));
        };
        if kept.len() != entries.len() || new.branch != *branch || new.fork.is_some() != forks {
            let index = leaves[0].index();
            return Err(Wrong::new("g", format!("the batch at leaf {index} is taken otherwise: {new:?}")));
        }
        batch = Some((*station, new.arrival));
    }
    let Ok(Tree { mut frontier, generation }) = ready(store.tree());
    let (first_index, mut nodes) = (frontier.size(), Vec::new());
    for leaf in &leaves {
        frontier.append(leaf.hash(), |id, hash| nodes.push((id, hash)));
    }
    let head = TreeHead { size: frontier.size(), root: frontier.root() };
    let row = TreeRow { generation, head, batch, first_index, previous_size: 0 };
    let Ok(()) = ready(store.append(&leaves, &nodes, &Tree { generation, frontier }, &row));
    Ok(())
}

/// (j): what was taken is taken the same, and in the same order, whatever the clocks of stations and cloud say.
pub(crate) fn with_other_clocks(cloud: &Cloud, seed: u64) -> Result<(), Wrong> {
    let mut store = empty(cloud);
    let mut dice = Dice::new(seed, 3);
    let mut wall = |time: Timestamp| {
        let years = i64::try_from(dice.below(40)).unwrap() - 20;
        time.plus_ms(years * 365 * 86_400_000)
    };
    for taking in &cloud.takings {
        let clocks = (wall(taking.header.clock.wall), wall(taking.now));
        let ingested = take(&mut store, taking.station, &taking.entries, clocks, named)?;
        let same = ingested.new.is_some_and(|(batch, entries)| {
            batch.arrival == taking.arrival && entries.len() == taking.entries.len()
        });
        if !same {
            return Err(Wrong::new(
                "j",
                format!("batch {} is taken otherwise with other clocks", taking.arrival),
            ));
        }
    }
    let authority = cloud.tenant.authority();
    while ready(number(&mut store, &authority, Fresh::default(), wall(Timestamp::from_unix_ms(0)))).unwrap()
        > 0
    {}
    let order = |store: &MemoryStore| {
        let operations = store.leaves.iter().filter(|leaf| matches!(leaf, Leaf::Operation { .. }));
        operations.map(Leaf::hash).collect::<Vec<Hash>>()
    };
    if order(&store) == order(&cloud.store) {
        Ok(())
    } else {
        Err(Wrong::new("j", "with other clocks the log has another order"))
    }
}
