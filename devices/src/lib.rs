//! Bytes from hardware to [`DeviceEvent`](event::DeviceEvent)s, and the simulated devices that stand in for it.
//!
//! ```text
//! port ─ reader thread ─ FrameDecoder ─ queue ─ EventSink ─ station
//! station ─ orders ─ printer thread ─ TCP 9100; its answers ─ Evidence ─ queue ─ EventSink ─ station
//! ```
//! 1. [`binding`] says which scanner: role, path or USB identity, line settings.
//! 2. [`serial`] opens its port, reads it on a thread of its own, and opens it again after every loss.
//! 3. [`frame`] cuts the bytes into scans; it alone decides what is a scan.
//! 4. [`printer`] asks a label printer how it stands, sends a job's bytes once, and looks for evidence that the job was
//!    printed; it alone decides what is evidence.
//! 5. [`event`]: scans, changes of state, faults, and what became of jobs are offered to the consumer in order.
//! 6. `sim` (feature `sim`) is the other end: a scanner on a pseudo-terminal, a printer on a TCP port; `lotgate-sim` is
//!    its program.
//!
//! Nothing here knows what a scan or a label means, and nothing here waits for a database.
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
//! - A pseudo-terminal is a simulated device, also behind a link: `a_scan_arrives_whole_and_names_its_device`; so is a
//!   printer on loopback: `a_printer_on_loopback_is_simulated_and_its_id_is_its_address`.
//! - No byte of a label leaves before the printer is ready:
//!   `a_job_waits_for_a_printer_that_says_what_is_wrong_and_no_byte_of_it_leaves`.
//! - No job is sent twice: `a_job_told_to_be_sent_twice_is_sent_once`,
//!   `a_job_under_which_the_printer_stays_silent_is_doubtful_and_never_sent_again`.
//! - Nothing is called printed without evidence: `nothing_is_evidence_without_an_idle_answer_that_was_asked_for`,
//!   `a_slow_printers_job_is_not_confirmed_before_the_label_is_out`. A printer that lies is believed:
//!   `a_printer_that_loses_labels_and_says_that_all_is_well_is_believed`.
//! - What cannot be known is said to be doubtful:
//!   `a_connection_lost_behind_any_byte_leaves_the_job_doubtful_whether_it_was_printed_or_not`.
//! - No answer, however hostile, does worse than name a state: `hostile_answers_are_a_state_and_nothing_worse`,
//!   `no_bytes_panic_and_none_is_kept_for_long`.
//! - A reader ends within 300 ms: `a_reader_stops_promptly_whatever_it_is_doing`; a printer's thread tells nothing more
//!   after its handle is dropped: `a_thread_ends_promptly_whatever_it_waits_for`.

pub mod binding;
pub mod event;
pub mod frame;
mod outbox;
pub mod printer;
pub mod serial;
#[cfg(feature = "sim")]
pub mod sim;
