//! A cloud in memory: the ledger's rules in the order in which a push runs through them.

use lotgate_domain::entry::Frame;
use lotgate_domain::ids::{Epoch, Hash};
use lotgate_domain::ledger::memory::MemoryStore;
use lotgate_domain::ledger::{self, Authority, Leaf, LedgerError, Station, prefix};
use lotgate_domain::protocol::push::{PushClock, PushHeader};
use lotgate_domain::protocol::{After, Stopped};
use lotgate_domain::signature::KeyPair;
use lotgate_domain::statement::{self, Receipt, Signed, VerdictBatch};
use lotgate_domain::time::Timestamp;
use pollster::block_on;

/// The store, the statement key and how often it was pushed to.
pub struct Cloud {
    pub store: MemoryStore,
    pub keys: KeyPair,
    pub pushes: i64,
}

/// What a station gets back.
#[derive(Debug)]
pub struct Reply {
    pub through: lotgate_domain::chain::Head,
    pub first_index: Option<u64>,
    pub stopped: Option<Stopped>,
    pub verdicts: Vec<Signed<VerdictBatch>>,
    pub receipt: Option<Signed<Receipt>>,
}

impl Cloud {
    pub fn new() -> Self {
        Self { store: MemoryStore::default(), keys: KeyPair::from_seed(&[200; 32]), pushes: 0 }
    }

    /// Pushes `entries` after (`seq`, `hash`) of `epoch`; `None` is a head mismatch.
    pub fn push(
        &mut self,
        station: &Station,
        epoch: Epoch,
        after: After,
        entries: &[Vec<u8>],
    ) -> Option<Reply> {
        self.pushes += 1;
        let now = Timestamp::from_unix_ms(1_700_000_000_000 + self.pushes);
        let count = u64::try_from(entries.len()).unwrap();
        let clock =
            PushClock { wall: now, mono_ms: 0, boot: lotgate_domain::ids::BootId::from_parts(4, &[4; 10]) };
        let header = PushHeader { v: 1, epoch, after, count, clock };
        let authority = Authority { tenant: station.tenant, keys: &self.keys };
        let checked = entries
            .iter()
            .map(|bytes| prefix::check(&Frame::read(bytes).unwrap(), station, prefix::verify_signature))
            .collect();
        let store = &mut self.store;
        let ingested = match block_on(ledger::ingest(store, station, &header, checked)) {
            Ok(ingested) => ingested,
            Err(LedgerError::HeadMismatch) => return None,
            Err(error) => panic!("{error}"),
        };
        let applied = block_on(ledger::apply(store, &authority, station, ingested.new)).unwrap();
        let receipt =
            block_on(ledger::receipt(store, &authority, station, &ingested.through, applied.as_ref(), now))
                .unwrap();
        let last = after.seq.saturating_add(count);
        let Ok(verdicts) = block_on(ledger::Store::verdicts(store, station.id, epoch, after.seq + 1, last));
        let (tenant, key) = (station.tenant, self.keys.public());
        Some(Reply {
            through: ingested.through,
            first_index: applied.map(|applied| applied.first_index),
            stopped: ingested.stopped,
            verdicts: verdicts.iter().map(|bytes| statement::read(bytes, tenant, &key).unwrap()).collect(),
            receipt: receipt.map(|bytes| statement::read(&bytes, tenant, &key).unwrap()),
        })
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
            Leaf::Verdicts { .. } => None,
        };
        self.store.leaves.iter().filter_map(|(_, leaf)| operation(leaf)).collect()
    }

    /// Checks what holds of every log: indexes without holes, each operation covered by exactly the verdict
    /// batch that is the next one after it, receipts that name the one before.
    pub fn check(&self, station: &Station) {
        let mut uncovered = Vec::new();
        for (place, (_, leaf)) in self.store.leaves.iter().enumerate() {
            let place = u64::try_from(place).unwrap();
            match leaf {
                Leaf::Operation { index, exception, .. } => {
                    assert_eq!(*index, place, "a hole in the log");
                    uncovered.push((place, exception.clone()));
                }
                Leaf::Verdicts { index, batch, hash, bytes } => {
                    assert_eq!(*index, place, "a hole in the log");
                    let signed = statement::read::<VerdictBatch>(bytes, station.tenant, &self.keys.public());
                    assert_eq!(signed.unwrap().hash, *hash, "leaf hash of the verdicts");
                    assert_eq!(batch.first + batch.count, place, "verdicts stand directly after");
                    let exceptions: Vec<_> = uncovered.iter().filter_map(|(_, e)| e.clone()).collect();
                    assert_eq!(batch.exceptions, exceptions, "in order of index");
                    assert_eq!(uncovered.first().map(|(first, _)| *first), Some(batch.first));
                    uncovered.clear();
                }
            }
        }
        assert!(uncovered.is_empty(), "operations without a verdict");
        let mut previous = Hash::ZERO;
        for (of, hash, bytes) in self.store.receipts.iter().filter(|(of, ..)| *of == station.id) {
            let receipt = statement::read::<Receipt>(bytes, station.tenant, &self.keys.public()).unwrap();
            assert_eq!((receipt.value.station, receipt.value.previous), (*of, previous));
            previous = *hash;
        }
    }
}
