//! The cloud: the real rules on the store in memory, in the two transactions of PROTOCOL §3, and what the real one
//! does around them for the other calls.

use lotgate_domain::chain::Head;
use lotgate_domain::ids::{Hash, PublicKey, StationId};
use lotgate_domain::ledger::memory::MemoryStore;
use lotgate_domain::ledger::number::{Fresh, Single};
use lotgate_domain::ledger::{self, Answer as Proof, Ingested, LedgerError, Station, StationKey, Store as _};
use lotgate_domain::ledger::{ingest, prefix};
use lotgate_domain::merkle::checkpoint::Checkpoint;
use lotgate_domain::merkle::proof::TreeHead;
use lotgate_domain::merkle::{self, Frontier};
use lotgate_domain::operation::body::ChainPoint;
use lotgate_domain::protocol::care::{EvidenceReply, HeartbeatReply, RotateReply, RotateRequest};
use lotgate_domain::protocol::problem::ProblemCode;
use lotgate_domain::protocol::proof::LogProof;
use lotgate_domain::protocol::push::{PushHeader, PushRequest};
use lotgate_domain::protocol::{FeedReply, HeadReply, HexBytes, Limits, PushReply, StopCode};
use lotgate_domain::reference::{Item, Lot, LotStatus, ReferenceFile, feed_next, feed_start, render_page};
use lotgate_domain::signature::{self, Context, PreparedKey};
use lotgate_domain::statement::event::{Closing, KeyRotated, LogRecovered, StationClosed, TimeStatement};
use lotgate_domain::statement::{self, FeedPoint, Statement as _};
use lotgate_domain::time::Timestamp;
use lotgate_sync::engine::failure::{Failure, FailureCode};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::network::{Answer, Outcome, Request};
use super::ready;
use super::tenant::{Issued, NOON, Tenant};

/// Small, so that a queue takes several batches to drain.
pub(crate) const LIMITS: Limits = Limits { entries: 8, bytes: 1 << 20, in_flight: 3 };
/// Nothing is pruned.
const RESTORE_WINDOW_S: u64 = 30 * 86_400;
/// The lots of the plant.
pub(crate) const LOTS: [&str; 4] = ["LOT-A", "LOT-B", "LOT-C", "LOT-D"];
/// What they are lots of.
pub(crate) const ITEM: &str = "MATERIAL";

/// What T1 took that was new, as the oracle needs it.
#[derive(Debug)]
pub(crate) struct Taking {
    pub(crate) station: StationId,
    pub(crate) header: PushHeader,
    pub(crate) entries: Vec<Vec<u8>>,
    pub(crate) now: Timestamp,
    pub(crate) arrival: u64,
}

/// A push between its two transactions.
#[derive(Debug)]
pub(crate) struct Taken {
    pub(crate) station: StationId,
    pub(crate) header: PushHeader,
    pub(crate) ingested: Ingested,
    /// The batch that has to be numbered before the answer.
    pub(crate) until: Option<u64>,
}

/// See the module. A clone is a backup.
#[derive(Clone)]
pub(crate) struct Cloud {
    pub(crate) tenant: Arc<Tenant>,
    pub(crate) store: MemoryStore,
    pages: Vec<(Vec<u8>, Hash)>,
    held: BTreeSet<&'static str>,
    certified: BTreeMap<StationId, Vec<Issued>>,
    closings: Vec<(StationId, Vec<u8>)>,
    serial: u64,
    furthest: BTreeMap<StationId, ChainPoint>,
    /// Entries whose signature this cloud cannot verify, for whatever reason.
    pub(crate) unverifiable: BTreeSet<Hash>,
    /// Entries handed over as evidence.
    pub(crate) evidence: BTreeSet<Hash>,
    /// Everything new that T1 took, in order of arrival.
    pub(crate) takings: Vec<Arc<Taking>>,
    /// The keys of enrolment, made ready for many signatures.
    prepared: BTreeMap<PublicKey, Arc<PreparedKey>>,
    /// The root of every size of the log.
    roots: Arc<Vec<Hash>>,
    frontier: Frontier,
}

fn rejected(code: ProblemCode) -> Failure {
    FailureCode::Rejected(code).into()
}

/// The cloud's clock.
pub(crate) fn time(now: u64) -> Timestamp {
    Timestamp::from_unix_ms(NOON + i64::try_from(now).unwrap())
}

impl Cloud {
    pub(crate) fn new(tenant: &Arc<Tenant>) -> Self {
        let mut cloud = Self {
            tenant: Arc::clone(tenant),
            store: MemoryStore::new([]),
            pages: Vec::new(),
            held: BTreeSet::new(),
            certified: BTreeMap::new(),
            closings: Vec::new(),
            serial: 0,
            furthest: BTreeMap::new(),
            unverifiable: BTreeSet::new(),
            evidence: BTreeSet::new(),
            takings: Vec::new(),
            prepared: BTreeMap::new(),
            roots: Arc::new(vec![merkle::fold(&[])]),
            frontier: Frontier::default(),
        };
        cloud.append(tenant.certificates.iter().map(Issued::leaf).collect());
        cloud.publish();
        cloud
    }

    pub(crate) fn append(&mut self, singles: Vec<Single>) {
        ready(ledger::append(&mut self.store, singles)).unwrap();
        self.grow();
    }

    pub(crate) fn tree(&self) -> TreeHead {
        self.store.rows.last().expect("certificates come first").head
    }

    /// The root of every size of the log, from 0.
    pub(crate) fn roots(&self) -> Arc<Vec<Hash>> {
        Arc::clone(&self.roots)
    }

    /// Goes on with what was appended since.
    fn grow(&mut self) {
        let roots = Arc::make_mut(&mut self.roots);
        for leaf in self.store.leaves.iter().skip(roots.len() - 1) {
            self.frontier.append(leaf.hash(), |_, _| {});
            roots.push(self.frontier.root());
        }
    }

    // Stations.

    /// Enrols a station; gives every certificate.
    pub(crate) fn enrol(&mut self, id: StationId, key: PublicKey, hpke: PublicKey) -> Vec<Vec<u8>> {
        let issued = self.certify(id, key, hpke);
        let station = Station {
            tenant: self.tenant.id,
            site: self.tenant.site.id,
            id,
            key,
            certificate: issued.hash,
            former: Vec::new(),
            training: false,
            closed: None,
        };
        self.store.stations.insert(id, station);
        self.prepared.insert(key, Arc::new(PreparedKey::new(&key).unwrap()));
        self.append(vec![issued.leaf()]);
        self.certificates(id)
    }

    fn certify(&mut self, id: StationId, key: PublicKey, hpke: PublicKey) -> Issued {
        self.serial += 1;
        let known = self.certified.entry(id).or_default();
        let previous = known.last().map(|last| last.serial);
        let issued = self.tenant.certify_station(self.serial, id, key, hpke, previous);
        known.push(issued.clone());
        issued
    }

    fn certificates(&self, id: StationId) -> Vec<Vec<u8>> {
        let of_tenant = self.tenant.certificates.iter().map(|issued| issued.bytes.clone());
        let of_station = self.certified.get(&id).into_iter().flatten();
        of_tenant.chain(of_station.map(|issued| issued.bytes.clone())).collect()
    }

    fn rotate(&mut self, id: StationId, signed_by: PublicKey, request: &RotateRequest, now: u64) -> Outcome {
        let station =
            self.store.stations.get(&id).cloned().ok_or_else(|| rejected(ProblemCode::UnknownKey))?;
        let proven = |present: &PublicKey| {
            let message = RotateRequest::proof_message(present, &request.public_key, &request.hpke_key);
            signature::verify(&request.public_key, Context::Enrol, &message, &request.proof)
                .map_err(|_| rejected(ProblemCode::BadSignature))
        };
        if station.key == request.public_key {
            let before = station.former.first().ok_or_else(|| rejected(ProblemCode::BadRequest))?;
            proven(&before.key)?;
        } else if station.closed.is_some() {
            return Err(rejected(ProblemCode::Revoked));
        } else {
            if signed_by != station.key {
                return Err(rejected(ProblemCode::UnknownKey));
            }
            if station.former.iter().any(|former| former.key == request.public_key) {
                return Err(rejected(ProblemCode::BadRequest));
            }
            proven(&station.key)?;
            let previous = self.certified[&id].last().map(|last| last.serial).unwrap();
            let issued = self.certify(id, request.public_key, request.hpke_key);
            let rotated = KeyRotated {
                v: 1,
                kind: KeyRotated::KIND.to_owned(),
                tenant: self.tenant.id,
                key: self.tenant.statement.public().key_id(),
                previous,
                certificate: issued.serial,
                time: time(now),
            };
            let bytes = self.tenant.sign(&rotated);
            let former = StationKey { key: station.key, certificate: station.certificate };
            let known = self.store.stations.get_mut(&id).unwrap();
            known.former.insert(0, former);
            (known.key, known.certificate) = (request.public_key, issued.hash);
            let rotated = Single::Statement { kind: KeyRotated::KIND, station: Some(id), bytes };
            self.append(vec![issued.leaf(), rotated]);
        }
        let certificates = self.certificates(id).into_iter().map(HexBytes).collect();
        Ok(Answer::Rotate(RotateReply { certificates }))
    }

    /// Closes a station at what it reported last.
    pub(crate) fn close(&mut self, id: StationId, closing: Closing, now: u64) {
        if self.store.stations[&id].closed.is_some() {
            return;
        }
        self.number(Fresh::default(), now);
        let held = ready(self.store.head(id)).unwrap();
        let held =
            held.and_then(|head| Some(ChainPoint { epoch: head.epoch?, seq: head.seq, hash: head.hash }));
        let told = self.furthest.get(&id).copied().filter(|_| closing == Closing::Revoked);
        let through = [held, told].into_iter().flatten().max_by_key(|point| (point.epoch.n, point.seq));
        let closed = StationClosed {
            v: 1,
            kind: StationClosed::KIND.to_owned(),
            tenant: self.tenant.id,
            key: self.tenant.statement.public().key_id(),
            station: id,
            closing,
            through,
            reason: "simulated".to_owned(),
            time: time(now),
        };
        let bytes = self.tenant.sign(&closed);
        self.closings.push((id, bytes.clone()));
        self.store.stations.get_mut(&id).unwrap().closed = Some((closing, through));
        self.append(vec![Single::Statement { kind: StationClosed::KIND, station: Some(id), bytes }]);
    }

    // Reference data.

    /// Puts a lot on hold.
    pub(crate) fn hold(&mut self, lot: &'static str) {
        self.held.insert(lot);
        self.publish();
        let cursor = self.pages.len() as u64;
        let blocked = self.store.blocked.entry(self.tenant.site.id).or_default();
        blocked.entry((ITEM.to_owned(), lot.to_owned())).or_insert(cursor);
    }

    fn publish(&mut self) {
        let lot = |lot: &&str| Lot {
            lot: (*lot).to_owned(),
            item: ITEM.to_owned(),
            status: if self.held.contains(*lot) { LotStatus::Hold } else { LotStatus::Released },
            expiry: None,
            codes: Vec::new(),
        };
        let items = vec![Item { item: ITEM.to_owned(), name: None, gtin: None }];
        let file = ReferenceFile { items, lots: LOTS.iter().map(lot).collect() };
        let page = render_page(&file, &self.tenant.site.zone).unwrap();
        let before = self.pages.last().map_or_else(|| feed_start(self.tenant.site.id), |(_, hash)| *hash);
        let hash = feed_next(before, &page);
        self.pages.push((page, hash));
    }

    fn feed(&self, after: u64, now: u64) -> Outcome {
        let next = self.pages.get(usize::try_from(after).unwrap());
        let (cursor, page) = match next {
            Some((page, _)) => (after + 1, Some(page.clone())),
            None => (self.pages.len() as u64, None),
        };
        let (_, hash) = &self.pages[usize::try_from(cursor - 1).unwrap()];
        let statement = self.feed_point(cursor, *hash, now);
        Ok(Answer::Feed(FeedReply { statement: Some(statement), page }))
    }

    fn feed_point(&self, cursor: u64, hash: Hash, now: u64) -> Vec<u8> {
        self.tenant.sign(&FeedPoint {
            v: 1,
            kind: FeedPoint::KIND.to_owned(),
            tenant: self.tenant.id,
            key: self.tenant.statement.public().key_id(),
            site: self.tenant.site.id,
            cursor,
            hash,
            time: time(now),
        })
    }

    // Requests.

    /// Every request but a push.
    pub(crate) fn answer(&mut self, id: StationId, key: PublicKey, request: &Request, now: u64) -> Outcome {
        if let Request::Time(nonce) = request {
            let statement = TimeStatement {
                v: 1,
                kind: TimeStatement::KIND.to_owned(),
                tenant: self.tenant.id,
                key: self.tenant.statement.public().key_id(),
                nonce: *nonce,
                time: time(now),
            };
            return Ok(Answer::Time(self.tenant.sign(&statement)));
        }
        if let Request::Probe = request {
            return Ok(Answer::Probe(true));
        }
        let station = self.authenticate(id, key, matches!(request, Request::Rotate(_)))?;
        match request {
            Request::Head => {
                self.number(Fresh::default(), now);
                Ok(Answer::Head(Box::new(self.head_reply(&station, now))))
            }
            Request::Feed(after) => self.feed(*after, now),
            Request::Heartbeat(heartbeat) => {
                if let Some(head) = heartbeat.head {
                    let known = self.furthest.entry(id).or_insert(head);
                    if (known.epoch.n, known.seq) < (head.epoch.n, head.seq) {
                        *known = head;
                    }
                }
                let revoked = matches!(station.closed, Some((Closing::Revoked, _)));
                Ok(Answer::Heartbeat(HeartbeatReply { limits: LIMITS, revoked, oldest_version: None }))
            }
            Request::Evidence(request) => {
                let entries = &request.entries;
                self.evidence.extend(entries.iter().map(|bytes| lotgate_domain::entry::hash(&bytes.0)));
                Ok(Answer::Evidence(EvidenceReply { kept: entries.len() as u64 }))
            }
            Request::Rotate(request) => self.rotate(id, key, request, now),
            Request::Push(_) | Request::Time(_) | Request::Probe => unreachable!("answered elsewhere"),
        }
    }

    /// The station whose present key signed; a former one only where that is allowed.
    fn authenticate(&self, id: StationId, key: PublicKey, former: bool) -> Result<Station, Failure> {
        let station = self.store.stations.get(&id).ok_or_else(|| rejected(ProblemCode::UnknownKey))?;
        let known = station.key == key || (former && station.keys().any(|known| known.key == key));
        if known { Ok(station.clone()) } else { Err(rejected(ProblemCode::UnknownKey)) }
    }

    pub(crate) fn head_reply(&mut self, station: &Station, now: u64) -> HeadReply {
        let head = ready(self.store.head(station.id)).unwrap();
        let head = head.unwrap_or_else(|| Head::genesis(station.certificate));
        let recovered = ready(self.store.recovered(0)).unwrap();
        HeadReply {
            epoch: head.epoch,
            seq: head.seq,
            hash: head.hash,
            limits: LIMITS,
            restore_window_s: RESTORE_WINDOW_S,
            time: time(now),
            backoff_ms: 0,
            recovered: recovered.into_iter().map(HexBytes).collect(),
        }
    }

    /// Whether it holds what a push comes after.
    pub(crate) fn knows(&mut self, id: StationId, header: &PushHeader) -> bool {
        let (n, seq) = (header.epoch.n, header.after.seq);
        let held = ready(self.store.held(id, n, seq, seq)).unwrap();
        seq == 0 || held.iter().any(|held| held.hash == header.after.hash)
    }

    /// T1.
    pub(crate) fn take(
        &mut self,
        id: StationId,
        key: PublicKey,
        push: &PushRequest,
        now: u64,
    ) -> Result<Taken, Failure> {
        let station = self.authenticate(id, key, false)?;
        if push.header.count > LIMITS.entries || push.entries.len() as u64 > LIMITS.bytes {
            return Err(rejected(ProblemCode::TooLarge));
        }
        let frames = push.frames().map_err(|_| rejected(ProblemCode::BadRequest))?;
        let verifiable = |checked: prefix::Checked| match checked {
            Ok(entry) if self.unverifiable.contains(&entry.hash) => Err(StopCode::BadSignature),
            checked => checked,
        };
        let fresh = || Arc::new(PreparedKey::new(&station.key).unwrap());
        let present = self.prepared.get(&station.key).cloned().unwrap_or_else(fresh);
        let checked = prefix::check_each(&frames, &station, &present);
        let checked = checked.into_iter().map(verifiable).collect();
        let ingested = ledger::ingest(&mut self.store, &station, &push.header, checked, time(now));
        let ingested = match ready(ingested) {
            Ok(ingested) => ingested,
            Err(LedgerError::HeadMismatch) => {
                let head = Some(Box::new(self.head_reply(&station, now)));
                return Err(Failure { head, ..rejected(ProblemCode::HeadMismatch) });
            }
            Err(error) => unreachable!("{error:?}"),
        };
        if let Some(stopped) = ingested.stopped {
            let place = stopped.seq - push.header.after.seq - 1;
            let frame = &frames[usize::try_from(place).unwrap()];
            let evidence = ingest::evidence(frame.bytes(), stopped.code);
            ready(self.store.keep_evidence(id, &evidence)).unwrap();
        }
        let last_waiting = ready(self.store.waiting(u64::MAX)).unwrap().into_iter().rev();
        let until = match &ingested.new {
            Some((batch, _)) => Some(batch.arrival),
            None => last_waiting
                .map(|batch| (batch.station, batch.arrival))
                .find(|(of, _)| *of == id)
                .map(|(_, a)| a),
        };
        if let Some((batch, entries)) = &ingested.new {
            self.takings.push(Arc::new(Taking {
                station: id,
                header: push.header.clone(),
                entries: entries.iter().map(|entry| entry.bytes.clone()).collect(),
                now: time(now),
                arrival: batch.arrival,
            }));
        }
        Ok(Taken { station: id, header: push.header.clone(), ingested, until })
    }

    /// T2 for a push, and its answer.
    pub(crate) fn finish(&mut self, mut taken: Taken, now: u64) -> PushReply {
        if let Some(until) = taken.until {
            let new = taken.ingested.new.as_mut();
            let mut fresh: Fresh =
                new.map(|(batch, entries)| (batch.arrival, std::mem::take(entries))).into_iter().collect();
            while self.waits(taken.station, until) {
                assert!(
                    self.number(std::mem::take(&mut fresh), now) > 0,
                    "a batch waits and is not numbered"
                );
            }
        }
        let tenant = Arc::clone(&self.tenant);
        let authority = tenant.authority();
        let Taken { station, header, ingested, .. } = taken;
        let proof =
            ready(ledger::answer(&mut self.store, &authority, station, &header, &ingested, time(now)));
        self.reply(ingested, proof.unwrap())
    }

    fn reply(&self, ingested: Ingested, proof: Proof) -> PushReply {
        let Proof { tree, verdicts, ranges, consistency, recovered, receipt } = proof;
        let first_index = tree.as_ref().filter(|_| ingested.new.is_some()).map(|row| row.first_index);
        let proof = tree.map(|row| LogProof {
            checkpoint: self.checkpoint(row.generation, row.head),
            ranges,
            consistency,
            recovered: recovered.into_iter().map(HexBytes).collect(),
        });
        PushReply {
            accepted_through: ingested.through,
            first_index,
            stopped: ingested.stopped,
            branch: ingested.branch,
            verdicts: verdicts.into_iter().map(|batch| HexBytes(batch.bytes)).collect(),
            receipt: receipt.map(HexBytes),
            proof,
        }
    }

    pub(crate) fn checkpoint(&self, generation: u64, head: TreeHead) -> String {
        Checkpoint { tenant: self.tenant.id, generation, head }.sign(&self.tenant.log)
    }

    fn waits(&mut self, station: StationId, until: u64) -> bool {
        let waiting = ready(self.store.waiting(u64::MAX)).unwrap();
        waiting.iter().any(|batch| batch.station == station && batch.arrival <= until)
    }

    /// T2 alone; says how many batches it numbered.
    pub(crate) fn number(&mut self, fresh: Fresh, now: u64) -> u64 {
        let tenant = Arc::clone(&self.tenant);
        let count = ready(ledger::number(&mut self.store, &tenant.authority(), fresh, time(now))).unwrap();
        self.grow();
        count
    }

    // Restores.

    /// This backup in the place of `lost`. What people would have to do again is done: stations that were enrolled,
    /// certified or closed since, and reference data.
    pub(crate) fn restored(&self, lost: &Self) -> Self {
        let mut cloud = self.clone();
        cloud.serial = lost.serial;
        cloud.pages.clone_from(&lost.pages);
        cloud.held.clone_from(&lost.held);
        cloud.unverifiable.clone_from(&lost.unverifiable);
        cloud.store.blocked.clone_from(&lost.store.blocked);
        cloud.store.stations.clone_from(&lost.store.stations);
        cloud
    }

    /// Enters again into the log what [`Cloud::restored`] took over beside it.
    pub(crate) fn catch_up(&mut self, lost: &Self) {
        let mut leaves = Vec::new();
        for (id, certified) in &lost.certified {
            let known = self.certified.get(id).map_or(0, Vec::len);
            leaves.extend(certified.iter().skip(known).map(Issued::leaf));
        }
        for (id, bytes) in lost.closings.iter().skip(self.closings.len()) {
            let (kind, bytes) = (StationClosed::KIND, bytes.clone());
            leaves.push(Single::Statement { kind, station: Some(*id), bytes });
        }
        self.certified.clone_from(&lost.certified);
        self.closings.clone_from(&lost.closings);
        if !leaves.is_empty() {
            self.append(leaves);
        }
    }

    /// The tenant's root key owns up to a restore of which `known` was the log before.
    pub(crate) fn recover(&mut self, known: TreeHead, now: u64) {
        let restored = self.tree();
        let statement = LogRecovered {
            v: 1,
            kind: LogRecovered::KIND.to_owned(),
            tenant: self.tenant.id,
            key: self.tenant.root.public().key_id(),
            generation: self.store.generation + 1,
            restored,
            known,
            reason: "simulated".to_owned(),
            people: ["one".to_owned(), "other".to_owned()],
            time: time(now),
        };
        let bytes = statement::sign(&statement, &self.tenant.root).unwrap();
        self.store.recover(&statement, bytes.clone());
        self.append(vec![Single::Statement { kind: LogRecovered::KIND, station: None, bytes }]);
    }

    /// A feed of another hash.
    pub(crate) fn wrong_feed(&self, now: u64) -> Vec<u8> {
        self.feed_point(self.pages.len() as u64, Hash::ZERO, now)
    }

    /// A `log.recovered` that the root key did not sign.
    pub(crate) fn forged_recovery(&self) -> HexBytes {
        let tree = self.tree();
        let statement = LogRecovered {
            v: 1,
            kind: LogRecovered::KIND.to_owned(),
            tenant: self.tenant.id,
            key: self.tenant.statement.public().key_id(),
            generation: self.store.generation + 1,
            restored: TreeHead { size: tree.size / 2, root: Hash::ZERO },
            known: tree,
            reason: "forged".to_owned(),
            people: ["one".to_owned(), "other".to_owned()],
            time: time(0),
        };
        HexBytes(self.tenant.sign(&statement))
    }
}
