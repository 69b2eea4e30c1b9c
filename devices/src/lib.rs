//! Bytes from hardware to [`DeviceEvent`](event::DeviceEvent)s, and the simulated devices that stand in for it.
//!
//! ```text
//! port ─ reader thread ─ FrameDecoder ─ queue ─ EventSink ─ station
//! ```
//! 1. [`binding`] says which scanner: role, path or USB identity, line settings.
//! 2. [`serial`] opens its port, reads it on a thread of its own, and opens it again after every loss.
//! 3. [`frame`] cuts the bytes into scans; it alone decides what is a scan.
//! 4. [`event`]: scans, changes of state and faults are offered to the consumer in order.
//! 5. [`sim`] is the scanner's other end on a pseudo-terminal; `lotgate-sim` is its program.
//!
//! Nothing here knows what a scan means, and nothing here waits for a database.
//!
//! # Invariants
//! - A scan is delivered whole or not at all: `any_chunking_gives_the_same_scans`,
//!   `every_byte_value_survives_except_the_terminator`.
//! - What is discarded is announced: `every_byte_is_in_a_scan_a_fault_or_a_terminator`.
//! - Bytes from before a silence, an unplugging or another reader never become part of a scan:
//!   `a_scan_without_terminator_is_announced_and_never_joined_to_the_next`,
//!   `a_pulled_cable_discards_the_half_scan_and_a_replug_works_without_restart`,
//!   `the_end_of_a_scan_that_a_dead_reader_began_is_not_a_scan`.
//! - Each change of state is one event, however often opening is tried:
//!   `a_missing_port_is_reported_once_and_ready_when_it_appears`.
//! - A slow consumer loses nothing and is told: `a_consumer_that_is_too_slow_is_announced_and_loses_nothing`.
//! - Two programs never share a scanner's bytes: `a_port_in_use_by_another_program_is_busy_until_it_is_free`.
//! - A pseudo-terminal is a simulated device, also behind a link: `a_scan_arrives_whole_and_names_its_device`.
//! - A reader ends within 300 ms: `a_reader_stops_promptly_whatever_it_is_doing`.

pub mod binding;
pub mod event;
pub mod frame;
pub mod serial;
pub mod sim;
