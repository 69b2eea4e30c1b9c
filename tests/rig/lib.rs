//! The rig of the whole-system tests: real parts, started and stopped, cut off and killed by a test.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "the rig is test code: what is not as it must be ends the test"
)]

pub mod care;
pub mod cloud;
pub mod courier;
pub mod display;
pub mod network;
pub mod plant;
pub mod postgres;
pub mod programs;
pub mod scenes;
pub mod station_keys;
