//! Simulated devices: for demonstration, training and tests.
//!
//! A station knows them for what they are, because their ports are pseudo-terminals.

pub mod command;
#[cfg(unix)]
pub mod control;
#[cfg(unix)]
pub mod scanner;
