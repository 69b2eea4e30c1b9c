//! `lotgate-cloud log recovered`: owning up to a restore of the database that is behind what stations hold
//! checkpoints for (PROTOCOL §4, Recovery).
//!
//! The cloud cannot find out by itself that it was restored; stations do, and settle nothing. Two people of the
//! tenant and its root key then say so in a statement, which begins the next generation of checkpoints. Until they
//! do, the restored log may grow: where it parts from the log that stations know only the operator can say, who read
//! it ([`ShowLog`]) before the restored cloud served anybody.

use crate::database::{DatabaseError, big, to_system_time};
use crate::error::Rejection;
use crate::gate::audit::Change;
use crate::gate::{Access, Passage, Work};
use crate::log;
use crate::store::PgStore;
use lotgate_domain::entry::Frame;
use lotgate_domain::ids::{Hash, PublicKey};
use lotgate_domain::ledger::number::Single;
use lotgate_domain::ledger::{Store as _, TreeRow};
use lotgate_domain::merkle::checkpoint::Checkpoint;
use lotgate_domain::merkle::proof::TreeHead;
use lotgate_domain::merkle::{self, Span};
use lotgate_domain::signature::KeyPair;
use lotgate_domain::statement::event::LogRecovered;
use lotgate_domain::statement::{self, Statement as _};
use serde_json::json;

/// The longest reason or name, in bytes.
const LONGEST_TEXT: usize = 1_000;

const EARLIER_MISSING: &str = "the backup is older than an earlier recovery: hand in the log.recovered of every \
    generation between the backup and the checkpoint, from statements.bin of an export of the cloud or of a station";

/// Tells how the log stands.
#[derive(Debug, Clone, Copy)]
pub struct ShowLog;

/// How the log stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LogHead {
    /// Generation of its checkpoints.
    pub generation: u64,
    /// Its size and root.
    pub head: TreeHead,
}

impl Work for ShowLog {
    type Reply = LogHead;
    const ACTION: &'static str = "log.shown";
    const ACCESS: Access = Access::Program;

    async fn run(self, passage: &Passage<'_>) -> Result<(LogHead, Change), Rejection> {
        let TreeRow { generation, head, .. } = PgStore::of(passage).newest().await?;
        if head.size == 0 {
            return Err(Rejection::Missing("tenant with this id"));
        }
        let change = Change::none(Some(head.root), json!({"generation": generation, "size": head.size}));
        Ok((LogHead { generation, head }, change))
    }
}

/// Begins the next generation.
#[derive(Debug)]
pub struct Recover {
    /// The tenant's root key.
    pub root: KeyPair,
    /// Size of the log as the backup held it ([`ShowLog`], before the restored cloud served anybody).
    pub restored: u64,
    /// The newest checkpoint that anybody holds, a signed note.
    pub known: String,
    /// Where the backup is older than an earlier recovery: frames back to back, among them the `log.recovered` of
    /// every generation that the backup does not know. Others are passed over.
    pub earlier: Vec<u8>,
    /// Why, in people's words.
    pub reason: String,
    /// The two people who decided it.
    pub people: [String; 2],
}

/// What was begun.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recovered {
    /// Generation of the checkpoints from here on.
    pub generation: u64,
    /// The log as it was restored.
    pub restored: TreeHead,
    /// The log as it was known.
    pub known: TreeHead,
    /// How the log stands with the statement.
    pub tree: TreeHead,
}

/// A statement that begins a generation.
struct Word {
    generation: u64,
    bytes: Vec<u8>,
}

impl Work for Recover {
    type Reply = Recovered;
    const ACTION: &'static str = "log.recovered";
    const ACCESS: Access = Access::Program;

    async fn run(self, passage: &Passage<'_>) -> Result<(Recovered, Change), Rejection> {
        self.check_words()?;
        check_root(passage, &self.root).await?;
        let mut store = PgStore::of(passage);
        store.wait_for_tenant().await?;
        let newest = store.newest().await?;
        let known = Checkpoint::read(&self.known, passage.tenant, &log_key(passage).await?)
            .map_err(|_| Rejection::BadRequest("the checkpoint is not one of this tenant's log"))?;
        check_is_behind(&mut store, &newest, &known).await?;
        let restored = self.restored(&store, &newest, &known).await?;
        let earlier = self.earlier(passage, newest.generation, known.generation)?;
        let generation = known.generation.saturating_add(1);
        let [one, other] = self.people;
        let statement = LogRecovered {
            v: 1,
            kind: LogRecovered::KIND.to_owned(),
            tenant: passage.tenant,
            key: self.root.public().key_id(),
            generation,
            restored,
            known: known.head,
            reason: self.reason,
            people: [one.trim().to_owned(), other.trim().to_owned()],
            time: passage.now,
        };
        for word in earlier {
            begin(passage, word).await?;
        }
        let bytes = statement::sign(&statement, &self.root)?;
        let tree = begin(passage, Word { generation, bytes }).await?.head;
        let change = Change {
            enrolled: None,
            detail: json!({
                "generation": generation,
                "restored": restored,
                "known": known.head,
                "reason": statement.reason,
                "people": statement.people,
            }),
            prior: Some(newest.head.root),
            next: Some(tree.root),
        };
        Ok((Recovered { generation, restored, known: known.head, tree }, change))
    }
}

impl Recover {
    fn check_words(&self) -> Result<(), Rejection> {
        let usable = |text: &str| {
            !text.trim().is_empty() && text.len() <= LONGEST_TEXT && !text.chars().any(char::is_control)
        };
        let [one, other] = &self.people;
        if !usable(&self.reason) || !usable(one) || !usable(other) {
            return Err(Rejection::BadRequest("a reason and two people are needed"));
        }
        if one.trim().to_lowercase() == other.trim().to_lowercase() {
            return Err(Rejection::BadRequest("two different people decide this"));
        }
        Ok(())
    }

    /// The log as the backup held it: what it and the log that was lost have in common.
    async fn restored(
        &self,
        store: &PgStore<'_>,
        newest: &TreeRow,
        known: &Checkpoint,
    ) -> Result<TreeHead, Rejection> {
        let row = store.tree_of_size(self.restored).await?;
        let row = row.ok_or(Rejection::BadRequest("the log never stood at the restored size"))?;
        if row.generation != newest.generation {
            return Err(Rejection::BadRequest("the restored size is of an earlier generation of the log"));
        }
        if row.head.size > known.head.size {
            return Err(Rejection::BadRequest(
                "the restored size is beyond the checkpoint: bring a newer one",
            ));
        }
        Ok(row.head)
    }

    /// The words that are lost with the log: those of every generation after `held`, up to that of the checkpoint.
    fn earlier(&self, passage: &Passage<'_>, held: u64, known: u64) -> Result<Vec<Word>, Rejection> {
        let mut words = Vec::new();
        let mut rest = self.earlier.as_slice();
        while !rest.is_empty() {
            let split = Frame::split_first(rest);
            let (frame, left) =
                split.map_err(|_| Rejection::BadRequest("earlier statements are no frames"))?;
            rest = left;
            let read = statement::read::<LogRecovered>(frame.bytes(), passage.tenant, &self.root.public());
            let Ok(signed) = read else { continue };
            let generation = signed.value.generation;
            if generation > held {
                words.push(Word { generation, bytes: signed.bytes });
            }
        }
        words.sort_by_key(|word| word.generation);
        words.dedup_by_key(|word| word.generation);
        if words.last().is_some_and(|word| word.generation > known) {
            return Err(Rejection::BadRequest("the checkpoint is of an earlier generation than a statement"));
        }
        let whole = words.iter().map(|word| word.generation).eq(held.saturating_add(1)..=known);
        if whole { Ok(words) } else { Err(Rejection::BadRequest(EARLIER_MISSING)) }
    }
}

/// Keeps a word of the tenant's root key, whose leaf is the first of the generation that it begins.
async fn begin(passage: &Passage<'_>, word: Word) -> Result<TreeRow, Rejection> {
    insert(passage, word.generation, &word.bytes).await?;
    let single = Single::Statement { kind: LogRecovered::KIND, station: None, bytes: word.bytes };
    log::append(passage, vec![single]).await
}

async fn check_root(passage: &Passage<'_>, root: &KeyPair) -> Result<(), Rejection> {
    let row = passage.transaction.query_opt("SELECT root_fingerprint FROM tenant", &[]).await?;
    let row = row.ok_or(Rejection::Missing("tenant with this id"))?;
    let fingerprint = Hash::from_slice(row.try_get(0)?);
    if fingerprint != Ok(root.public().fingerprint()) {
        return Err(Rejection::BadRequest("the key is not the tenant's root key"));
    }
    Ok(())
}

async fn log_key(passage: &Passage<'_>) -> Result<PublicKey, Rejection> {
    let query = "SELECT public_key FROM tenant_key WHERE key_use = 'log'";
    let row = passage.transaction.query_opt(query, &[]).await?;
    let row = row.ok_or(Rejection::Missing("log key of this tenant"))?;
    let key = PublicKey::from_slice(row.try_get(0)?);
    Ok(key.map_err(|_| DatabaseError::Column("tenant_key.public_key"))?)
}

/// The checkpoint must be one that the log does not contain: otherwise nothing was lost, and there is nothing to
/// own up to.
async fn check_is_behind(
    store: &mut PgStore<'_>,
    newest: &TreeRow,
    known: &Checkpoint,
) -> Result<(), Rejection> {
    if known.generation < newest.generation {
        return Err(Rejection::BadRequest("the checkpoint is of an earlier generation of the log"));
    }
    // One of a later generation: the backup is older than the last recovery, whose word is lost with it.
    if known.generation == newest.generation && known.head.size <= newest.head.size {
        let cover = Span { first: 0, end: known.head.size }.cover();
        let held = merkle::fold(&store.nodes(&cover).await?);
        if held == known.head.root {
            return Err(Rejection::BadRequest("the log holds all that the checkpoint is about"));
        }
    }
    Ok(())
}

async fn insert(passage: &Passage<'_>, generation: u64, bytes: &[u8]) -> Result<(), DatabaseError> {
    passage
        .transaction
        .execute(
            "INSERT INTO recovered (tenant_id, generation, bytes, recovered_at) VALUES ($1, $2, $3, $4)",
            &[&passage.tenant.0, &big(generation), &bytes, &to_system_time(passage.now)],
        )
        .await?;
    Ok(())
}
