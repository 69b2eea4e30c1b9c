//! The printer's thread: ask, prepare, send, watch.

use std::time::{Duration, Instant};

use super::evidence::Evidence;
use super::link::{Heard, Link};
use super::status::HostStatus;
use super::{Order, PrinterBinding, PrinterTiming, Shared};
use crate::event::{
    DeviceEventKind, DeviceInfo, EventSink, Job, JobDoubt, PrinterEvent, PrinterState, Written,
};
use crate::outbox::Outbox;

/// How often a consumer that had no room is asked again.
const HAND_OVER_WAIT: Duration = Duration::from_millis(10);

pub(super) fn run(binding: &PrinterBinding, timing: PrinterTiming, shared: &Shared, sink: impl EventSink) {
    let mut driver = Driver {
        binding,
        timing,
        shared,
        device: binding.info(),
        outbox: Outbox::new(sink, timing.queue.max(1)),
        state: PrinterState::Opening,
        known: false,
        idle_wait: timing.idle,
        next: None,
        work: Work::Idle { at: Instant::now() },
    };
    while !driver.must_end() {
        while let Some(order) = shared.next_order() {
            driver.obey(order);
        }
        driver.turn();
        driver.outbox.hand_over();
    }
}

/// What one question came to.
pub(super) enum Look {
    /// The printer's answer, and the connection that it came on.
    Answered(Link, HostStatus),
    /// What stands in its way.
    Other(PrinterState),
}

/// Connects and asks once.
pub(super) fn look(binding: &PrinterBinding, timing: &PrinterTiming, stop: impl Fn() -> bool) -> Look {
    let mut link = match Link::open(binding, timing.connect) {
        Ok(link) => link,
        Err(error) => {
            tracing::debug!(printer = binding.address(), %error, "no connection");
            return Look::Other(PrinterState::Unreachable);
        }
    };
    // Whoever takes a connection and closes it again has no time for it: many printers talk to one at a time.
    if link.ask(timing.status).is_err() {
        return Look::Other(PrinterState::Busy);
    }
    let asked = Instant::now();
    while asked.elapsed() < timing.status && !stop() {
        match link.hear() {
            Heard::Nothing => {}
            Heard::Answers(answers) => match answers.first() {
                Some(Ok(status)) => return Look::Answered(link, *status),
                Some(Err(_)) => return Look::Other(PrinterState::NotZpl),
                None => {}
            },
            Heard::Lost => return Look::Other(PrinterState::Busy),
        }
    }
    Look::Other(PrinterState::Silent)
}

enum Work {
    /// No job: a look at the printer when it is due.
    Idle { at: Instant },
    /// A job waits for the printer to be ready.
    Preparing { job: Job, at: Instant },
    /// The printer is ready and connected.
    Prepared { job: Job, link: Link },
    /// The job's bytes have left.
    Watching(Box<Watch>),
}

/// Looking for evidence that a job was printed.
struct Watch {
    job: Job,
    link: Link,
    evidence: Evidence,
    /// The last byte left.
    sent: Instant,
    /// The next question is due.
    ask_at: Instant,
    /// The oldest question since the last answer.
    unanswered: Option<Instant>,
    /// Since when nothing came that explains why there is no evidence.
    unexplained: Instant,
}

struct Driver<'a, S> {
    binding: &'a PrinterBinding,
    timing: PrinterTiming,
    shared: &'a Shared,
    device: DeviceInfo,
    outbox: Outbox<S>,
    state: PrinterState,
    /// It has answered as a ZPL printer.
    known: bool,
    idle_wait: Duration,
    /// The job that waits until the watched one is done.
    next: Option<Job>,
    work: Work,
}

impl<S: EventSink> Driver<'_, S> {
    fn obey(&mut self, order: Order) {
        match order {
            Order::Prepare(job) => match &self.work {
                Work::Watching(watch) if watch.job != job => self.next = Some(job),
                Work::Watching(_) => {}
                Work::Prepared { job: other, .. } | Work::Preparing { job: other, .. } if *other == job => {}
                _ => self.work = Work::Preparing { job, at: Instant::now() },
            },
            Order::Send(job, bytes) => self.send(job, &bytes),
            Order::Forget(job) => {
                self.next = self.next.filter(|next| *next != job);
                let current = match &self.work {
                    Work::Idle { .. } => None,
                    Work::Preparing { job, .. } | Work::Prepared { job, .. } => Some(*job),
                    Work::Watching(watch) => Some(watch.job),
                };
                if current == Some(job) {
                    self.rest();
                }
            }
        }
    }

    /// One step of the work, which takes no longer than the printer is given to answer.
    fn turn(&mut self) {
        match std::mem::replace(&mut self.work, Work::Idle { at: Instant::now() }) {
            Work::Idle { at } => {
                self.work = Work::Idle { at };
                if at > Instant::now() || self.outbox.is_full() {
                    self.wait_until(at.max(Instant::now() + HAND_OVER_WAIT));
                } else {
                    let state = match self.look() {
                        Look::Answered(_, status) => status.state(),
                        Look::Other(state) => state,
                    };
                    self.enter(state);
                    self.work = Work::Idle { at: Instant::now() + self.idle_wait };
                    let longest = if self.known { self.timing.idle } else { self.timing.idle_stranger };
                    self.idle_wait = self.idle_wait.saturating_mul(2).min(longest);
                }
            }
            Work::Preparing { job, at } if at > Instant::now() => {
                self.work = Work::Preparing { job, at };
                self.wait_until(at);
            }
            Work::Preparing { job, .. } => match self.look() {
                Look::Answered(link, status) if status.state() == PrinterState::Ready => {
                    self.enter(PrinterState::Ready);
                    self.work = Work::Prepared { job, link };
                    self.tell(job, PrinterEvent::Prepared(job));
                }
                looked => {
                    self.enter(match looked {
                        Look::Answered(_, status) => status.state(),
                        Look::Other(state) => state,
                    });
                    self.work = Work::Preparing { job, at: Instant::now() + self.timing.retry };
                }
            },
            Work::Prepared { job, link } => {
                self.work = Work::Prepared { job, link };
                self.wait_until(Instant::now() + self.timing.idle);
            }
            Work::Watching(watch) => self.watch(watch),
        }
    }

    fn look(&mut self) -> Look {
        let looked = look(self.binding, &self.timing, || self.shared.should_stop());
        if matches!(looked, Look::Answered(..)) {
            self.heard();
        }
        looked
    }

    fn heard(&mut self) {
        self.known = true;
        self.idle_wait = self.timing.idle;
        self.shared.status().last_heard = Some(Instant::now());
    }

    /// The only place from which a job's bytes leave, and each job comes here once: what was prepared is gone
    /// afterwards, whatever came of it.
    fn send(&mut self, job: Job, bytes: &[u8]) {
        if matches!(&self.work, Work::Watching(watch) if watch.job == job) {
            tracing::error!(device.id = self.device.id, "a job was to be sent twice; it was sent once");
            return;
        }
        let prepared = matches!(&self.work, Work::Prepared { job: prepared, .. } if *prepared == job);
        if !prepared {
            self.tell(job, PrinterEvent::Written(job, Written::Nothing));
            return;
        }
        let Work::Prepared { mut link, .. } =
            std::mem::replace(&mut self.work, Work::Idle { at: Instant::now() })
        else {
            return;
        };
        let written = match link.is_quiet() {
            true => link.write(bytes, self.timing.write, || self.shared.should_stop()),
            false => Written::Nothing,
        };
        self.tell(job, PrinterEvent::Written(job, written));
        if written == Written::All {
            let sent = Instant::now();
            let evidence = Evidence::new(self.timing.apart);
            let watch =
                Watch { job, link, evidence, sent, ask_at: sent, unanswered: None, unexplained: sent };
            self.work = Work::Watching(Box::new(watch));
        } else {
            self.rest();
        }
    }

    /// Asks when it is due, reads for a moment, and goes on watching unless the job's end is known.
    fn watch(&mut self, mut watch: Box<Watch>) {
        let now = Instant::now();
        if watch.ask_at <= now {
            if watch.link.ask(self.timing.status).is_err() {
                return self.doubtful(watch.job, JobDoubt::ConnectionLost);
            }
            watch.evidence.asked(watch.sent.elapsed());
            watch.unanswered.get_or_insert_with(Instant::now);
            watch.ask_at = Instant::now() + self.timing.status;
        }
        let heard = watch.link.hear();
        match heard {
            Heard::Lost => return self.doubtful(watch.job, JobDoubt::ConnectionLost),
            Heard::Nothing => {}
            Heard::Answers(answers) => {
                for answer in answers {
                    watch.unanswered = None;
                    watch.ask_at = Instant::now() + self.timing.watch;
                    let Ok(status) = answer else {
                        self.enter(PrinterState::NotZpl);
                        continue;
                    };
                    self.heard();
                    self.enter(status.state());
                    if watch.evidence.answered(&status, watch.sent.elapsed()) {
                        self.tell(watch.job, PrinterEvent::Confirmed(watch.job));
                        return self.rest();
                    }
                    if !matches!(status.state(), PrinterState::Ready | PrinterState::Busy) {
                        watch.unexplained = Instant::now();
                    }
                }
            }
        }
        if watch.unanswered.is_some_and(|asked| asked.elapsed() >= self.timing.status) {
            self.enter(PrinterState::Silent);
        }
        if watch.unexplained.elapsed() >= self.timing.doubtful {
            return self.doubtful(watch.job, JobDoubt::PrinterSilent);
        }
        self.work = Work::Watching(watch);
    }

    fn doubtful(&mut self, job: Job, doubt: JobDoubt) {
        self.tell(job, PrinterEvent::Doubtful(job, doubt));
        self.rest();
    }

    /// Back to looking now and then, or to the job that waited. The connection is closed.
    fn rest(&mut self) {
        self.work = match self.next.take() {
            Some(job) => Work::Preparing { job, at: Instant::now() },
            None => Work::Idle { at: Instant::now() + self.idle_wait.min(self.timing.retry) },
        };
    }

    /// Reports a change of state.
    fn enter(&mut self, state: PrinterState) {
        if state == self.state || self.must_end() {
            return;
        }
        self.state = state;
        self.shared.status().state = state;
        tracing::debug!(device.id = self.device.id, state = state.code(), "printer state");
        self.outbox.put(&self.device, DeviceEventKind::Printer(PrinterEvent::State(state)));
    }

    /// Reports what became of a job, unless nobody asks for it any more.
    fn tell(&mut self, job: Job, event: PrinterEvent) {
        if self.must_end() || self.shared.is_forgotten(job) {
            return;
        }
        tracing::debug!(device.id = self.device.id, ?event, "print job");
        self.outbox.put(&self.device, DeviceEventKind::Printer(event));
    }

    fn must_end(&self) -> bool {
        self.shared.should_stop() || self.outbox.is_closed()
    }

    /// Waits until then, or for an order.
    fn wait_until(&self, at: Instant) {
        let left = at.saturating_duration_since(Instant::now());
        let slice = if self.outbox.waiting() == 0 { left } else { left.min(HAND_OVER_WAIT) };
        self.shared.wait(slice);
    }
}
