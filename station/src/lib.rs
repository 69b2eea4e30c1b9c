//! One workstation without a window: what a scan means here, and the program `lotgate`.
//!
//! The flow: [`config`] names the devices; each one's events reach the [`actor`]; a scan is decided by
//! [`scan`] against the newest reference data, identical refusals are counted by [`repeat`]; the operation
//! goes to the queue of `lotgate-sync`, and only after its commit the actor reports it. A label goes the way of
//! [`print`](mod@print), its picture is made by [`preview`]. [`enrol`] makes a station of a machine, [`retired`] notes its end.
//! [`kiosk`] is the station with a screen, [`screen`] what the screen says; [`cli`] is the program without one.
//!
//! # Invariants
//! - No report, reply or output line of an operation leaves before its commit returned
//!   (`tests/tests/whole_way.rs`, `tests/tests/kill.rs`).
//! - A scan that is refused is an operation too, identical ones within ten seconds are counted
//!   (`repeat::tests`, `tests/tests/whole_way.rs`).
//! - An unknown configuration key is an error with its place, whatever source it is in
//!   (`config::tests`, `tests/tests/cli_config.rs`).
//! - Where the device secret lies is chosen once, at enrolment (`tests/tests/key_stores.rs`).
//! - A full queue refuses each scan loudly, and the station goes on (`tests/tests/actor.rs`).
//! - A retired station never starts again (`tests/tests/retire_cli.rs`).

pub mod actor;
pub mod cli;
pub mod config;
pub mod enrol;
pub mod kiosk;
pub mod preview;
pub mod print;
pub mod repeat;
pub mod retired;
mod run;
pub mod scan;
pub mod screen;

pub use run::wait_for_signal;
