//! The durable queue of one station and the engine that empties it.
//!
//! The flow: the station submits a draft; [`queue`] makes it an entry (place, time, chain link, signature),
//! commits it to the encrypted file and only then answers; the [`engine`], a pure state machine, decides
//! when to send; the [`runner`] asks the queue for checked batches, sends them by [`http`], verifies the
//! receipt and settles. [`secure`] keeps the keys, [`clock`] says what time it may be.
//!
//! # Invariants
//! - An answered operation survives a kill at any moment (`tests/queue_kill.rs`).
//! - A group is answered after its commit, or all of it hears of the failure (`tests/queue_failures.rs`).
//! - Operations are never changed or removed (`tests/queue_file.rs`).
//! - A file that is in doubt is left as it was found (`tests/queue_doubt.rs`).
//! - Chain and counts hold under any order of appending, settling and reopening (`tests/queue_properties.rs`).
//! - The engine has one call under way, never skips an entry, never gives up, and drains in bounded steps once
//!   faults stop; within 5 s of the listener's return (`tests/engine_properties.rs`).
//! - Nothing that the cloud says counts before it is verified and stored (`tests/engine_runner.rs`).
//! - No answer over the wire is trusted in length, form or place (`tests/http_client.rs`, `tests/http_tls.rs`).

pub mod clock;
pub mod engine;
pub mod http;
pub mod queue;
pub mod runner;
pub mod secure;
