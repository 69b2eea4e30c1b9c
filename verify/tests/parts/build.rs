//! A small export of a cloud, made with the domain's own rules: two stations, a page of reference data, checkpoints.

use lotgate_domain::canonical;
use lotgate_domain::certificate::{Certificate, KeyUse, Subject, SubjectType};
use lotgate_domain::entry::{self, Frame};
use lotgate_domain::export::{self, ExportKind, FileEntry, LeafKind, Manifest, Range};
use lotgate_domain::ids::{
    BootId, CertificateSerial, Epoch, EpochId, Hash, OperationId, PublicKey, SiteId, StationId, TenantId,
};
use lotgate_domain::ledger::memory::MemoryStore;
use lotgate_domain::ledger::number::{Fresh, Single};
use lotgate_domain::ledger::{self, Authority, Leaf, Station, prefix};
use lotgate_domain::merkle::checkpoint::Checkpoint;
use lotgate_domain::merkle::proof::TreeHead;
use lotgate_domain::operation::body::Body;
use lotgate_domain::operation::{ALG, Actor, At, Clock, Knew, Operation, Program, State};
use lotgate_domain::protocol::push::{PushClock, PushHeader};
use lotgate_domain::reference::{feed_next, feed_start};
use lotgate_domain::signature::KeyPair;
use lotgate_domain::statement::event::ExportSeal;
use lotgate_domain::statement::{self, FeedPoint, Statement as _, Through};
use lotgate_domain::time::Timestamp;
use std::collections::BTreeMap;
use std::path::Path;

/// Milliseconds since 1970 at which everything happens.
const NOW: i64 = 1_790_000_000_000;
/// The page of reference data.
const PAGE: &[u8] = b"{\"page\":1}\n";

/// Keys of the tenant: root, issuer, log, statement.
pub struct Tenant {
    pub id: TenantId,
    pub site: SiteId,
    pub root: KeyPair,
    pub issuer: KeyPair,
    pub log: KeyPair,
    pub statement: KeyPair,
}

impl Tenant {
    pub fn new() -> Self {
        Self {
            id: TenantId::from_parts(1, &[1; 10]),
            site: SiteId::from_parts(2, &[2; 10]),
            root: KeyPair::from_seed(&[101; 32]),
            issuer: KeyPair::from_seed(&[102; 32]),
            log: KeyPair::from_seed(&[103; 32]),
            statement: KeyPair::from_seed(&[104; 32]),
        }
    }

    pub fn fingerprint(&self) -> Hash {
        self.root.public().fingerprint()
    }

    fn certificate(&self, n: u8, subject: Subject, key: PublicKey, signer: &KeyPair) -> Vec<u8> {
        let certificate = Certificate {
            v: 1,
            kind: Certificate::KIND.to_owned(),
            tenant: self.id,
            key: signer.public().key_id(),
            serial: CertificateSerial::from_parts(10 + u64::from(n), &[n; 10]),
            subject,
            public_key: key,
            hpke_key: None,
            training: true,
            roles: Vec::new(),
            not_before: Timestamp::from_unix_ms(NOW),
            not_after: None,
            previous: None,
            issued_at: Timestamp::from_unix_ms(NOW),
        };
        statement::sign(&certificate, signer).unwrap()
    }

    fn tenant_key(&self, n: u8, key_use: KeyUse, key: &KeyPair) -> Vec<u8> {
        let id = key.public().key_id().to_string();
        let subject = Subject { kind: SubjectType::TenantKey, id, key_use, site: None };
        self.certificate(n, subject, key.public(), &self.root)
    }

    fn station(&self, number: u8) -> (KeyPair, Vec<u8>, Station) {
        let keys = KeyPair::from_seed(&[number; 32]);
        let id = StationId::from_parts(3, &[number; 10]);
        let (kind, key_use) = (SubjectType::Station, KeyUse::Operation);
        let subject = Subject { kind, id: id.to_string(), key_use, site: Some(self.site) };
        let bytes = self.certificate(number, subject, keys.public(), &self.issuer);
        let station = Station {
            tenant: self.id,
            site: self.site,
            id,
            key: keys.public(),
            certificate: entry::hash(&bytes),
            former: Vec::new(),
            training: true,
            closed: None,
        };
        (keys, bytes, station)
    }
}

/// The files of an export by path, without manifest and seal.
pub struct Export {
    pub tenant: Tenant,
    pub files: BTreeMap<String, Vec<u8>>,
    pub ranges: Vec<Range>,
    /// The stations' entries, in order.
    pub entries: Vec<(Station, Vec<Vec<u8>>)>,
}

impl Export {
    /// `count` entries of each of two stations.
    pub fn new(count: u64) -> Self {
        let tenant = Tenant::new();
        let (a_keys, a_certificate, a) = tenant.station(7);
        let (b_keys, b_certificate, b) = tenant.station(8);
        let certificates = [
            tenant.tenant_key(1, KeyUse::Root, &tenant.root),
            tenant.tenant_key(2, KeyUse::Issuer, &tenant.issuer),
            tenant.tenant_key(3, KeyUse::Log, &tenant.log),
            tenant.tenant_key(4, KeyUse::Statement, &tenant.statement),
            a_certificate,
            b_certificate,
        ];
        let mut store = MemoryStore::new([a.clone(), b.clone()]);
        let singles = (0u8..).zip(&certificates).map(|(n, bytes)| Single::Certificate {
            serial: CertificateSerial::from_parts(10, &[n; 10]),
            hash: entry::hash(bytes),
        });
        let row = block_on(ledger::append(&mut store, singles.collect())).unwrap();
        let mut notes = vec![tenant.note(row.head)];
        let page_hash = feed_next(feed_start(tenant.site), PAGE);
        let mut entries = Vec::new();
        for (keys, station) in [(a_keys, a), (b_keys, b)] {
            let written = write(&keys, &station, count, page_hash, row.head);
            let head = push(&mut store, &tenant, &station, &written);
            notes.push(tenant.note(head));
            entries.push((station, written));
        }
        let mut export = Self { files: BTreeMap::new(), ranges: Vec::new(), entries, tenant };
        export.put(export::CERTIFICATES, certificates.concat());
        export.put(export::CHECKPOINTS, notes.join("\n").into_bytes());
        export.put_leaves(&store);
        export.put(export::RECEIPTS, store.receipts.iter().flat_map(|r| r.bytes.clone()).collect());
        export.put_feed(page_hash);
        for (station, written) in &export.entries {
            let range = Range { station: station.id, epoch: 1, branch: 0, first: 1, last: count };
            export.files.insert(export::entries_path(station.id, 1, 0, 1), written.concat());
            export.ranges.push(range);
        }
        export.ranges.sort_by_key(|range| range.station);
        export
    }

    pub fn put(&mut self, path: &str, bytes: Vec<u8>) {
        self.files.insert(path.to_owned(), bytes);
    }

    fn put_leaves(&mut self, store: &MemoryStore) {
        let (mut log, mut verdicts) = (Vec::new(), Vec::new());
        for leaf in &store.leaves {
            let kind = match leaf {
                Leaf::Operation { .. } => LeafKind::Operation,
                Leaf::Verdicts { bytes, .. } => {
                    verdicts.extend_from_slice(bytes);
                    LeafKind::Verdicts
                }
                Leaf::Certificate { .. } => LeafKind::Certificate,
                Leaf::Statement { .. } => LeafKind::Statement,
            };
            log.push(kind.as_byte());
            log.extend_from_slice(leaf.hash().as_bytes());
        }
        self.put(export::LOG, log);
        self.put(export::VERDICTS, verdicts);
    }

    fn put_feed(&mut self, hash: Hash) {
        let point = FeedPoint {
            v: 1,
            kind: FeedPoint::KIND.to_owned(),
            tenant: self.tenant.id,
            key: self.tenant.statement.public().key_id(),
            site: self.tenant.site,
            cursor: 1,
            hash,
            time: Timestamp::from_unix_ms(NOW),
        };
        let signed = statement::sign(&point, &self.tenant.statement).unwrap();
        let mut feed = Vec::new();
        for part in [signed.as_slice(), PAGE] {
            feed.extend_from_slice(&u32::try_from(part.len()).unwrap().to_be_bytes());
            feed.extend_from_slice(part);
        }
        self.put(export::FEED, feed);
    }

    /// The manifest over the files as they are now, and its seal.
    pub fn sealed(&self) -> (Vec<u8>, Vec<u8>) {
        let files = self.files.iter().map(|(path, bytes)| FileEntry {
            path: path.clone(),
            sha256: Hash::of(bytes),
            bytes: u64::try_from(bytes.len()).unwrap(),
        });
        let manifest = Manifest {
            v: 1,
            kind: ExportKind::Cloud,
            tenant: self.tenant.id,
            station: None,
            root_fingerprint: self.tenant.fingerprint(),
            files: files.collect(),
            ranges: self.ranges.clone(),
        };
        let manifest = canonical::write(&manifest).unwrap();
        let seal = ExportSeal {
            v: 1,
            kind: ExportSeal::KIND.to_owned(),
            tenant: self.tenant.id,
            key: self.tenant.statement.public().key_id(),
            station: None,
            manifest_sha256: Hash::of(&manifest),
            time: Timestamp::from_unix_ms(NOW),
        };
        (manifest, statement::sign(&seal, &self.tenant.statement).unwrap())
    }

    /// Writes it all.
    pub fn write(&self, dir: &Path) {
        let (manifest, seal) = self.sealed();
        for (path, bytes) in &self.files {
            let path = dir.join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, bytes).unwrap();
        }
        std::fs::write(dir.join(export::MANIFEST), manifest).unwrap();
        std::fs::write(dir.join(export::SEAL), seal).unwrap();
    }
}

impl Tenant {
    fn note(&self, head: TreeHead) -> String {
        Checkpoint { tenant: self.id, generation: 1, head }.sign(&self.log)
    }
}

/// The chain of one station: its enrolment, then openings of nothing but the same body again and again.
fn write(keys: &KeyPair, station: &Station, count: u64, page: Hash, log: TreeHead) -> Vec<Vec<u8>> {
    let mut prev = station.certificate;
    let mut written = Vec::new();
    for seq in 1..=count {
        let certificate = station.certificate;
        let first = Body::StationEnrolled { certificate, key_protection: "file".to_owned() };
        let at = Timestamp::from_unix_ms(NOW + i64::try_from(seq).unwrap());
        let id = |n: u64| OperationId::from_parts(n, &[keys.public().0[0]; 10]);
        let later = Body::ScanRepeated { of: id(1), count: seq, last_at: at };
        let operation = Operation {
            v: 1,
            alg: ALG.to_owned(),
            key: keys.public().key_id(),
            id: id(seq),
            tenant: station.tenant,
            site: station.site,
            station: station.id,
            epoch: Epoch { n: 1, id: EpochId([keys.public().0[0]; 16]) },
            seq,
            prev,
            at: At {
                wall: at,
                offset_minutes: 0,
                mono_ms: seq,
                boot: BootId::from_parts(4, &[4; 10]),
                server: None,
                clock: Clock::Unsynced,
            },
            actor: Actor::Station,
            role: None,
            reason: None,
            knew: (seq > 1).then_some(Knew { snapshot: 1, hash: page, age_ms: 0, log: Some(log) }),
            state: State::default(),
            program: Program { version: "0".to_owned(), build: "test".to_owned(), config_sha256: Hash::ZERO },
            body: if seq == 1 { first } else { later },
        };
        let bytes = operation.write(keys).unwrap();
        prev = entry::hash(&bytes);
        written.push(bytes);
    }
    written
}

fn push(store: &mut MemoryStore, tenant: &Tenant, station: &Station, entries: &[Vec<u8>]) -> TreeHead {
    let now = Timestamp::from_unix_ms(NOW);
    let first = lotgate_domain::operation::read(&Frame::read(&entries[0]).unwrap()).unwrap();
    let header = PushHeader {
        v: 1,
        epoch: first.header.epoch,
        after: Through { seq: 0, hash: station.certificate },
        count: u64::try_from(entries.len()).unwrap(),
        clock: PushClock { wall: now, mono_ms: 0, boot: BootId::from_parts(4, &[4; 10]) },
        log: None,
    };
    let checked = entries
        .iter()
        .map(|bytes| prefix::check(&Frame::read(bytes).unwrap(), station, prefix::verify_signature))
        .collect();
    let authority = Authority { tenant: tenant.id, keys: &tenant.statement };
    block_on(ledger::ingest(store, station, &header, checked, now)).unwrap();
    block_on(ledger::number(store, &authority, Fresh::new(), now)).unwrap();
    store.rows.last().unwrap().head
}

/// The rules in memory never wait.
fn block_on<T>(future: impl Future<Output = T>) -> T {
    let mut future = std::pin::pin!(future);
    let mut context = std::task::Context::from_waker(std::task::Waker::noop());
    match future.as_mut().poll(&mut context) {
        std::task::Poll::Ready(value) => value,
        std::task::Poll::Pending => panic!("the rules in memory waited"),
    }
}
