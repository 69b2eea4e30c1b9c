//! The same scripts through the ledger's store in memory and the one on Postgres: every answer and every row is
//! the same, so what simulations prove of the rules holds for the cloud.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

use lotgate_cloud::crypto::{MasterKey, SealedFor};
use lotgate_cloud::gate::{self, Caller};
use lotgate_cloud::nonce::NonceKeys;
use lotgate_cloud::push::touched;
use lotgate_cloud::reference::ImportReference;
use lotgate_cloud::session::Session;
use lotgate_cloud::store::PgStore;
use lotgate_cloud::tenant::CreateTenant;
use lotgate_cloud::token::MakeToken;
use lotgate_cloud::{Cloud, Settings, migrate};
use lotgate_domain::certificate::KeyUse;
use lotgate_domain::chain::Head;
use lotgate_domain::ids::{EpochId, Hash, KeyId, SiteId, StationId, TenantId};
use lotgate_domain::ledger::memory::MemoryStore;
use lotgate_domain::ledger::prefix::{self, Checked};
use lotgate_domain::ledger::{self, Authority, Leaf, LedgerError, Station, Store};
use lotgate_domain::protocol::push::PushRequest;
use lotgate_domain::protocol::{StopCode, Stopped};
use lotgate_domain::reference::ReferenceFile;
use lotgate_domain::signature::KeyPair;
use lotgate_domain::statement::VerdictException;
use lotgate_domain::time::Timestamp;
use lotgate_tests::postgres::TestDatabase;
use lotgate_tests::station_keys::{StationKeys, at, enrol, knew, push_of, scan_accepted, scan_refused};
use serde_json::{Value, json};
use std::sync::Arc;
use tokio_postgres::{Client, NoTls};

/// What a push was answered with.
#[expect(clippy::large_enum_variant, reason = "there are never many")]
#[derive(Debug, Clone, PartialEq, Eq)]
enum Answer {
    HeadMismatch,
    Taken {
        through: Head,
        first_index: Option<u64>,
        stopped: Option<Stopped>,
        verdicts: Vec<Vec<u8>>,
        receipt: Option<Vec<u8>>,
        head: Option<Head>,
    },
}

impl Answer {
    fn stopped(&self) -> Option<(u64, StopCode)> {
        match self {
            Self::Taken { stopped, .. } => stopped.map(|stopped| (stopped.seq, stopped.code)),
            Self::HeadMismatch => panic!("head mismatch"),
        }
    }

    fn through(&self) -> u64 {
        match self {
            Self::Taken { through, .. } => through.seq,
            Self::HeadMismatch => panic!("head mismatch"),
        }
    }

    fn verdicts(&self) -> &[Vec<u8>] {
        match self {
            Self::Taken { verdicts, .. } => verdicts,
            Self::HeadMismatch => panic!("head mismatch"),
        }
    }

    fn receipt(&self) -> &[u8] {
        match self {
            Self::Taken { receipt: Some(receipt), .. } => receipt,
            _ => panic!("no receipt: {self:?}"),
        }
    }
}

async fn push_to<S: Store>(
    store: &mut S,
    keys: &KeyPair,
    station: &Station,
    request: &PushRequest,
    now: Timestamp,
) -> Answer
where
    S::Error: std::fmt::Debug,
{
    let authority = Authority { tenant: station.tenant, keys };
    let frames = request.frames().expect("frames");
    let checked: Vec<Checked> =
        frames.iter().map(|frame| prefix::check(frame, station, prefix::verify_signature)).collect();
    let ingested = match ledger::ingest(store, station, &request.header, checked).await {
        Err(LedgerError::HeadMismatch) => return Answer::HeadMismatch,
        other => other.expect("ingest"),
    };
    let applied = ledger::apply(store, &authority, station, ingested.new).await.expect("apply");
    let receipt = ledger::receipt(store, &authority, station, &ingested.through, applied.as_ref(), now)
        .await
        .expect("receipt");
    let (first, last) = touched(&request.header, ingested.stopped);
    Answer::Taken {
        through: ingested.through,
        first_index: applied.map(|applied| applied.first_index),
        stopped: ingested.stopped,
        verdicts: store.verdicts(station.id, request.header.epoch, first, last).await.expect("verdicts"),
        receipt,
        head: store.head(station.id).await.expect("head"),
    }
}

/// One tenant in both stores.
struct Both {
    cloud: Arc<Cloud>,
    looking_on: Client,
    keys: KeyPair,
    tenant: TenantId,
    site: SiteId,
    stations: Vec<Station>,
    memory: MemoryStore,
    pushes: i64,
    // Last, so that the connections above are gone before it is dropped.
    _database: TestDatabase,
}

impl Both {
    /// Makes the tenant and as many stations, each with its keys.
    async fn new(name: &str, count: u8, training: bool) -> (Self, Vec<StationKeys>) {
        let database = TestDatabase::create(name).unwrap();
        migrate::run(&database.owner_url).await.unwrap();
        let settings = Settings {
            database_url: database.app_url.clone(),
            connections: 4,
            master: MasterKey::new([1; 32]),
            nonces: NonceKeys::new([2; 32], None),
            restore_window_s: 0,
            clock: Arc::new(|| at(0)),
        };
        let cloud = Cloud::open(settings).await.unwrap();
        let tenant = TenantId::from_parts(1, &[7; 10]);
        let program = Caller::Program { tenant };
        let work = CreateTenant {
            name: "Tenant".into(),
            site: "Site".into(),
            zone: "Europe/Berlin".into(),
            root: KeyPair::from_seed(&[3; 32]),
        };
        let site = gate::pass(&cloud, &program, work).await.unwrap();
        let nobody = Session::of_nobody(Arc::clone(&cloud), None);
        let (mut stations, mut keys) = (Vec::new(), Vec::new());
        for seed in 10..10 + count {
            let made =
                gate::pass(&cloud, &program, MakeToken { site, training, ttl_ms: 1000 }).await.unwrap();
            let mut station = enrol(&nobody, &made.token, seed).await.unwrap();
            station.append_enrolled();
            stations.push(Station {
                tenant,
                site,
                id: station.id,
                key: station.keys.public(),
                certificate: station.certificate,
                training,
            });
            keys.push(station);
        }
        let (looking_on, connection) = tokio_postgres::connect(&database.superuser_url, NoTls).await.unwrap();
        tokio::spawn(connection);
        let statement = statement_keys(&looking_on, tenant).await;
        // The certificates of the tenant and of the stations are leaves, too.
        let memory = MemoryStore::after_leaves(4 + u64::from(count));
        let both = Self {
            cloud,
            looking_on,
            keys: statement,
            tenant,
            site,
            stations,
            memory,
            pushes: 0,
            _database: database,
        };
        (both, keys)
    }

    /// Pushes to both; the answers must be the same.
    async fn push(&mut self, station: usize, request: &PushRequest) -> Answer {
        self.pushes += 1;
        let now = at(self.pushes);
        let station = &self.stations[station];
        let in_memory = push_to(&mut self.memory, &self.keys, station, request, now).await;
        let mut client = self.cloud.pool().get().await.unwrap();
        let transaction = client.transaction().await.unwrap();
        gate::enter(&transaction, self.tenant).await.unwrap();
        let mut store = PgStore::new(&transaction, self.tenant, now);
        let in_postgres = push_to(&mut store, &self.keys, station, request, now).await;
        transaction.commit().await.unwrap();
        assert_eq!(in_postgres, in_memory, "answer to push {}", self.pushes);
        self.compare_rows().await;
        in_memory
    }

    /// Imports lots; `blocked` is what of them may not be used.
    async fn import(&mut self, lots: Value, blocked: &[(&str, &str)]) -> u64 {
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

    /// The exceptions of the last verdict, as (distance from its first operation, code).
    fn last_exceptions(&self) -> Vec<(u64, String)> {
        let last = self.memory.leaves.iter().rev().find_map(|(_, leaf)| match leaf {
            Leaf::Verdicts { batch, .. } => Some(batch),
            Leaf::Operation { .. } => None,
        });
        let batch = last.expect("a verdict");
        batch.exceptions.iter().map(|e| (e.index - batch.first, e.code.clone())).collect()
    }

    async fn compare_rows(&self) {
        let memory = self.memory_rows();
        let postgres = [
            self.rows("SELECT format('entry %s %s %s %s %s %s', station_id, epoch_n, encode(epoch_id, 'hex'), seq,
                encode(hash, 'hex'), encode(bytes, 'hex')) FROM entry ORDER BY station_id, epoch_n, seq")
                .await,
            self.rows("SELECT CASE kind
                WHEN 'operation' THEN format('leaf %s operation %s %s', index, station_id, encode(hash, 'hex'))
                ELSE format('leaf %s verdict %s %s %s', index, station_id, encode(hash, 'hex'), encode(bytes, 'hex'))
                END FROM leaf WHERE kind <> 'certificate' ORDER BY index")
                .await,
            self.rows("SELECT format('exception %s %s %s', index, verdict, code) FROM verdict ORDER BY index").await,
            self.rows("SELECT format('evidence %s %s %s %s', station_id, encode(hash, 'hex'), code,
                encode(bytes, 'hex')) FROM evidence ORDER BY 1")
                .await,
            self.rows("SELECT format('receipt %s %s %s', station_id, encode(hash, 'hex'), encode(bytes, 'hex'))
                FROM receipt ORDER BY station_id, number")
                .await,
        ]
        .concat();
        assert_eq!(postgres, memory, "rows after push {}", self.pushes);
    }

    fn memory_rows(&self) -> Vec<String> {
        let mut ids: Vec<StationId> = self.stations.iter().map(|station| station.id).collect();
        ids.sort();
        let mut rows = Vec::new();
        for id in &ids {
            rows.extend(self.memory.entries(*id).map(|e| {
                format!(
                    "entry {id} {} {} {} {} {}",
                    e.epoch.n,
                    e.epoch.id,
                    e.seq,
                    e.hash,
                    hex::encode(&e.bytes)
                )
            }));
        }
        let mut exceptions: Vec<VerdictException> = Vec::new();
        for (station, leaf) in &self.memory.leaves {
            rows.push(match leaf {
                Leaf::Operation { index, entry, exception } => {
                    exceptions.extend(exception.clone());
                    format!("leaf {index} operation {station} {}", entry.hash)
                }
                Leaf::Verdicts { index, hash, bytes, batch } => {
                    assert_eq!(
                        batch.first + batch.count,
                        *index,
                        "a verdict is directly after its operations"
                    );
                    format!("leaf {index} verdict {station} {hash} {}", hex::encode(bytes))
                }
            });
        }
        let verdict =
            |e: &VerdictException| serde_json::to_value(e.verdict).unwrap().as_str().unwrap().to_owned();
        rows.extend(exceptions.iter().map(|e| format!("exception {} {} {}", e.index, verdict(e), e.code)));
        let code = |code: StopCode| serde_json::to_value(code).unwrap().as_str().unwrap().to_owned();
        let mut evidence: Vec<String> = self
            .memory
            .evidence
            .iter()
            .map(|(id, e)| {
                format!("evidence {id} {} {} {}", e.entry.hash, code(e.code), hex::encode(&e.entry.bytes))
            })
            .collect();
        evidence.sort();
        rows.extend(evidence);
        for id in &ids {
            let receipts = self.memory.receipts.iter().filter(|(of, ..)| of == id);
            rows.extend(
                receipts.map(|(_, hash, bytes)| format!("receipt {id} {hash} {}", hex::encode(bytes))),
            );
        }
        rows
    }

    async fn rows(&self, query: &str) -> Vec<String> {
        self.looking_on.query(query, &[]).await.unwrap().iter().map(|row| row.get(0)).collect()
    }
}

async fn statement_keys(superuser: &Client, tenant: TenantId) -> KeyPair {
    let query = "SELECT key_id, sealed_seed FROM tenant_key WHERE key_use = 'statement'";
    let row = superuser.query_one(query, &[]).await.unwrap();
    let key = KeyId::from_slice(row.get(0)).unwrap();
    MasterKey::new([1; 32]).open(SealedFor { tenant, key_use: KeyUse::Statement, key }, row.get(1)).unwrap()
}

fn lot(lot: &str, status: &str) -> Value {
    json!({"lot": lot, "item": "A", "status": status, "expiry": "2030-01-31", "codes": []})
}

#[tokio::test]
async fn in_order_split_differently_and_twice_gives_every_entry_once() {
    let (mut both, mut keys) = Both::new("in_order", 1, true).await;
    let station = &mut keys[0];
    for number in 0..40 {
        station.append_scan("A", &format!("L{number}"));
    }
    let first = both.push(0, &station.push(0, 7)).await;
    assert_eq!(both.push(0, &station.push(0, 7)).await, no_index(&first), "a lost reply is asked for again");
    let nothing = both.push(0, &station.push(3, 3)).await;
    assert_eq!((nothing.through(), nothing.verdicts().len()), (7, 0), "no entries, within a verdict batch");
    let skipping = push_of(station.epoch, station.after(3), &[station.entries[6].clone()]);
    let nothing = both.push(0, &skipping).await;
    assert_eq!(
        (nothing.stopped(), nothing.verdicts().len()),
        (Some((4, StopCode::BrokenChain)), 0),
        "at its first"
    );
    for (from, to, through) in [(5, 12, 12), (7, 9, 12), (0, 20, 20), (20, 20, 20), (19, 41, 41), (0, 41, 41)]
    {
        let answer = both.push(0, &station.push(from, to)).await;
        assert_eq!((answer.through(), answer.stopped()), (through, None), "entries {from} to {to}");
    }
    assert_eq!(both.memory.entries(station.id).count(), 41);
    assert_eq!(both.memory.receipts.len(), 4, "a receipt for each push that brought something");
}

/// The same answer as before, but nothing was added.
fn no_index(answer: &Answer) -> Answer {
    match answer.clone() {
        Answer::Taken { through, stopped, verdicts, receipt, head, .. } => {
            Answer::Taken { through, first_index: None, stopped, verdicts, receipt, head }
        }
        Answer::HeadMismatch => Answer::HeadMismatch,
    }
}

#[tokio::test]
async fn what_comes_after_an_entry_that_is_not_held_is_a_head_mismatch() {
    let (mut both, mut keys) = Both::new("gap", 1, true).await;
    let station = &mut keys[0];
    for number in 0..9 {
        station.append_scan("A", &format!("L{number}"));
    }
    assert_eq!(both.push(0, &station.push(3, 6)).await, Answer::HeadMismatch, "nothing is held yet");
    both.push(0, &station.push(0, 3)).await;
    assert_eq!(both.push(0, &station.push(4, 6)).await, Answer::HeadMismatch, "a gap of one");
    let mut other_hash = station.push(3, 6);
    other_hash.header.after.hash = Hash::ZERO;
    assert_eq!(both.push(0, &other_hash).await, Answer::HeadMismatch, "another entry there");
    let mut other_epoch = station.push(3, 6);
    other_epoch.header.epoch.id = EpochId([0; 16]);
    assert_eq!(both.push(0, &other_epoch).await, Answer::HeadMismatch, "another epoch of this number");
    let hole =
        push_of(station.epoch, station.after(3), &[&station.entries[3..5], &station.entries[6..8]].concat());
    let answer = both.push(0, &hole).await;
    assert_eq!(
        (answer.through(), answer.stopped()),
        (5, Some((6, StopCode::BrokenChain))),
        "a hole in the batch"
    );
    assert_eq!(both.push(0, &station.push_all()).await.through(), 10);
}

#[tokio::test]
async fn a_second_branch_is_evidence_and_never_an_entry() {
    let (mut both, mut keys) = Both::new("fork", 1, true).await;
    let station = &mut keys[0];
    for number in 0..5 {
        station.append_scan("A", &format!("L{number}"));
    }
    both.push(0, &station.push_all()).await;
    station.entries.truncate(3);
    station.append_scan("A", "other");
    station.append_scan("A", "branch");
    for _ in 0..2 {
        let answer = both.push(0, &station.push_all()).await;
        assert_eq!((answer.through(), answer.stopped()), (6, Some((4, StopCode::Forked))));
    }
    assert_eq!(both.memory.evidence.len(), 1, "the same evidence is kept once");
    let answer = both.push(0, &station.push(3, 5)).await;
    assert_eq!(answer.stopped(), Some((4, StopCode::Forked)), "from the point of the fork");

    station.entries.clear();
    station.epoch.id = EpochId([0xaa; 16]);
    station.append_enrolled();
    station.append_scan("A", "again");
    let answer = both.push(0, &station.push_all()).await;
    assert_eq!(answer.stopped(), Some((1, StopCode::Forked)), "a second epoch of the same number");
    assert_eq!(both.memory.entries(station.id).count(), 6);
    assert_eq!(both.memory.evidence.len(), 2);
}

#[tokio::test]
async fn bad_signatures_and_other_epochs_end_the_prefix_and_keep_what_was_before() {
    let (mut both, mut keys) = Both::new("prefix", 2, true).await;
    let foreign = keys[1].entries[0].clone();
    let station = &mut keys[0];
    for number in 0..5 {
        station.append_scan("A", &format!("L{number}"));
    }
    let mut bad = station.entries.clone();
    *bad[3].last_mut().unwrap() ^= 1;
    let answer = both.push(0, &push_of(station.epoch, station.after(0), &bad)).await;
    assert_eq!((answer.through(), answer.stopped()), (3, Some((4, StopCode::BadSignature))));
    let spliced = push_of(station.epoch, station.after(3), &[station.entries[3].clone(), foreign]);
    let answer = both.push(0, &spliced).await;
    assert_eq!(
        (answer.through(), answer.stopped()),
        (4, Some((5, StopCode::BadSignature))),
        "another station's"
    );

    let (old_epoch, old) = (station.epoch, station.entries[4..].to_vec());
    let old_after = station.after(4);
    station.open_epoch(0xbb);
    let mixed = push_of(old_epoch, old_after, &[old, station.entries.clone()].concat());
    let answer = both.push(0, &mixed).await;
    assert_eq!(
        (answer.through(), answer.stopped()),
        (6, Some((7, StopCode::BrokenChain))),
        "one epoch a batch"
    );
    let mut named_wrong = station.push_all();
    named_wrong.header.epoch.n = 3;
    assert_eq!(
        both.push(0, &named_wrong).await.stopped(),
        Some((1, StopCode::BrokenChain)),
        "not the epoch it names"
    );
}

#[tokio::test]
async fn poison_in_the_middle_is_quarantined_and_delays_nothing() {
    let (mut both, mut keys) = Both::new("poison", 1, true).await;
    let station = &mut keys[0];
    station.append_scan("A", "before");
    station.append_changed(scan_accepted("A", "x", true), |v| v["body"]["type"] = json!("teleport\u{0}ed"));
    station.append_changed(scan_accepted("A", "x", true), |v| v["body"]["lot"] = json!(7));
    station.append_changed(scan_accepted("A", "x", true), |v| v["body"]["lot"] = json!("nul\u{0}"));
    station.append_changed(scan_accepted("A", "x", true), |v| v["body"]["raw"] = json!("no hex"));
    station.append_changed(scan_accepted("A", "x", true), |v| {
        v["at"]["wall"] = json!("0000-01-01T00:00:00.000Z")
    });
    station.append_changed(scan_accepted("A", "x", true), |v| v["v"] = json!(2));
    station.append_scan("A", "after");
    let answer = both.push(0, &station.push_all()).await;
    assert_eq!((answer.through(), answer.stopped()), (9, None));
    let quarantined = [(2, "unknown_type"), (3, "invalid_body"), (5, "invalid_body"), (7, "unknown_type")];
    assert_eq!(both.last_exceptions(), quarantined.map(|(index, code)| (index, code.to_owned())));
    let scans = both.rows("SELECT lot FROM scan ORDER BY index").await;
    assert_eq!(scans, ["before", "nul\u{fffd}", "x", "after"]);
}

#[tokio::test]
async fn a_new_epoch_starts_from_the_certificate_and_an_old_one_can_still_be_finished() {
    let (mut both, mut keys) = Both::new("epochs", 1, true).await;
    let station = &mut keys[0];
    for number in 0..6 {
        station.append_scan("A", &format!("L{number}"));
    }
    both.push(0, &station.push(0, 4)).await;
    let rest = station.push(4, 7);
    station.open_epoch(0xcc);
    station.append(scan_refused("unknown_lot"));
    let answer = both.push(0, &station.push_all()).await;
    assert_eq!((answer.through(), answer.stopped()), (2, None));
    let late = both.push(0, &rest).await;
    assert_eq!((late.through(), late.stopped()), (7, None), "the rest of the old epoch");
    assert_ne!(late.receipt(), answer.receipt(), "what was added has its own receipt");
    station.append_scan("A", "on");
    assert_eq!(both.push(0, &station.push(2, 3)).await.through(), 3);
}

#[tokio::test]
async fn two_stations_share_one_log_and_an_id_counts_once() {
    let (mut both, mut keys) = Both::new("two", 2, true).await;
    let shared = keys[0].operation(scan_accepted("A", "shared", true)).id;
    for station in &mut keys {
        let mut operation = station.operation(scan_accepted("A", "shared", true));
        operation.id = shared;
        let bytes = operation.write(&station.keys).unwrap();
        station.append_bytes(bytes);
        station.append_scan("A", "own");
    }
    both.push(0, &keys[0].push(0, 2)).await;
    both.push(1, &keys[1].push(0, 3)).await;
    assert_eq!(both.last_exceptions(), [(1, "id_reused".to_owned())], "at the other station");
    both.push(0, &keys[0].push(2, 3)).await;
    let mut twice = keys[0].operation(scan_accepted("A", "third", true));
    twice.id = shared;
    let bytes = twice.write(&keys[0].keys).unwrap();
    keys[0].append_bytes(bytes);
    both.push(0, &keys[0].push(3, 4)).await;
    assert_eq!(both.last_exceptions(), [(0, "id_reused".to_owned())], "at the same station");
}

#[tokio::test]
async fn an_id_twice_in_one_batch_counts_once() {
    let (mut both, mut keys) = Both::new("id_twice", 1, true).await;
    let station = &mut keys[0];
    let id = station.operation(scan_refused("x")).id;
    for _ in 0..2 {
        let mut operation = station.operation(scan_refused("x"));
        operation.id = id;
        let bytes = operation.write(&station.keys).unwrap();
        station.append_bytes(bytes);
    }
    both.push(0, &station.push_all()).await;
    assert_eq!(both.last_exceptions(), [(2, "id_reused".to_owned())]);
}

#[tokio::test]
async fn a_blocked_lot_is_flagged_by_whether_the_station_could_know() {
    let (mut both, mut keys) = Both::new("held_since", 1, true).await;
    let station = &mut keys[0];
    both.import(json!([lot("GOOD", "released"), lot("TURNED", "released")]), &[]).await;
    station.knew = knew(1);
    station.append_scan("A", "TURNED");
    both.push(0, &station.push_all()).await;
    assert_eq!(both.last_exceptions(), [], "released still");
    let newest = both
        .import(json!([lot("GOOD", "released"), lot("TURNED", "hold")]), &[("A", "TURNED"), ("A", "GONE")])
        .await;
    station.append_scan("A", "TURNED");
    station.append_scan("A", "GOOD");
    station.append_scan("A", "GONE");
    station.knew = knew(newest);
    station.append_scan("A", "TURNED");
    station.knew = None;
    station.append_scan("A", "TURNED");
    both.push(0, &station.push(2, 7)).await;
    let flagged =
        [(0, "lot_held_since"), (2, "lot_held_since"), (3, "policy_violation"), (4, "lot_held_since")];
    assert_eq!(both.last_exceptions(), flagged.map(|(index, code)| (index, code.to_owned())));
}

#[tokio::test]
async fn a_simulated_device_is_flagged_outside_training() {
    let (mut both, mut keys) = Both::new("simulated", 1, false).await;
    let station = &mut keys[0];
    station.append(scan_accepted("A", "x", true));
    station.append(scan_accepted("A", "x", false));
    both.push(0, &station.push_all()).await;
    assert_eq!(both.last_exceptions(), [(1, "simulated_device".to_owned())]);
}

#[tokio::test]
async fn more_exceptions_than_one_statement_holds_are_told_by_several() {
    let (mut both, mut keys) = Both::new("many_exceptions", 1, false).await;
    let station = &mut keys[0];
    for number in 0..900 {
        station.append(scan_accepted("A", &format!("L{number}"), true));
    }
    let answer = both.push(0, &station.push_all()).await;
    assert_eq!((answer.through(), answer.stopped()), (901, None));
    let Answer::Taken { verdicts, .. } = &answer else { panic!("{answer:?}") };
    assert!(verdicts.len() > 1, "one frame cannot hold 900 exceptions");
    let told = both.rows("SELECT code FROM verdict").await;
    assert_eq!(told.len(), 900);
    assert_eq!(both.push(0, &station.push_all()).await, no_index(&answer), "all of them again");
    let Answer::Taken { verdicts: some, .. } = both.push(0, &station.push(1, 2)).await else {
        panic!("mismatch")
    };
    assert_eq!(some, verdicts[..1], "only those that the push touches");
}
