//! The cloud's rules as pure functions over a small store (PROTOCOL §3, §4).
//!
//! The flow of a push: [`prefix::check`] looks at each entry alone (this is what may run in parallel). **T1**,
//! with the station's turn: [`ingest()`] takes the longest continuous prefix and leaves what is new waiting,
//! without an index. **T2**, with the tenant's turn, by any worker: [`number()`] gives every waiting batch, in
//! order of arrival, its log indexes, judges each operation, signs the verdict leaf after it and the receipt, and
//! grows the Merkle tree. [`answer()`] then reads what the push is answered with. The store is Postgres in the
//! cloud and [`memory::MemoryStore`] in simulations; the same scripts run through both
//! (`tests/tests/ledger_stores.rs`).

pub mod answer;
pub mod ingest;
pub mod memory;
pub mod number;
pub mod prefix;
pub mod store;
pub mod verdict;

pub use answer::{Answer, answer};
pub use ingest::{Ingested, ingest};
pub use number::{append, number};
pub use store::{Branch, Evidence, Held, Leaf, Place, Store, StoredEntry, Tree, TreeRow, WaitingBatch};

use crate::ids::{Hash, KeyId, PublicKey, SiteId, StationId, TenantId};
use crate::operation::body::ChainPoint;
use crate::signature::KeyPair;
use crate::statement::StatementError;
use crate::statement::event::Closing;

/// A key that a station was certified for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StationKey {
    /// The key.
    pub key: PublicKey,
    /// Hash of its certificate: what every epoch signed with it starts from.
    pub certificate: Hash,
}

/// What the rules need to know of a station.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Station {
    /// Whose.
    pub tenant: TenantId,
    /// Where.
    pub site: SiteId,
    /// Which.
    pub id: StationId,
    /// Its present key.
    pub key: PublicKey,
    /// Hash of its present certificate.
    pub certificate: Hash,
    /// The keys that it had before; what they signed stays valid.
    pub former: Vec<StationKey>,
    /// Certified for training.
    pub training: bool,
    /// How it came to its end, and the last entry that it had reported by then.
    pub closed: Option<(Closing, Option<ChainPoint>)>,
}

impl Station {
    /// Every key, the present one first.
    pub fn keys(&self) -> impl Iterator<Item = StationKey> {
        let present = StationKey { key: self.key, certificate: self.certificate };
        std::iter::once(present).chain(self.former.iter().copied())
    }

    /// The certificate that an epoch signed with this key starts from.
    #[must_use]
    pub fn certificate_of(&self, key: KeyId) -> Option<Hash> {
        self.keys().find(|known| known.key.key_id() == key).map(|known| known.certificate)
    }

    /// Whether this is the hash of one of its certificates.
    #[must_use]
    pub fn has_certificate(&self, hash: Hash) -> bool {
        self.keys().any(|known| known.certificate == hash)
    }
}

/// The key that signs verdicts and receipts, and whose it is.
#[derive(Debug)]
pub struct Authority<'a> {
    /// The tenant.
    pub tenant: TenantId,
    /// Its statement key.
    pub keys: &'a KeyPair,
}

impl Authority<'_> {
    /// Id of the statement key.
    #[must_use]
    pub fn key(&self) -> KeyId {
        self.keys.public().key_id()
    }
}

/// Why a push could not be worked on.
#[derive(Debug, thiserror::Error)]
pub enum LedgerError<E> {
    /// The cloud does not hold what the batch comes after: 409 with the cloud's head.
    #[error("batch comes after an entry that is not held")]
    HeadMismatch,
    /// The store failed.
    #[error("store failed")]
    Store(#[source] E),
    /// A statement could not be signed.
    #[error("statement could not be signed")]
    Statement(#[from] StatementError),
    /// What the store holds contradicts the rules.
    #[error("stored data is not as the rules left it: {0}")]
    Stored(&'static str),
}
