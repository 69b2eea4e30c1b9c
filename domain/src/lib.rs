//! The pure core: what an operation is, byte for byte, and what the cloud makes of it.
//!
//! The flow: scan bytes become a [`barcode`] reading ([`gs1`] checks it), the reading becomes a [`lot`]
//! decision against [`mod@reference`] data, the decision becomes an [`operation`], written once in
//! [`canonical`] form, framed and hashed as an [`entry`], linked into a [`chain`] and signed
//! ([`signature`]). A [`label`] is compiled to the bytes of its printer. The cloud answers with signed statements ([`statement`], [`certificate`]) over the
//! wire types of [`protocol`], and decides by the rules of [`ledger`].
//!
//! # Invariants
//! - No I/O, no clock, no runtime, no database: `now` and random bytes are arguments
//!   (`tests/tests/boundaries.rs`).
//! - Signed bytes are never written a second time: reading checks them, passing on copies them
//!   (`entry::tests::a_frame_keeps_its_bytes`).
//! - A released version's bytes never change (`tests/golden.rs`), and each value has one spelling
//!   (`tests/bytes_properties.rs`, `tests/reading_agrees.rs`).
//! - No entry of a chain can be dropped, inserted, exchanged or edited unseen (`tests/chain_properties.rs`).
//! - Numbers have no holes, each operation has one verdict, nothing waits behind a poison operation
//!   (`tests/ledger_rules.rs`).
//! - One rule decides every Ed25519 signature, [`signature::verify`]; a [`signature::PreparedKey`] decides by the same
//!   one (`tests/signature_vectors.rs`).
//! - A proof that is not exactly the proof of what is claimed is refused (`tests/merkle_vectors.rs`).
//! - Nothing in a value can act as a command of the printer ([`label`]; `tests/label_rules.rs`).
//! - No outside bytes can panic (`tests/gs1_properties.rs`, `tests/bytes_properties.rs`, the fuzz targets).

pub mod barcode;
pub mod canonical;
pub mod certificate;
pub mod chain;
pub mod entry;
pub mod epoch;
pub mod export;
pub mod gs1;
pub mod ids;
pub mod label;
pub mod ledger;
pub mod lot;
pub mod merkle;
pub mod operation;
pub mod protocol;
pub mod reference;
pub mod signature;
pub mod statement;
pub mod text;
pub mod time;
