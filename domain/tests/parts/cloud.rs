//! A cloud in memory: the ledger's rules in the order in which a push runs through them. It checks the proofs of
//! every reply as a station does, from what the station itself wrote.

use lotgate_domain::chain::Head;
use lotgate_domain::entry::{self, Frame};
use lotgate_domain::ids::{BootId, Epoch, Hash, StationId};
use lotgate_domain::ledger::memory::MemoryStore;
use lotgate_domain::ledger::number::Fresh;
use lotgate_domain::ledger::{self, Authority, Ingested, Leaf, LedgerError, Station, Store, prefix};
use lotgate_domain::merkle;
use lotgate_domain::merkle::proof::{TreeHead, verify_consistency, verify_range};
use lotgate_domain::protocol::push::{LogSeen, PushClock, PushHeader};
use lotgate_domain::protocol::{After, Stopped};
use lotgate_domain::signature::KeyPair;
use lotgate_domain::statement::{self, Receipt, Signed, VerdictBatch, VerdictException};
use lotgate_domain::time::Timestamp;
use pollster::block_on;
use std::collections::BTreeMap;

/// The store, the statement key, and what each station has verified.
pub struct Cloud {
    pub store: MemoryStore,
    pub keys: KeyPair,
    pub pushes: i64,
    /// The station's clock is that many milliseconds ahead.
    pub skew_ms: i64,
    seen: BTreeMap<StationId, (u64, TreeHead)>,
}

/// What a station gets back.
#[derive(Debug)]
pub struct Reply {
    pub through: Head,
    pub branch: u64,
    pub first_index: Option<u64>,
    pub stopped: Option<Stopped>,
    pub verdicts: Vec<Signed<VerdictBatch>>,
    pub receipt: Option<Signed<Receipt>>,
    pub tree: Option<TreeHead>,
}

impl Reply {
    /// The codes of the exceptions of its verdicts, in order.
    pub fn codes(&self) -> Vec<&str> {
        self.verdicts.iter().flat_map(|batch| &batch.value.exceptions).map(|e| e.code.as_str()).collect()
    }
}

impl Cloud {
    pub fn new() -> Self {
        let (store, keys) = (MemoryStore::new([]), KeyPair::from_seed(&[200; 32]));
        Self { store, keys, pushes: 0, skew_ms: 0, seen: BTreeMap::new() }
    }

    fn now(&self) -> Timestamp {
        Timestamp::from_unix_ms(1_700_000_000_000 + self.pushes)
    }

    fn header(&self, station: &Station, epoch: Epoch, after: After, count: usize) -> PushHeader {
        let wall = self.now().plus_ms(self.skew_ms);
        let clock = PushClock { wall, mono_ms: 0, boot: BootId::from_parts(4, &[4; 10]) };
        let log = self.seen.get(&station.id);
        let log = log.map(|(generation, head)| LogSeen { generation: *generation, size: head.size });
        PushHeader { v: 1, epoch, after, count: count.try_into().unwrap(), clock, log }
    }

    /// T1 alone: `None` is a head mismatch.
    pub fn take(
        &mut self,
        station: &Station,
        epoch: Epoch,
        after: After,
        entries: &[Vec<u8>],
    ) -> Option<Ingested> {
        self.pushes += 1;
        self.store.stations.entry(station.id).or_insert_with(|| station.clone());
        let known = self.store.stations[&station.id].clone();
        let header = self.header(station, epoch, after, entries.len());
        let checked = entries
            .iter()
            .map(|bytes| prefix::check(&Frame::read(bytes).unwrap(), &known, prefix::verify_signature))
            .collect();
        let now = self.now();
        match block_on(ledger::ingest(&mut self.store, &known, &header, checked, now)) {
            Ok(ingested) => Some(ingested),
            Err(LedgerError::HeadMismatch) => None,
            Err(error) => panic!("{error}"),
        }
    }

    /// T2: numbers all that waits.
    pub fn number(&mut self) {
        let (now, keys) = (self.now(), KeyPair::from_seed(&self.keys.seed()));
        let tenant = self.store.stations.values().next().unwrap().tenant;
        let authority = Authority { tenant, keys: &keys };
        while block_on(ledger::number(&mut self.store, &authority, Fresh::new(), now)).unwrap() > 0 {}
    }

    /// Pushes `entries` after (`seq`, `hash`) of `epoch`; `None` is a head mismatch.
    pub fn push(
        &mut self,
        station: &Station,
        epoch: Epoch,
        after: After,
        entries: &[Vec<u8>],
    ) -> Option<Reply> {
        let ingested = self.take(station, epoch, after, entries)?;
        self.number();
        let header = self.header(station, epoch, after, entries.len());
        let (now, keys) = (self.now(), KeyPair::from_seed(&self.keys.seed()));
        let authority = Authority { tenant: station.tenant, keys: &keys };
        let answer =
            block_on(ledger::answer(&mut self.store, &authority, station.id, &header, &ingested, now))
                .unwrap();
        let (tenant, key) = (station.tenant, keys.public());
        let verdicts: Vec<Signed<VerdictBatch>> = answer
            .verdicts
            .iter()
            .map(|batch| statement::read(&batch.bytes, tenant, &key).unwrap())
            .collect();
        if let Some(row) = &answer.tree {
            let own: Vec<Hash> = entries.iter().map(|bytes| entry::hash(bytes)).collect();
            let mut proven = std::collections::BTreeSet::new();
            for (batch, range) in verdicts.iter().zip(&answer.ranges) {
                let leaves = self.operations(&batch.value);
                assert_eq!(leaves[0].1, range.first_seq);
                let hashes = leaves.iter().map(|(hash, _)| *hash).chain([batch.hash]);
                verify_range(row.head, batch.value.first, hashes, &range.hashes).expect("a range proof");
                proven.extend(leaves.iter().map(|(hash, _)| *hash));
            }
            let held = usize::try_from(ingested.through.seq - after.seq).unwrap();
            assert!(own[..held].iter().all(|hash| proven.contains(hash)), "each entry held is proven");
            if let Some((generation, seen)) = self.seen.get(&station.id)
                && *generation == row.generation
                && seen.size != row.head.size
            {
                let proof = answer.consistency.iter().find(|proof| proof.from == seen.size).expect("a proof");
                verify_consistency(*seen, row.head, &proof.hashes).expect("a consistency proof");
            }
            self.seen.insert(station.id, (row.generation, row.head));
        }
        let first_index = answer.tree.as_ref().filter(|_| ingested.new.is_some()).map(|row| row.first_index);
        Some(Reply {
            through: ingested.through,
            branch: ingested.branch,
            first_index,
            stopped: ingested.stopped,
            verdicts,
            receipt: answer.receipt.map(|bytes| statement::read(&bytes, tenant, &key).unwrap()),
            tree: answer.tree.map(|row| row.head),
        })
    }

    /// Hashes and places of the operations that a batch covers.
    fn operations(&self, batch: &VerdictBatch) -> Vec<(Hash, u64)> {
        let leaves = (batch.first..batch.first + batch.count)
            .map(|index| &self.store.leaves[usize::try_from(index).unwrap()]);
        let place = |leaf: &Leaf| match leaf {
            Leaf::Operation { entry, .. } => (entry.hash, entry.seq),
            other => panic!("{other:?} in a verdict batch"),
        };
        leaves.map(place).collect()
    }

    /// Pushes from the station's certificate.
    pub fn push_all(&mut self, station: &Station, epoch: Epoch, entries: &[Vec<u8>]) -> Reply {
        self.push(station, epoch, After { seq: 0, hash: station.certificate }, entries).unwrap()
    }

    /// Every numbered operation: its bytes and the code of its exception, in order of log index.
    pub fn judged(&self) -> Vec<(Vec<u8>, Option<String>)> {
        let operation = |leaf: &Leaf| match leaf {
            Leaf::Operation { entry, exception, .. } => {
                Some((entry.bytes.clone(), exception.as_ref().map(|e| e.code.clone())))
            }
            Leaf::Verdicts { .. } | Leaf::Certificate { .. } | Leaf::Statement { .. } => None,
        };
        self.store.leaves.iter().filter_map(operation).collect()
    }

    /// Kinds of the statements that are leaves of their own.
    pub fn statements(&self) -> Vec<&'static str> {
        let kind = |leaf: &Leaf| match leaf {
            Leaf::Statement { kind, .. } => Some(*kind),
            _ => None,
        };
        self.store.leaves.iter().filter_map(kind).collect()
    }

    /// Checks what holds of every log: indexes without holes, each operation covered by exactly the verdict batch
    /// that is the next one after it
    pub fn check(&mut self, station: &Station) {
        let Ok(waiting) = block_on(self.store.waiting(u64::MAX));
        assert!(waiting.is_empty(), "{waiting:?}");
        let root = merkle::root(self.store.leaves.iter().map(Leaf::hash));
        let size = u64::try_from(self.store.leaves.len()).unwrap();
        let newest = self.store.rows.last().map(|row| row.head);
        assert_eq!(newest.unwrap_or(TreeHead { size: 0, root: merkle::fold(&[]) }), TreeHead { size, root });
        let mut uncovered: Vec<(u64, Option<VerdictException>)> = Vec::new();
        let mut places = std::collections::BTreeSet::new();
        for (place, leaf) in (0..).zip(&self.store.leaves) {
            assert_eq!(leaf.index(), place, "a hole in the log");
            match leaf {
                Leaf::Operation { exception, station, branch, entry, .. } => {
                    assert!(places.insert((*station, entry.epoch.n, *branch, entry.seq)), "a place twice");
                    uncovered.push((place, exception.clone()));
                }
                Leaf::Verdicts { batch, hash, bytes, .. } => {
                    let signed = statement::read::<VerdictBatch>(bytes, station.tenant, &self.keys.public());
                    assert_eq!(signed.unwrap().hash, *hash, "leaf hash of the verdicts");
                    assert_eq!(batch.first + batch.count, place, "verdicts stand directly after");
                    let exceptions: Vec<_> = uncovered.iter().filter_map(|(_, e)| e.clone()).collect();
                    assert_eq!(batch.exceptions, exceptions, "in order of index");
                    assert_eq!(uncovered.first().map(|(first, _)| *first), Some(batch.first));
                    uncovered.clear();
                }
                Leaf::Certificate { .. } | Leaf::Statement { .. } => {
                    assert!(uncovered.is_empty(), "nothing stands between operations and their verdicts");
                }
            }
        }
        assert!(uncovered.is_empty(), "operations without a verdict");
        let mut previous = Hash::ZERO;
        for kept in self.store.receipts.iter().filter(|kept| kept.station == station.id) {
            let receipt =
                statement::read::<Receipt>(&kept.bytes, station.tenant, &self.keys.public()).unwrap();
            assert_eq!((receipt.value.station, receipt.value.previous), (kept.station, previous));
            previous = kept.hash;
        }
    }
}
