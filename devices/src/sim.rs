//! Simulated devices: for demonstration, training and tests.
//!
//! A station knows them for what they are, because their ports are pseudo-terminals and their addresses loopback.

pub mod command;
#[cfg(unix)]
pub mod control;
pub mod printer;
#[cfg(unix)]
pub mod scanner;
