//! A scanner on a serial port, read by a thread of its own.

use std::io;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::binding::{ScannerBinding, Timing};
use crate::event::{DeviceInfo, DeviceState, EventSink};

mod port;
mod reader;

pub(crate) use port::device_before_opening;
pub use port::try_port;

/// A running reader. Dropping it stops the thread and waits for it.
#[derive(Debug)]
pub struct SerialScanner {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

/// What is known of the scanner at this moment, for status displays. Decisions are made from events.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ScannerStatus {
    /// The device as its last event named it.
    pub device: DeviceInfo,
    /// Its state.
    pub state: DeviceState,
    /// When the last byte was read, if any was.
    pub last_heard: Option<Instant>,
    /// Bytes of a scan whose terminator has not come yet.
    pub unfinished_bytes: usize,
    /// Events that the consumer has not taken yet.
    pub waiting_events: usize,
    /// How often the queue of waiting events was full since the start.
    pub overruns: u64,
}

impl SerialScanner {
    /// Starts the reader. It opens the port, and opens it again for ever, until it is stopped or the sink is closed.
    ///
    /// # Errors
    /// The operating system refuses the thread. Whatever is wrong with the port is an event, not an error.
    pub fn start(binding: ScannerBinding, timing: Timing, sink: impl EventSink) -> io::Result<Self> {
        let device = port::device_before_opening(&binding);
        let shared = Arc::new(Shared {
            stop: Mutex::new(false),
            stopped: Condvar::new(),
            status: Mutex::new(ScannerStatus {
                device: device.clone(),
                state: DeviceState::Opening,
                last_heard: None,
                unfinished_bytes: 0,
                waiting_events: 0,
                overruns: 0,
            }),
        });
        let for_thread = Arc::clone(&shared);
        let thread = std::thread::Builder::new()
            .name("scanner".to_owned())
            .spawn(move || reader::run(&binding, timing, device, &for_thread, sink))?;
        Ok(Self { shared, thread: Some(thread) })
    }

    /// What is known at this moment.
    #[must_use]
    pub fn status(&self) -> ScannerStatus {
        self.shared.status().clone()
    }

    /// Ends the reader and waits for it: one read at most. The port is closed; events not taken yet are dropped.
    ///
    /// Not to be called from within the sink, which runs on the reader's thread.
    pub fn stop(mut self) {
        self.end();
    }

    fn end(&mut self) {
        self.shared.ask_to_stop();
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the scanner thread ended abnormally");
        }
    }
}

impl Drop for SerialScanner {
    fn drop(&mut self) {
        self.end();
    }
}

/// What the handle and its thread both see.
#[derive(Debug)]
struct Shared {
    stop: Mutex<bool>,
    stopped: Condvar,
    status: Mutex<ScannerStatus>,
}

impl Shared {
    fn ask_to_stop(&self) {
        *self.stop.lock().unwrap_or_else(PoisonError::into_inner) = true;
        self.stopped.notify_all();
    }

    fn should_stop(&self) -> bool {
        *self.stop.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for `time` or until the reader is asked to stop; returns whether it is.
    fn wait(&self, time: Duration) -> bool {
        let stop = self.stop.lock().unwrap_or_else(PoisonError::into_inner);
        let (stop, _) = self
            .stopped
            .wait_timeout_while(stop, time, |stop| !*stop)
            .unwrap_or_else(PoisonError::into_inner);
        *stop
    }

    fn status(&self) -> MutexGuard<'_, ScannerStatus> {
        self.status.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
