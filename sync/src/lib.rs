//! The durable queue of one station and the engine that empties it.
//!
//! The flow: the station submits a draft; [`queue`] makes it an entry (place, time, chain link, signature),
//! commits it to the encrypted file and only then answers; the [`engine`], a pure state machine, decides
//! when to send; the [`runner`] asks the queue for checked batches, sends them by [`http`], verifies the
//! receipt and settles. [`secure`] keeps the keys, [`clock`] says what time it may be, [`storage`] is the disk.
//!
//! # Invariants
//! - An answered operation survives a kill at any moment (`tests/queue_kill.rs`).
//! - A group is answered after its commit, or all of it hears of the failure (`tests/queue_failures.rs`).
//! - Operations are never changed (`tests/queue_file.rs`), and removed only when the cloud confirmed them long ago
//!   (`tests/queue_capacity.rs`).
//! - A file in doubt is never changed by looking (`tests/queue_doubt.rs`); a start keeps it, set aside if it cannot
//!   be used, and goes on in a new epoch (`tests/queue_epochs.rs`), whenever the power goes
//!   (`tests/queue_epochs_power.rs`). `DETECTION.md` says who finds what.
//! - New work ends before the disk or the queue is full; open steps can be finished (`tests/queue_capacity.rs`).
//! - Chain and counts hold under any order of appending, settling and reopening (`tests/queue_properties.rs`).
//! - The engine has at most three batches under way, takes their answers in order, never skips an entry, never gives
//!   up, and drains in bounded steps once faults stop; within 5 s of the listener's return
//!   (`tests/engine_properties.rs`).
//! - Nothing that the cloud says counts before it is verified and stored (`tests/engine_runner.rs`).
//! - An epoch is pushed when everything before it was answered (`tests/engine_epochs.rs`).
//! - After an accepted restore of the cloud, its feed replaces what is here once all of it verifies, and only then
//!   (`tests/engine_feed.rs`).
//! - No answer over the wire is trusted in length, form or place (`tests/http_client.rs`, `tests/http_tls.rs`).
//! - A wrong wall clock keeps nothing from being sent, over TLS too (`tests/http_time.rs`).

pub mod clock;
pub mod engine;
pub mod http;
pub mod queue;
pub mod runner;
pub mod secure;
pub mod storage;
