//! A label printer that speaks ZPL over TCP, driven by a thread of its own (LBL-3, LBL-4).
//!
//! The thread asks `~HS` and tells each change of state. A job goes three steps, each asked for by the station:
//! [`prepare`](NetworkPrinter::prepare) until the printer is ready and its connection open, then
//! [`send`](NetworkPrinter::send) on that connection, then the answers that come on it are evidence, or the job is
//! doubtful. No byte of a job is ever sent twice, and no job is sent again by itself.

mod binding;
mod driver;
mod evidence;
mod link;
mod status;

pub use binding::{PORT, PrinterBinding, PrinterTiming};
pub use evidence::Evidence;
pub use status::{HostStatus, NotZpl, QUESTION, StatusReader};

use std::collections::VecDeque;
use std::io;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::event::{DeviceInfo, EventSink, Job, PrinterState};

/// How long dropping waits for the thread: one that is just connecting ends by itself a little later, and tells
/// nothing more.
const GOODBYE: Duration = Duration::from_millis(500);

/// A driven printer. Dropping it stops the thread.
#[derive(Debug)]
pub struct NetworkPrinter {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

/// What is known of the printer at this moment, for status displays. Decisions are made from events.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PrinterStatus {
    /// The device as its events name it.
    pub device: DeviceInfo,
    /// How it stands.
    pub state: PrinterState,
    /// When it last answered, if it ever did.
    pub last_heard: Option<Instant>,
}

impl NetworkPrinter {
    /// Starts the thread. It asks at once, and then for as long as it lives.
    ///
    /// # Errors
    /// The operating system refuses the thread. Whatever is wrong with the printer is an event, not an error.
    pub fn start(binding: PrinterBinding, timing: PrinterTiming, sink: impl EventSink) -> io::Result<Self> {
        let status = PrinterStatus { device: binding.info(), state: PrinterState::Opening, last_heard: None };
        let shared = Arc::new(Shared {
            orders: Mutex::new(Orders { stop: false, ended: false, waiting: VecDeque::new() }),
            changed: Condvar::new(),
            status: Mutex::new(status),
        });
        let for_thread = Arc::clone(&shared);
        let thread = std::thread::Builder::new().name("printer".to_owned()).spawn(move || {
            let end = EndNote(&for_thread);
            driver::run(&binding, timing, &for_thread, sink);
            drop(end);
        })?;
        Ok(Self { shared, thread: Some(thread) })
    }

    /// Tries until the printer is ready, then tells [`Prepared`](crate::event::PrinterEvent::Prepared), or until
    /// the job is forgotten. No byte of the job leaves. While another job is being watched this one waits; of two
    /// that wait the later one stays.
    pub fn prepare(&self, job: Job) {
        self.shared.order(Order::Prepare(job));
    }

    /// Sends a prepared job's bytes and tells what was [`Written`](crate::event::PrinterEvent::Written): nothing
    /// if the job is not prepared or the connection broke meanwhile. If all of it left, then `Confirmed` or
    /// `Doubtful` follows, unless the job is forgotten before.
    pub fn send(&self, job: Job, bytes: Vec<u8>) {
        self.shared.order(Order::Send(job, bytes));
    }

    /// Ends all work on the job. A report that was on its way can still arrive.
    pub fn forget(&self, job: Job) {
        self.shared.order(Order::Forget(job));
    }

    /// What is known at this moment.
    #[must_use]
    pub fn status(&self) -> PrinterStatus {
        self.shared.status().clone()
    }
}

impl Drop for NetworkPrinter {
    fn drop(&mut self) {
        let mut orders = self.shared.orders();
        orders.stop = true;
        self.shared.changed.notify_all();
        let waited = self.shared.changed.wait_timeout_while(orders, GOODBYE, |orders| !orders.ended);
        let ended = waited.unwrap_or_else(PoisonError::into_inner).0.ended;
        if ended
            && let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the printer thread ended abnormally");
        }
    }
}

/// Says that the thread is done, however it ends.
struct EndNote<'a>(&'a Shared);

impl Drop for EndNote<'_> {
    fn drop(&mut self) {
        self.0.orders().ended = true;
        self.0.changed.notify_all();
    }
}

/// What the station wants.
#[derive(Debug)]
enum Order {
    Prepare(Job),
    Send(Job, Vec<u8>),
    Forget(Job),
}

#[derive(Debug)]
struct Orders {
    stop: bool,
    ended: bool,
    waiting: VecDeque<Order>,
}

/// What the handle and its thread both see.
#[derive(Debug)]
struct Shared {
    orders: Mutex<Orders>,
    changed: Condvar,
    status: Mutex<PrinterStatus>,
}

impl Shared {
    fn orders(&self) -> MutexGuard<'_, Orders> {
        self.orders.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn order(&self, order: Order) {
        self.orders().waiting.push_back(order);
        self.changed.notify_all();
    }

    fn next_order(&self) -> Option<Order> {
        self.orders().waiting.pop_front()
    }

    fn should_stop(&self) -> bool {
        self.orders().stop
    }

    /// The station has already said that it wants nothing more of this job.
    fn is_forgotten(&self, job: Job) -> bool {
        self.orders().waiting.iter().any(|order| matches!(order, Order::Forget(other) if *other == job))
    }

    /// Waits for `time`, until an order comes or until the thread must stop.
    fn wait(&self, time: Duration) {
        let idle = |orders: &mut Orders| !orders.stop && orders.waiting.is_empty();
        let waited = self.changed.wait_timeout_while(self.orders(), time, idle);
        drop(waited.unwrap_or_else(PoisonError::into_inner));
    }

    fn status(&self) -> MutexGuard<'_, PrinterStatus> {
        self.status.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Asks the printer once, as [`NetworkPrinter`] would, and leaves it alone again.
#[must_use]
pub fn try_printer(binding: &PrinterBinding, timing: &PrinterTiming) -> PrinterState {
    match driver::look(binding, timing, || false) {
        driver::Look::Answered(_, status) => status.state(),
        driver::Look::Other(state) => state,
    }
}
