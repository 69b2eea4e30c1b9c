//! A database that was restored to before what stations have receipts for, with a real copy of a real database:
//! what the cloud then says by itself, and what it says once two people and the root key have owned up to it.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

#[path = "restore/admitted.rs"]
mod admitted;
#[path = "restore/commands.rs"]
mod commands;

use lotgate_cloud::crypto::{MasterKey, SealedFor};
use lotgate_cloud::error::Rejection;
use lotgate_cloud::gate::{self, Caller};
use lotgate_cloud::nonce::NonceKeys;
use lotgate_cloud::recovered::{LogHead, Recover, ShowLog};
use lotgate_cloud::session::Session;
use lotgate_cloud::tenant::CreateTenant;
use lotgate_cloud::token::MakeToken;
use lotgate_cloud::{Cloud, Settings, migrate};
use lotgate_domain::certificate::KeyUse;
use lotgate_domain::entry;
use lotgate_domain::ids::{KeyId, TenantId};
use lotgate_domain::merkle::checkpoint::Checkpoint;
use lotgate_domain::merkle::proof::{TreeHead, verify_consistency, verify_range};
use lotgate_domain::protocol::push::{LogSeen, PushRequest};
use lotgate_domain::protocol::{CloudApi as _, HexBytes, PushReply};
use lotgate_domain::signature::KeyPair;
use lotgate_domain::statement::event::LogRecovered;
use lotgate_domain::statement::{self, Receipt, VerdictBatch};
use lotgate_tests::postgres::TestDatabase;
use lotgate_tests::station_keys::{StationKeys, at, enrol};
use std::sync::Arc;

const TENANT: u64 = 1;
const ROOT: [u8; 32] = [3; 32];

fn tenant() -> TenantId {
    TenantId::from_parts(TENANT, &[7; 10])
}

async fn open(database: &TestDatabase) -> Arc<Cloud> {
    let settings = Settings {
        database_url: database.app_url.clone(),
        connections: 4,
        master: MasterKey::new([1; 32]),
        nonces: NonceKeys::new([2; 32], None),
        restore_window_s: 0,
        clock: Arc::new(|| at(0)),
    };
    Cloud::open(settings).await.unwrap()
}

/// A cloud that was copied after `at_backup` entries of a station, and went on to all of them.
struct Restored {
    station: StationKeys,
    /// What the station holds: the tree and the checkpoint of its last reply.
    seen: TreeHead,
    known: String,
    log: KeyPair,
    statement: KeyPair,
    /// The log as the backup holds it.
    backup: TreeHead,
    copy: TestDatabase,
    database: TestDatabase,
}

const AT_BACKUP: usize = 8;

impl Restored {
    async fn new(name: &str) -> Self {
        let database = TestDatabase::create(name).unwrap();
        migrate::run(&database.owner_url).await.unwrap();
        let cloud = open(&database).await;
        let program = Caller::Program { tenant: tenant() };
        let (name, site, zone) = ("T".to_owned(), "S".to_owned(), "UTC".to_owned());
        let root = KeyPair::from_seed(&ROOT);
        let create = CreateTenant { name, site, zone, root, recovery: None };
        let site = gate::pass(&cloud, &program, create).await.unwrap();
        let made =
            gate::pass(&cloud, &program, MakeToken { site, training: true, ttl_ms: 1000 }).await.unwrap();
        let mut station = enrol(&Session::of_nobody(Arc::clone(&cloud), None), &made.token, 9).await.unwrap();
        station.append_enrolled();
        for number in 0..19 {
            station.append_scan("A", &format!("L{number}"));
        }
        session(&cloud, &station).push(station.push(0, AT_BACKUP)).await.unwrap();
        drop(cloud);
        let copy = database.copy("backup").unwrap();

        let cloud = open(&database).await;
        let reply = session(&cloud, &station).push(station.push(AT_BACKUP, 20)).await.unwrap();
        let (log, statement) = (key(&cloud, KeyUse::Log).await, key(&cloud, KeyUse::Statement).await);
        let known = reply.proof.unwrap().checkpoint;
        let seen = Checkpoint::read(&known, tenant(), &log.public()).unwrap();
        assert_eq!(seen.generation, 1);
        drop(cloud);
        let backup = shown(&*open(&copy).await).await.head;
        Self { station, seen: seen.head, known, log, statement, backup, copy, database }
    }

    fn told(&self, mut request: PushRequest, generation: u64, size: u64) -> PushRequest {
        request.header.log = Some(LogSeen { generation, size });
        request
    }

    fn checkpoint(&self, reply: &PushReply) -> Checkpoint {
        let note = &reply.proof.as_ref().expect("a proof").checkpoint;
        Checkpoint::read(note, tenant(), &self.log.public()).unwrap()
    }

    fn recover(&self, known: &str, people: [&str; 2], root: [u8; 32]) -> Recover {
        let root = KeyPair::from_seed(&root);
        let people = people.map(str::to_owned);
        let (restored, reason) = (self.backup.size, "disk lost".to_owned());
        Recover { root, restored, known: known.to_owned(), earlier: Vec::new(), reason, people }
    }

    /// As a station checks it: every range of the reply, up to the receipt.
    fn check(&self, reply: &PushReply) {
        let (head, proof) = (self.checkpoint(reply).head, reply.proof.as_ref().unwrap());
        for (verdicts, range) in reply.verdicts.iter().zip(&proof.ranges) {
            let batch =
                statement::read::<VerdictBatch>(&verdicts.0, tenant(), &self.statement.public()).unwrap();
            let first = usize::try_from(range.first_seq).unwrap() - 1;
            let count = usize::try_from(batch.value.count).unwrap();
            let own = self.station.entries[first..first + count].iter().map(|bytes| entry::hash(bytes));
            verify_range(head, batch.value.first, own.chain([batch.hash]), &range.hashes).expect("a range");
        }
        let receipt = &reply.receipt.as_ref().unwrap().0;
        let receipt = statement::read::<Receipt>(receipt, tenant(), &self.statement.public()).unwrap();
        assert_eq!(receipt.value.through.seq, reply.accepted_through.seq);
    }
}

fn session(cloud: &Arc<Cloud>, station: &StationKeys) -> Session {
    Session::of_station(Arc::clone(cloud), tenant(), station.id)
}

async fn shown(cloud: &Cloud) -> LogHead {
    gate::pass(cloud, &Caller::Program { tenant: tenant() }, ShowLog).await.unwrap()
}

/// What the root key said of restores, oldest first.
fn words(recovered: &[HexBytes]) -> Vec<LogRecovered> {
    let root = KeyPair::from_seed(&ROOT).public();
    let read = |bytes: &HexBytes| statement::read::<LogRecovered>(&bytes.0, tenant(), &root).unwrap().value;
    recovered.iter().map(read).collect()
}

/// The reply proves that its log begins with `from`.
fn assert_begins_with(from: TreeHead, reply: &PushReply, head: TreeHead) {
    let proofs = &reply.proof.as_ref().unwrap().consistency;
    let proof = proofs.iter().find(|proof| proof.from == from.size).expect("a proof");
    verify_consistency(from, head, &proof.hashes).expect("it begins with it");
}

async fn key(cloud: &Cloud, key_use: KeyUse) -> KeyPair {
    let mut client = cloud.pool().get().await.unwrap();
    let transaction = client.transaction().await.unwrap();
    gate::enter(&transaction, tenant()).await.unwrap();
    let name = serde_json::to_value(key_use).unwrap();
    let query = "SELECT key_id, sealed_seed FROM tenant_key WHERE key_use = $1";
    let row = transaction.query_one(query, &[&name.as_str()]).await.unwrap();
    let key = KeyId::from_slice(row.get(0)).unwrap();
    MasterKey::new([1; 32]).open(SealedFor { tenant: tenant(), key_use, key }, row.get(1)).unwrap()
}

#[tokio::test]
async fn without_a_word_the_restored_log_contradicts_what_the_station_holds() {
    let restored = Box::pin(Restored::new("silent")).await;
    let cloud = open(&restored.copy).await;
    let session = session(&cloud, &restored.station);
    let head = session.head().await.unwrap();
    assert_eq!((head.seq, head.recovered.len()), (8, 0), "it is back where the backup was");
    let behind = restored.told(restored.station.push(AT_BACKUP, 12), 1, restored.seen.size);
    let reply = session.push(behind).await.unwrap();
    let checkpoint = restored.checkpoint(&reply);
    assert_eq!(checkpoint.generation, 1);
    assert!(checkpoint.head.size < restored.seen.size, "a smaller log of the same generation");

    // Grown past it, the log is another one.
    let mut from = 12;
    for to in 13..=20 {
        session.push(restored.station.push(from, to)).await.unwrap();
        from = to;
    }
    let mut request = restored.told(restored.station.push(19, 20), 1, restored.seen.size);
    request.header.clock.wall = at(1);
    let reply = session.push(request).await.unwrap();
    let checkpoint = restored.checkpoint(&reply);
    assert!(checkpoint.head.size > restored.seen.size);
    let proof = reply.proof.unwrap();
    let from = proof.consistency.iter().find(|proof| proof.from == restored.seen.size).expect("as asked for");
    assert!(verify_consistency(restored.seen, checkpoint.head, &from.hashes).is_err(), "it cannot be proven");
}

#[tokio::test]
async fn owned_up_to_the_log_goes_on_in_the_next_generation_and_everything_settles_again() {
    let restored = Box::pin(Restored::new("owned_up")).await;
    let cloud = open(&restored.copy).await;
    let session = session(&cloud, &restored.station);
    let program = Caller::Program { tenant: tenant() };
    let work = restored.recover(&restored.known, ["Ada", "Bob"], ROOT);
    let recovered = gate::pass(&cloud, &program, work).await.unwrap();
    assert_eq!((recovered.generation, recovered.known), (2, restored.seen));

    let head = session.head().await.unwrap();
    assert_eq!((head.seq, head.recovered.len()), (8, 1));
    let told = words(&head.recovered).remove(0);
    assert_eq!((told.generation, told.restored, told.known), (2, recovered.restored, restored.seen));
    assert_eq!(told.people, ["Ada", "Bob"]);

    let request = restored.told(restored.station.push(AT_BACKUP, 20), 1, restored.seen.size);
    let reply = session.push(request).await.unwrap();
    let checkpoint = restored.checkpoint(&reply);
    assert_eq!((checkpoint.generation, reply.accepted_through.seq, reply.stopped), (2, 20, None));
    let proof = reply.proof.as_ref().unwrap();
    assert_eq!(proof.recovered, head.recovered, "the reply carries the word, too");
    assert_begins_with(told.restored, &reply, checkpoint.head);
    restored.check(&reply);

    let again = restored.told(restored.station.push(0, 20), 2, checkpoint.head.size);
    let again = session.push(again).await.unwrap();
    assert_eq!(again.proof.as_ref().unwrap().recovered.len(), 0, "said once");
    assert_eq!(again.verdicts.len(), 2);
    restored.check(&again);
}

#[tokio::test]
async fn the_log_may_grow_between_the_restore_and_the_word_and_stations_of_both_histories_go_on() {
    let restored = Box::pin(Restored::new("grown")).await;
    let cloud = open(&restored.copy).await;
    let session = session(&cloud, &restored.station);
    for (from, to) in [(AT_BACKUP, 11), (11, 14)] {
        session.push(restored.station.push(from, to)).await.unwrap();
    }
    let grown = shown(&cloud).await;
    assert!(grown.generation == 1 && grown.head.size > restored.backup.size);
    let program = Caller::Program { tenant: tenant() };
    let work = restored.recover(&restored.known, ["Ada", "Bob"], ROOT);
    let recovered = gate::pass(&cloud, &program, work).await.unwrap();
    assert_eq!((recovered.restored, recovered.known), (restored.backup, restored.seen));
    assert_eq!(recovered.tree.size, grown.head.size + 1, "what came in between stays");

    for seen in [restored.seen.size, grown.head.size] {
        let request = restored.told(restored.station.push(AT_BACKUP, 20), 1, seen);
        let reply = session.push(request).await.unwrap();
        let checkpoint = restored.checkpoint(&reply);
        let told = words(&reply.proof.as_ref().unwrap().recovered);
        assert_eq!((checkpoint.generation, told.len()), (2, 1));
        assert!(told[0].restored.size <= told[0].known.size);
        assert_begins_with(told[0].restored, &reply, checkpoint.head);
        restored.check(&reply);
    }
    // What the word says is true of the log that was lost, too.
    let lost = open(&restored.database).await;
    let request = restored.told(restored.station.push(AT_BACKUP, 20), 1, restored.backup.size);
    let reply = Session::of_station(lost, tenant(), restored.station.id).push(request).await.unwrap();
    assert_begins_with(restored.backup, &reply, restored.checkpoint(&reply).head);
}

#[tokio::test]
async fn a_restored_size_that_no_station_could_follow_is_refused() {
    let restored = Box::pin(Restored::new("sizes")).await;
    let cloud = open(&restored.copy).await;
    let program = Caller::Program { tenant: tenant() };
    let size = restored.backup.size;
    let of = |restored_size| Recover {
        restored: restored_size,
        ..restored.recover(&restored.known, ["Ada", "Bob"], ROOT)
    };
    for (size, why) in [(0, "no log"), (size - 1, "within an append"), (u64::MAX, "never so large")] {
        let refused = gate::pass(&cloud, &program, of(size)).await;
        assert!(matches!(refused, Err(Rejection::BadRequest(text)) if text.contains("never stood")), "{why}");
    }
    let shorter = TreeHead { size: size - 1, root: restored.seen.root };
    let shorter = Checkpoint { tenant: tenant(), generation: 1, head: shorter }.sign(&restored.log);
    let beyond = gate::pass(&cloud, &program, restored.recover(&shorter, ["Ada", "Bob"], ROOT)).await;
    assert!(matches!(beyond, Err(Rejection::BadRequest(text)) if text.contains("beyond")), "{beyond:?}");

    gate::pass(&cloud, &program, of(size)).await.expect("the size of the backup");
    let head = TreeHead { size: 1 << 40, root: restored.seen.root };
    let known = Checkpoint { tenant: tenant(), generation: 2, head }.sign(&restored.log);
    let earlier = gate::pass(&cloud, &program, restored.recover(&known, ["Ada", "Bob"], ROOT)).await;
    assert!(
        matches!(earlier, Err(Rejection::BadRequest(text)) if text.contains("earlier generation")),
        "{earlier:?}"
    );
}

#[tokio::test]
async fn a_backup_from_before_a_recovery_needs_its_word_and_stations_of_each_generation_go_on() {
    let restored = Box::pin(Restored::new("older")).await;
    let older = restored.copy.copy("older_backup").unwrap();
    let cloud = open(&restored.copy).await;
    let program = Caller::Program { tenant: tenant() };
    gate::pass(&cloud, &program, restored.recover(&restored.known, ["Ada", "Bob"], ROOT)).await.unwrap();
    let first = session(&cloud, &restored.station);
    let reply = first.push(restored.station.push(AT_BACKUP, 20)).await.unwrap();
    let (known, of_second) = (reply.proof.clone().unwrap().checkpoint, restored.checkpoint(&reply));
    let word = first.head().await.unwrap().recovered[0].0.clone();
    let statements = [reply.verdicts[0].0.as_slice(), &word, &reply.receipt.unwrap().0].concat();

    let cloud = open(&older).await;
    let recover = |known: &str, earlier: &[u8]| Recover {
        earlier: earlier.to_vec(),
        ..restored.recover(known, ["Cyd", "Dan"], ROOT)
    };
    for (known, earlier, words) in [
        (&known, &[][..], "older than an earlier recovery: hand in"),
        (&known, &reply.verdicts[0].0, "older than an earlier recovery: hand in"),
        (&known, b"no frames", "no frames"),
        (&restored.known, &statements, "of an earlier generation than a statement"),
    ] {
        let refused = gate::pass(&cloud, &program, recover(known, earlier)).await;
        assert!(matches!(refused, Err(Rejection::BadRequest(text)) if text.contains(words)), "{refused:?}");
    }
    let recovered = gate::pass(&cloud, &program, recover(&known, &statements)).await.unwrap();
    assert_eq!(recovered.generation, 3);
    let session = session(&cloud, &restored.station);
    let told = session.head().await.unwrap().recovered;
    assert_eq!((told.len(), &told[0].0), (2, &word));
    for (generation, size, since) in
        [(1, restored.seen.size, &[2, 3][..]), (2, of_second.head.size, &[3][..])]
    {
        let request = restored.told(restored.station.push(AT_BACKUP, 20), generation, size);
        let reply = session.push(request).await.unwrap();
        let checkpoint = restored.checkpoint(&reply);
        let words = words(&reply.proof.as_ref().unwrap().recovered);
        assert_eq!(words.iter().map(|word| word.generation).collect::<Vec<_>>(), since);
        assert_eq!(checkpoint.generation, 3);
        assert_begins_with(words.last().unwrap().restored, &reply, checkpoint.head);
        restored.check(&reply);
    }
}

#[tokio::test]
async fn a_second_restore_begins_a_third_generation_and_both_words_are_told() {
    let restored = Box::pin(Restored::new("twice")).await;
    let cloud = open(&restored.copy).await;
    let program = Caller::Program { tenant: tenant() };
    gate::pass(&cloud, &program, restored.recover(&restored.known, ["Ada", "Bob"], ROOT)).await.unwrap();
    drop(cloud);
    let second = restored.copy.copy("backup_again").unwrap();
    let cloud = open(&restored.copy).await;
    let reply = session(&cloud, &restored.station).push(restored.station.push(AT_BACKUP, 20)).await.unwrap();
    let known = reply.proof.unwrap().checkpoint;

    let cloud = open(&second).await;
    let size = shown(&cloud).await.head.size;
    let work = Recover { restored: size, ..restored.recover(&known, ["Cyd", "Dan"], ROOT) };
    gate::pass(&cloud, &program, work).await.unwrap();
    let session = session(&cloud, &restored.station);
    assert_eq!(session.head().await.unwrap().recovered.len(), 2);
    let request = restored.told(restored.station.push(AT_BACKUP, 20), 1, restored.seen.size);
    let reply = session.push(request).await.unwrap();
    assert_eq!(restored.checkpoint(&reply).generation, 3);
    let words = words(&reply.proof.as_ref().unwrap().recovered);
    assert_eq!(words.iter().map(|word| word.generation).collect::<Vec<_>>(), [2, 3]);
    let head = restored.checkpoint(&reply).head;
    for word in &words {
        assert_begins_with(word.restored, &reply, head);
    }
    restored.check(&reply);
}

#[tokio::test]
async fn nothing_is_owned_up_to_without_a_loss_two_people_and_the_root_key() {
    let restored = Box::pin(Restored::new("refused")).await;
    let cloud = open(&restored.copy).await;
    let program = Caller::Program { tenant: tenant() };
    let own = session(&cloud, &restored.station).push(restored.station.push(0, AT_BACKUP)).await.unwrap();
    let own = own.proof.unwrap().checkpoint;
    let foreign =
        Checkpoint { tenant: TenantId::from_parts(2, &[2; 10]), generation: 1, head: restored.seen };
    let good = restored.known.as_str();
    for (known, people, root, why) in [
        (own.as_str(), ["Ada", "Bob"], ROOT, "the log holds all of it"),
        (&foreign.sign(&restored.log), ["Ada", "Bob"], ROOT, "another tenant's"),
        ("not a checkpoint", ["Ada", "Bob"], ROOT, "no checkpoint"),
        (good, ["Ada", " ada "], ROOT, "one person twice"),
        (good, ["Ada", " "], ROOT, "nobody"),
        (good, ["Ada", "Bob"], [4; 32], "another key"),
    ] {
        let refused = gate::pass(&cloud, &program, restored.recover(known, people, root)).await;
        assert!(matches!(refused, Err(Rejection::BadRequest(_))), "{why}: {refused:?}");
    }
    let unsigned = restored.known.replace("lotgate/", "lotgate/x");
    let refused = gate::pass(&cloud, &program, restored.recover(&unsigned, ["Ada", "Bob"], ROOT)).await;
    assert!(refused.is_err());
    assert!(session(&cloud, &restored.station).head().await.unwrap().recovered.is_empty());
    let recovered = gate::pass(&cloud, &program, restored.recover(good, ["Ada", "Bob"], ROOT)).await;
    assert_eq!(recovered.expect("all of it right").generation, 2);
    let again = gate::pass(&cloud, &program, restored.recover(good, ["Ada", "Bob"], ROOT)).await;
    assert!(matches!(again, Err(Rejection::BadRequest(_))), "an earlier generation: {again:?}");
}
