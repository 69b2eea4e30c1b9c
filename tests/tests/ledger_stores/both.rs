//! One tenant in both stores: the server's own way to Postgres, and the rules over the store in memory.

use lotgate_cloud::crypto::{MasterKey, SealedFor};
use lotgate_cloud::error::Rejection;
use lotgate_cloud::gate::{self, Caller};
use lotgate_cloud::nonce::NonceKeys;
use lotgate_cloud::recovered::Recover;
use lotgate_cloud::reference::ImportReference;
use lotgate_cloud::session::Session;
use lotgate_cloud::store::PgStore;
use lotgate_cloud::tenant::CreateTenant;
use lotgate_cloud::token::MakeToken;
use lotgate_cloud::{Cloud, Settings, migrate, stations};
use lotgate_domain::certificate::KeyUse;
use lotgate_domain::ids::{CertificateSerial, Hash, KeyId, SiteId, StationId, TenantId};
use lotgate_domain::ledger::memory::MemoryStore;
use lotgate_domain::ledger::number::{Fresh, Single};
use lotgate_domain::ledger::prefix::{self, Checked};
use lotgate_domain::ledger::{self, Authority, Ingested, Leaf, LedgerError, Station, Store, TreeRow};
use lotgate_domain::merkle;
use lotgate_domain::merkle::checkpoint::Checkpoint;
use lotgate_domain::merkle::proof::{TreeHead, verify_consistency, verify_range};
use lotgate_domain::protocol::proof::LogProof;
use lotgate_domain::protocol::push::{LogSeen, PushRequest};
use lotgate_domain::protocol::{CloudApi as _, HexBytes, PushReply, StopCode};
use lotgate_domain::reference::ReferenceFile;
use lotgate_domain::signature::KeyPair;
use lotgate_domain::statement::event::LogRecovered;
use lotgate_domain::statement::{self, VerdictBatch, VerdictException};
use lotgate_domain::time::Timestamp;
use lotgate_tests::postgres::TestDatabase;
use lotgate_tests::station_keys::{StationKeys, at, enrol};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use tokio_postgres::{Client, NoTls};
use uuid::Uuid;

const ROOT: [u8; 32] = [3; 32];

/// One tenant in both stores.
pub(crate) struct Both {
    pub(crate) cloud: Arc<Cloud>,
    pub(crate) tenant: TenantId,
    pub(crate) site: SiteId,
    pub(crate) memory: MemoryStore,
    clock: Arc<AtomicI64>,
    looking_on: Client,
    statement: KeyPair,
    log: KeyPair,
    stations: Vec<StationId>,
    seen: BTreeMap<StationId, LogSeen>,
    pushes: u64,
    // Last, so that the connections above are gone before it is dropped.
    _database: TestDatabase,
}

/// T1, with whatever store.
pub(crate) async fn take<S: Store>(
    store: &mut S,
    station: &Station,
    request: &PushRequest,
    now: Timestamp,
) -> Result<Ingested, LedgerError<S::Error>> {
    let frames = request.frames().expect("frames");
    let checked: Vec<Checked> =
        frames.iter().map(|frame| prefix::check(frame, station, prefix::verify_signature)).collect();
    let ingested = ledger::ingest(store, station, &request.header, checked, now).await?;
    if let Some(stopped) = ingested.stopped {
        let place = usize::try_from(stopped.seq - request.header.after.seq - 1).unwrap();
        let evidence = ledger::ingest::evidence(frames[place].bytes(), stopped.code);
        store.keep_evidence(station.id, &evidence).await.map_err(LedgerError::Store)?;
    }
    Ok(ingested)
}

impl Both {
    /// Makes the tenant and as many stations, each with its keys.
    pub(crate) async fn new(name: &str, count: u8, training: bool) -> (Self, Vec<StationKeys>) {
        let database = TestDatabase::create(name).unwrap();
        migrate::run(&database.owner_url).await.unwrap();
        let clock = Arc::new(AtomicI64::new(0));
        let ticking = Arc::clone(&clock);
        let settings = Settings {
            database_url: database.app_url.clone(),
            connections: 4,
            master: MasterKey::new([1; 32]),
            nonces: NonceKeys::new([2; 32], None),
            restore_window_s: 0,
            clock: Arc::new(move || at(ticking.load(Ordering::SeqCst))),
        };
        let cloud = Cloud::open(settings).await.unwrap();
        let tenant = TenantId::from_parts(1, &[7; 10]);
        let program = Caller::Program { tenant };
        let root = KeyPair::from_seed(&ROOT);
        let (name, site, zone) = ("Tenant".to_owned(), "Site".to_owned(), "Europe/Berlin".to_owned());
        let work = CreateTenant { name, site, zone, root, recovery: None };
        let site = gate::pass(&cloud, &program, work).await.unwrap();
        let nobody = Session::of_nobody(Arc::clone(&cloud), None);
        let mut keys = Vec::new();
        for seed in 10..10 + count {
            let made =
                gate::pass(&cloud, &program, MakeToken { site, training, ttl_ms: 1000 }).await.unwrap();
            let mut station = enrol(&nobody, &made.token, seed).await.unwrap();
            station.append_enrolled();
            keys.push(station);
        }
        let (looking_on, connection) = tokio_postgres::connect(&database.superuser_url, NoTls).await.unwrap();
        tokio::spawn(connection);
        let statement = tenant_keys(&looking_on, tenant, KeyUse::Statement).await;
        let log = tenant_keys(&looking_on, tenant, KeyUse::Log).await;
        let stations = keys.iter().map(|station| station.id).collect();
        let memory = MemoryStore::new([]);
        let (seen, pushes) = (BTreeMap::new(), 0);
        let mut both = Self {
            cloud,
            tenant,
            site,
            memory,
            clock,
            looking_on,
            statement,
            log,
            stations,
            seen,
            pushes,
            _database: database,
        };
        both.follow_administration().await;
        (both, keys)
    }

    pub(crate) fn now(&self) -> Timestamp {
        self.cloud.now()
    }

    pub(crate) fn session(&self, station: usize) -> Session {
        Session::of_station(Arc::clone(&self.cloud), self.tenant, self.stations[station])
    }

    /// What the cloud's own work appended (certificates, closings, rotations) is not the rules': memory takes it over,
    /// with what is known of the stations.
    pub(crate) async fn follow_administration(&mut self) {
        let held = i64::try_from(self.memory.leaves.len()).unwrap();
        let query = "SELECT size FROM tree WHERE size > $1 ORDER BY size";
        let mut first = held;
        for row in self.looking_on.query(query, &[&held]).await.unwrap() {
            let end: i64 = row.get(0);
            let query = "SELECT kind, hash, certificate_serial, statement_kind, station_id, bytes FROM leaf
                WHERE index >= $1 AND index < $2 ORDER BY index";
            let rows = self.looking_on.query(query, &[&first, &end]).await.unwrap();
            let singles = rows.iter().map(|row| match row.get("kind") {
                "certificate" => Single::Certificate {
                    serial: CertificateSerial(row.get("certificate_serial")),
                    hash: Hash::from_slice(row.get("hash")).unwrap(),
                },
                "statement" => Single::Statement {
                    kind: String::leak(row.get::<_, String>("statement_kind")),
                    station: row.get::<_, Option<Uuid>>("station_id").map(StationId),
                    bytes: row.get("bytes"),
                },
                other => panic!("{other} is for the rules"),
            });
            ledger::append(&mut self.memory, singles.collect()).await.unwrap();
            first = end;
        }
        let mut client = self.cloud.pool().get().await.unwrap();
        let transaction = client.transaction().await.unwrap();
        gate::enter(&transaction, self.tenant).await.unwrap();
        for id in &self.stations {
            let station = stations::read(&transaction, self.tenant, *id).await.unwrap().unwrap();
            self.memory.stations.insert(*id, station);
        }
        drop(transaction);
        drop(client);
        self.compare_rows().await;
    }

    fn station(&self, station: usize) -> Station {
        self.memory.stations[&self.stations[station]].clone()
    }

    /// Only the first half of a push, to both, as if the cloud were killed after it. False is a head mismatch.
    pub(crate) async fn take(&mut self, station: usize, request: &PushRequest) -> bool {
        self.pushes += 1;
        self.clock.fetch_add(1, Ordering::SeqCst);
        let (station, now) = (self.station(station), self.now());
        let in_memory = take(&mut self.memory, &station, request, now).await;
        let mut client = self.cloud.pool().get().await.unwrap();
        let transaction = client.transaction().await.unwrap();
        gate::enter(&transaction, self.tenant).await.unwrap();
        let mut store = PgStore::new(&transaction, self.tenant, now);
        store.wait_for_station(station.id).await.unwrap();
        let in_postgres = take(&mut store, &station, request, now).await;
        let taken = match (in_memory, in_postgres) {
            (Err(LedgerError::HeadMismatch), Err(LedgerError::HeadMismatch)) => false,
            (in_memory, in_postgres) => {
                assert_eq!(
                    in_postgres.expect("Postgres"),
                    in_memory.expect("memory"),
                    "push {}",
                    self.pushes
                );
                transaction.commit().await.unwrap();
                true
            }
        };
        self.compare_rows().await;
        taken
    }

    /// A whole push to both: over the rules in memory, and as a station's session pushes to the cloud. The replies
    /// and all rows must be the same, and the proofs must hold.
    pub(crate) async fn push(&mut self, station: usize, request: &PushRequest) -> PushReply {
        self.pushes += 1;
        self.clock.fetch_add(1, Ordering::SeqCst);
        let session = self.session(station);
        let mut request = request.clone();
        let station = self.station(station);
        request.header.log = self.seen.get(&station.id).copied();
        let in_memory = self.push_to_memory(&station, &request).await;
        let in_postgres = session.push(request.clone()).await;
        let in_postgres: PushReply = in_postgres.unwrap_or_else(|error: Rejection| panic!("{error:?}"));
        assert_eq!(in_postgres, in_memory, "reply to push {}", self.pushes);
        self.compare_rows().await;
        if let Some(head) = self.check_proof(&request, &in_memory) {
            // Now and then a reply is lost, so that the station tells an older size.
            if !self.pushes.is_multiple_of(3) {
                self.seen.insert(station.id, head);
            }
        }
        in_memory
    }

    async fn push_to_memory(&mut self, station: &Station, request: &PushRequest) -> PushReply {
        let now = self.now();
        let ingested = take(&mut self.memory, station, request, now).await.expect("ingest");
        let authority = Authority { tenant: self.tenant, keys: &self.statement };
        let memory = &mut self.memory;
        let waiting = memory.waiting(u64::MAX).await.unwrap();
        let own = waiting.iter().filter(|batch| batch.station == station.id);
        let until = own.map(|batch| batch.arrival).max();
        let mut entries = Fresh::default();
        if let Some((batch, new)) = &ingested.new {
            entries.insert(batch.arrival, new.clone());
        }
        while let Some(until) = until {
            ledger::number(memory, &authority, entries.clone(), now).await.expect("number");
            let waiting = memory.waiting(u64::MAX).await.unwrap();
            if !waiting.iter().any(|batch| batch.station == station.id && batch.arrival <= until) {
                break;
            }
        }
        let answer = ledger::answer(memory, &authority, station.id, &request.header, &ingested, now);
        let answer = answer.await.expect("answer");
        let row = answer.tree.as_ref().filter(|_| ingested.new.is_some());
        PushReply {
            accepted_through: ingested.through,
            first_index: row.map(|row| row.first_index),
            stopped: ingested.stopped,
            branch: ingested.branch,
            verdicts: answer.verdicts.into_iter().map(|batch| HexBytes(batch.bytes)).collect(),
            receipt: answer.receipt.map(HexBytes),
            proof: answer.tree.map(|row| LogProof {
                checkpoint: self.checkpoint(&row).sign(&self.log),
                ranges: answer.ranges,
                consistency: answer.consistency,
                recovered: answer.recovered.into_iter().map(HexBytes).collect(),
            }),
        }
    }

    /// Numbers in memory what was numbered in Postgres without a push.
    pub(crate) async fn number_in_memory(&mut self) {
        let now = self.now();
        let authority = Authority { tenant: self.tenant, keys: &self.statement };
        while ledger::number(&mut self.memory, &authority, Fresh::default(), now).await.unwrap() > 0 {}
        self.compare_rows().await;
    }

    fn checkpoint(&self, row: &TreeRow) -> Checkpoint {
        Checkpoint { tenant: self.tenant, generation: row.generation, head: row.head }
    }

    /// The tree of the first `size` leaves, made anew.
    pub(crate) fn tree_of(&self, size: u64) -> TreeHead {
        let leaves = self.memory.leaves.iter().take(usize::try_from(size).unwrap());
        TreeHead { size, root: merkle::root(leaves.map(Leaf::hash)) }
    }

    fn check_proof(&self, request: &PushRequest, reply: &PushReply) -> Option<LogSeen> {
        let Some(proof) = &reply.proof else {
            assert!(reply.verdicts.is_empty(), "verdicts without a proof");
            return None;
        };
        let read = Checkpoint::read(&proof.checkpoint, self.tenant, &self.log.public()).unwrap();
        assert_eq!(read.head, self.tree_of(read.head.size), "the root is that of the leaves");
        assert_eq!(proof.ranges.len(), reply.verdicts.len());
        for (range, verdicts) in proof.ranges.iter().zip(&reply.verdicts) {
            let key = self.statement.public();
            let batch = statement::read::<VerdictBatch>(&verdicts.0, self.tenant, &key).unwrap();
            let operations = (batch.value.first..batch.value.first + batch.value.count)
                .map(|index| &self.memory.leaves[usize::try_from(index).unwrap()]);
            let seqs = operations.clone().map(|leaf| match leaf {
                Leaf::Operation { entry, .. } => entry.seq,
                other => panic!("{other:?} in a verdict batch"),
            });
            assert_eq!(seqs.clone().next(), Some(range.first_seq));
            assert!(seqs.clone().zip(seqs.skip(1)).all(|(one, next)| one + 1 == next), "consecutive");
            let hashes = operations.map(Leaf::hash).chain([batch.hash]);
            verify_range(read.head, batch.value.first, hashes, &range.hashes).expect("a range proof");
        }
        for consistency in &proof.consistency {
            let from = self.tree_of(consistency.from);
            verify_consistency(from, read.head, &consistency.hashes).expect("a consistency proof");
        }
        let of_now = request.header.log.filter(|log| log.generation == read.generation);
        assert_eq!(of_now.is_none() && request.header.log.is_some(), !proof.recovered.is_empty());
        let told = of_now.map_or(0, |log| log.size);
        let proven = proof.consistency.iter().any(|proof| proof.from == told);
        assert!(proven || told == 0 || told >= read.head.size, "from the size that the request names");
        Some(LogSeen { generation: read.generation, size: read.head.size })
    }

    /// Imports lots; `blocked` is what of them may not be used.
    pub(crate) async fn import(&mut self, lots: Value, blocked: &[(&str, &str)]) -> u64 {
        let file: ReferenceFile =
            serde_json::from_value(json!({"items": [{"item": "A"}, {"item": "B"}], "lots": lots})).unwrap();
        let program = Caller::Program { tenant: self.tenant };
        let work = ImportReference { site: self.site, file };
        let cursor = gate::pass(&self.cloud, &program, work).await.unwrap().cursor;
        let blocked =
            blocked.iter().map(|(item, lot)| (((*item).to_owned(), (*lot).to_owned()), cursor)).collect();
        self.memory.blocked.insert(self.site, blocked);
        cursor
    }

    /// Begins the next generation of the log in both, as after a restore.
    pub(crate) async fn recover(&mut self) {
        let generation = self.memory.generation;
        let head = TreeHead { size: 1 << 40, root: Hash::ZERO };
        let known = Checkpoint { tenant: self.tenant, generation, head }.sign(&self.log);
        let root = KeyPair::from_seed(&ROOT);
        let people = ["Ada".to_owned(), "Bob".to_owned()];
        let restored = self.memory.newest().await.unwrap().head.size;
        let (earlier, reason) = (Vec::new(), "disk lost".to_owned());
        let work = Recover { root, restored, known, earlier, reason, people };
        gate::pass(&self.cloud, &Caller::Program { tenant: self.tenant }, work).await.unwrap();
        let query = "SELECT bytes FROM recovered ORDER BY generation DESC LIMIT 1";
        let bytes: Vec<u8> = self.looking_on.query_one(query, &[]).await.unwrap().get(0);
        let key = KeyPair::from_seed(&ROOT).public();
        let word = statement::read::<LogRecovered>(&bytes, self.tenant, &key).unwrap();
        self.memory.recover(&word.value, bytes);
        self.follow_administration().await;
    }

    /// The exceptions of the last verdict, as (distance from its first operation, code).
    pub(crate) fn last_exceptions(&self) -> Vec<(u64, String)> {
        let last = self.memory.leaves.iter().rev().find_map(|leaf| match leaf {
            Leaf::Verdicts { batch, .. } => Some(batch),
            _ => None,
        });
        let batch = last.expect("a verdict");
        batch.exceptions.iter().map(|e| (e.index - batch.first, e.code.clone())).collect()
    }

    pub(crate) async fn compare_rows(&mut self) {
        let memory = self.memory_rows().await;
        let mut postgres = Vec::new();
        for query in QUERIES {
            postgres.extend(self.rows(query).await);
        }
        if postgres != memory {
            let differs = postgres.iter().zip(&memory).find(|(one, other)| one != other);
            panic!(
                "rows after push {}: {} in Postgres, {} in memory; the first that differs: {differs:#?}",
                self.pushes,
                postgres.len(),
                memory.len()
            );
        }
    }

    async fn memory_rows(&mut self) -> Vec<String> {
        let mut ids = self.stations.clone();
        ids.sort();
        let mut rows = Vec::new();
        for id in &ids {
            rows.extend(self.memory.entries(*id).map(|(place, e)| {
                let (n, branch, operation) = (place.epoch_n, place.branch, e.id());
                let operation = operation.map(|id| id.to_string()).unwrap_or_default();
                let bytes = hex::encode(&e.bytes);
                format!("entry {id} {n} {branch} {} {} {operation} {} {bytes}", e.seq, e.epoch.id, e.hash)
            }));
        }
        rows.extend(self.memory.leaves.iter().map(leaf_row));
        rows.extend(self.memory.leaves.iter().filter_map(|leaf| match leaf {
            Leaf::Operation { exception, .. } => exception.as_ref().map(exception_row),
            _ => None,
        }));
        let mut evidence: Vec<String> = self
            .memory
            .evidence
            .iter()
            .map(|(id, e)| format!("evidence {id} {} {} {}", e.hash, code(e.code), hex::encode(&e.bytes)))
            .collect();
        evidence.sort();
        rows.extend(evidence);
        for id in &ids {
            let receipts = self.memory.receipts.iter().filter(|kept| kept.station == *id);
            rows.extend(receipts.map(|kept| {
                let (place, bytes) = (kept.place, hex::encode(&kept.bytes));
                format!("receipt {id} {} {} {} {} {bytes}", place.epoch_n, place.branch, place.seq, kept.hash)
            }));
        }
        rows.extend(self.memory.rows.iter().map(|row| {
            let (station, arrival) = row.batch.map_or_else(Default::default, |(station, arrival)| {
                (station.to_string(), arrival.to_string())
            });
            let TreeRow { generation, head, first_index, previous_size, .. } = row;
            let (size, root) = (head.size, head.root);
            format!("tree {size} {generation} {root} {station} {arrival} {first_index} {previous_size}")
        }));
        let waiting = self.memory.waiting(u64::MAX).await.unwrap();
        rows.extend(waiting.iter().map(|batch| {
            let (station, n, branch) = (batch.station, batch.epoch.n, batch.branch);
            let fork = batch.fork.map(|fork| format!("{} {}", fork.held, fork.other)).unwrap_or_default();
            format!(
                "waiting {} {station} {n} {branch} {} {} {} {fork}",
                batch.arrival,
                batch.first,
                batch.last,
                if batch.skewed { "t" } else { "f" }
            )
        }));
        rows
    }

    pub(crate) async fn rows(&self, query: &str) -> Vec<String> {
        self.looking_on.query(query, &[]).await.unwrap().iter().map(|row| row.get(0)).collect()
    }
}

const QUERIES: [&str; 7] = [
    "SELECT format('entry %s %s %s %s %s %s %s %s', station_id, epoch_n, branch, seq, encode(epoch_id, 'hex'),
        operation_id, encode(hash, 'hex'), encode(bytes, 'hex')) FROM entry
        ORDER BY station_id, epoch_n, branch, seq",
    "SELECT format('leaf %s %s %s %s %s %s %s %s %s %s %s', index, kind, encode(hash, 'hex'), station_id, epoch_n,
        branch, seq, first_seq, certificate_serial, statement_kind, encode(bytes, 'hex')) FROM leaf ORDER BY index",
    "SELECT format('exception %s %s %s', index, verdict, code) FROM verdict ORDER BY index",
    "SELECT format('evidence %s %s %s %s', station_id, encode(hash, 'hex'), code, encode(bytes, 'hex'))
        FROM evidence ORDER BY 1",
    "SELECT format('receipt %s %s %s %s %s %s', station_id, epoch_n, branch, seq, encode(hash, 'hex'),
        encode(bytes, 'hex')) FROM receipt ORDER BY station_id, number",
    "SELECT format('tree %s %s %s %s %s %s %s', size, generation, encode(root, 'hex'), station_id, arrival,
        first_index, previous_size) FROM tree ORDER BY size",
    "SELECT format('waiting %s %s %s %s %s %s %s %s', arrival, station_id, epoch_n, branch, first_seq, last_seq,
        skewed, encode(fork_held, 'hex') || ' ' || encode(fork_other, 'hex')) FROM waiting ORDER BY arrival",
];

fn leaf_row(leaf: &Leaf) -> String {
    let (index, hash) = (leaf.index(), leaf.hash());
    match leaf {
        Leaf::Operation { station, branch, entry, .. } => {
            let (n, seq) = (entry.epoch.n, entry.seq);
            format!("leaf {index} operation {hash} {station} {n} {branch} {seq}    ")
        }
        Leaf::Verdicts { station, first, batch, bytes, .. } => {
            assert_eq!(batch.first + batch.count, index, "a verdict is directly after its operations");
            let (n, branch, last) = (first.epoch_n, first.branch, first.seq + batch.count - 1);
            let bytes = hex::encode(bytes);
            format!("leaf {index} verdict {hash} {station} {n} {branch} {last} {}   {bytes}", first.seq)
        }
        Leaf::Certificate { serial, .. } => format!("leaf {index} certificate {hash}      {serial}  "),
        Leaf::Statement { kind, station, bytes, .. } => {
            let station = station.map(|station| station.to_string()).unwrap_or_default();
            format!("leaf {index} statement {hash} {station}      {kind} {}", hex::encode(bytes))
        }
    }
}

fn exception_row(e: &VerdictException) -> String {
    let verdict = serde_json::to_value(e.verdict).unwrap();
    format!("exception {} {} {}", e.index, verdict.as_str().unwrap(), e.code)
}

fn code(code: StopCode) -> String {
    serde_json::to_value(code).unwrap().as_str().unwrap().to_owned()
}

async fn tenant_keys(superuser: &Client, tenant: TenantId, key_use: KeyUse) -> KeyPair {
    let name = serde_json::to_value(key_use).unwrap();
    let query = "SELECT key_id, sealed_seed FROM tenant_key WHERE key_use = $1";
    let row = superuser.query_one(query, &[&name.as_str()]).await.unwrap();
    let key = KeyId::from_slice(row.get(0)).unwrap();
    MasterKey::new([1; 32]).open(SealedFor { tenant, key_use, key }, row.get(1)).unwrap()
}
