//! The tenant's log as a test keeps it: the cloud's answers with their proofs, made the slow and plain way.

use super::Tenant;
use lotgate_domain::chain::Head;
use lotgate_domain::ids::{Epoch, Hash, StationId};
use lotgate_domain::merkle::checkpoint::Checkpoint;
use lotgate_domain::merkle::proof::TreeHead;
use lotgate_domain::merkle::{self, NodeId, Span};
use lotgate_domain::protocol::proof::{ConsistencyProof, LogProof, RangeProof};
use lotgate_domain::protocol::push::LogSeen;
use lotgate_domain::protocol::{HexBytes, PushReply};
use lotgate_domain::statement::event::LogRecovered;
use lotgate_domain::statement::{self, Statement as _, VerdictBatch, VerdictException};
use lotgate_domain::time::Timestamp;
use lotgate_sync::engine::answer::{self, Expected, Pushed, Sent};
use lotgate_sync::queue::{OwnHashes, Queue, Settlement};

/// A verdict batch with where it lies.
#[derive(Clone)]
pub struct TestBatch {
    pub epoch: Epoch,
    pub first_seq: u64,
    /// How many of this station's entries it covers.
    pub count: u64,
    /// What else it covers, after them.
    pub rest: Vec<Hash>,
    pub index: u64,
    pub bytes: Vec<u8>,
}

impl TestBatch {
    /// The index after its verdict leaf.
    fn end(&self) -> u64 {
        self.index + self.count + self.rest.len() as u64 + 1
    }
}

/// See the module.
#[derive(Clone)]
pub struct TestLog {
    pub generation: u64,
    pub leaves: Vec<Hash>,
    pub batches: Vec<TestBatch>,
    pub recovered: Vec<Vec<u8>>,
}

impl TestLog {
    pub fn new() -> Self {
        let leaves = (0..5_u8).map(|n| Hash::of(&[n])).collect();
        Self { generation: 1, leaves, batches: Vec::new(), recovered: Vec::new() }
    }

    pub fn head(&self) -> TreeHead {
        TreeHead { size: self.leaves.len() as u64, root: merkle::root(self.leaves.iter().copied()) }
    }

    pub fn head_of(&self, size: u64) -> TreeHead {
        TreeHead { size, root: merkle::root(self.leaves[..size as usize].iter().copied()) }
    }

    /// Leaves that are not this station's.
    pub fn grow(&mut self, count: u64) {
        for n in 0..count {
            self.leaves.push(Hash::of(&[self.leaves.len() as u64 + n, count].map(u64::to_be_bytes).concat()));
        }
    }

    fn node(&self, id: NodeId) -> Hash {
        let (first, width) = (id.first() as usize, id.width() as usize);
        merkle::root(self.leaves[first..first + width].iter().copied())
    }

    pub fn range(&self, first: u64, end: u64) -> Vec<Hash> {
        let nodes = merkle::range_nodes(Span { first, end }, self.leaves.len() as u64).unwrap();
        nodes.into_iter().map(|id| self.node(id)).collect()
    }

    pub fn consistency(&self, from: u64) -> ConsistencyProof {
        let spans = merkle::consistency_spans(from, self.leaves.len() as u64).unwrap();
        let root =
            |span: Span| merkle::root(self.leaves[span.first as usize..span.end as usize].iter().copied());
        ConsistencyProof { from, hashes: spans.into_iter().map(root).collect() }
    }
}

impl Tenant {
    /// Ingests own entries `first_seq` to `through` of an epoch, as far as they are new, and answers for them.
    pub fn push(
        &self,
        station: StationId,
        own: &OwnHashes,
        through: Head,
        told: Option<LogSeen>,
        exceptions: Vec<VerdictException>,
        time: Timestamp,
    ) -> PushReply {
        let mut log = self.log_book.lock().unwrap();
        let epoch = through.epoch.unwrap();
        let stored = log.batches.iter().filter(|batch| batch.epoch == epoch);
        let held = stored.map(|batch| batch.first_seq + batch.count - 1).max().unwrap_or(0);
        if through.seq > held {
            let first_seq = (held + 1).max(own.first_seq);
            let new = own.slice(first_seq, through.seq + 1 - first_seq).unwrap();
            self.number(&mut log, epoch, (first_seq, new), Vec::new(), exceptions);
        }
        let touches = |batch: &&TestBatch| {
            batch.epoch == epoch
                && batch.first_seq <= through.seq
                && batch.first_seq + batch.count > own.first_seq
        };
        let touched: Vec<_> = log.batches.iter().filter(touches).cloned().collect();
        let hashes = touched.iter().map(|batch| lotgate_domain::entry::hash(&batch.bytes)).collect();
        let receipt = self.receipt(station, through, Hash::ZERO, hashes, time);
        let proof = (!touched.is_empty()).then(|| self.proof(&log, &touched, told));
        PushReply {
            accepted_through: through,
            first_index: None,
            stopped: None,
            branch: 0,
            verdicts: touched.into_iter().map(|batch| HexBytes(batch.bytes)).collect(),
            receipt: Some(HexBytes(receipt.bytes)),
            proof,
        }
    }

    /// Puts entries of this station, and `rest` after them, into the log with one verdict batch.
    pub fn number(
        &self,
        log: &mut TestLog,
        epoch: Epoch,
        (first_seq, own): (u64, &[Hash]),
        rest: Vec<Hash>,
        exceptions: Vec<VerdictException>,
    ) {
        let (index, count) = (log.leaves.len() as u64, own.len() as u64);
        log.leaves.extend(own.iter().chain(&rest));
        let batch = self.signed(&VerdictBatch {
            v: 1,
            kind: VerdictBatch::KIND.to_owned(),
            tenant: self.id,
            key: self.statement.public().key_id(),
            first: index,
            count: count + rest.len() as u64,
            exceptions: exceptions
                .into_iter()
                .map(|exception| VerdictException { index: index + exception.index, ..exception })
                .collect(),
            supersedes: Vec::new(),
        });
        log.leaves.push(batch.hash);
        log.batches.push(TestBatch { epoch, first_seq, count, rest, index, bytes: batch.bytes });
    }

    pub fn proof(&self, log: &TestLog, touched: &[TestBatch], told: Option<LogSeen>) -> LogProof {
        let range = |batch: &TestBatch| RangeProof {
            first_seq: batch.first_seq,
            hashes: log.range(batch.index, batch.end()),
            rest: batch.rest.clone(),
        };
        let mut recovered = Vec::new();
        let mut froms: Vec<u64> = told.iter().map(|told| told.size).collect();
        for bytes in &log.recovered {
            let value = statement::read::<LogRecovered>(bytes, self.id, &self.root.public()).unwrap().value;
            if told.is_some_and(|told| value.generation > told.generation) {
                recovered.push(HexBytes(bytes.clone()));
                froms.push(value.restored.size);
            }
        }
        froms.retain(|from| *from < log.leaves.len() as u64);
        LogProof {
            checkpoint: self.note(log),
            ranges: touched.iter().map(range).collect(),
            consistency: froms.into_iter().map(|from| log.consistency(from)).collect(),
            recovered,
        }
    }

    pub fn note(&self, log: &TestLog) -> String {
        Checkpoint { tenant: self.id, generation: log.generation, head: log.head() }.sign(&self.log)
    }

    /// Puts the cloud back to a log of `size` leaves, as two people decided; gives their statement.
    pub fn restore(&self, size: u64) -> Vec<u8> {
        let mut log = self.log_book.lock().unwrap();
        let known = log.head();
        log.leaves.truncate(size as usize);
        log.batches.retain(|batch| batch.end() <= size);
        log.generation += 1;
        let recovered = LogRecovered {
            v: 1,
            kind: LogRecovered::KIND.to_owned(),
            tenant: self.id,
            key: self.root.public().key_id(),
            generation: log.generation,
            restored: log.head(),
            known,
            reason: "the disk failed".to_owned(),
            people: ["A. Keller".to_owned(), "B. Roth".to_owned()],
            time: Timestamp::from_unix_ms(super::NOON),
        };
        let bytes = statement::sign(&recovered, &self.root).unwrap();
        log.leaves.push(lotgate_domain::entry::hash(&bytes));
        log.recovered.push(bytes.clone());
        bytes
    }

    /// The settlement of everything up to `through` that is not settled, on the whole way that a station takes.
    pub async fn settlement(
        &self,
        queue: &Queue,
        through: Head,
        exceptions: Vec<VerdictException>,
        time: Timestamp,
    ) -> Settlement {
        self.try_settlement(queue, through, exceptions, time).await.expect("a queue that answers")
    }

    /// The same of a queue whose disk may fail; `None` if it did.
    pub async fn try_settlement(
        &self,
        queue: &Queue,
        through: Head,
        exceptions: Vec<VerdictException>,
        time: Timestamp,
    ) -> Option<Settlement> {
        let identity = queue.identity();
        let known = queue.state().borrow().log;
        let epoch = through.epoch.unwrap();
        let settled = queue.hashes(epoch, 1, 1).await.ok()?.settled_through;
        let after = if queue.holds(through).await.ok()? { settled.min(through.seq) } else { through.seq };
        let own = queue.hashes(epoch, after + 1, through.seq - after).await.ok()?;
        if own.hashes.is_empty() {
            let receipt = self.receipt(identity.station, through, Hash::ZERO, Vec::new(), time);
            return Some(Settlement { epoch, receipt, verdicts: Vec::new(), log: None });
        }
        let reply = self.push(identity.station, &own, through, known.seen(), exceptions, time);
        let expected = Expected { trust: &identity.trust, station: identity.station, site: identity.site.id };
        let sent = Sent { epoch, after, last: through.seq, told: known.seen() };
        let Pushed::Claimed(claim) = answer::check_push(expected, sent, known, &reply).unwrap() else {
            panic!("a claim");
        };
        let (first, count) = claim.wanted().unwrap();
        let own = queue.hashes(epoch, first, count).await.ok()?;
        Some(claim.prove(&own).unwrap())
    }
}
