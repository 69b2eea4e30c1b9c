//! The reader's thread: open, read, lose, open again.

use std::io::{ErrorKind, Read};
use std::time::{Duration, Instant};

use serialport::SerialPort;

use super::Shared;
use super::port::{self, Opened, Port};
use crate::binding::{ScannerBinding, Timing};
use crate::event::{DeviceEventKind, DeviceInfo, DeviceState, EventSink};
use crate::frame::{Decoded, FrameDecoder};
use crate::outbox::Outbox;

const READ_BYTES: usize = 4_096;
/// How often a consumer that had no room is asked again.
const HAND_OVER_WAIT: Duration = Duration::from_millis(10);

pub(super) fn run(
    binding: &ScannerBinding,
    timing: Timing,
    device: DeviceInfo,
    shared: &Shared,
    sink: impl EventSink,
) {
    let outbox = Outbox::new(sink, timing.queue.max(1));
    let mut reader = Reader { binding, timing, device, shared, outbox, state: DeviceState::Opening };
    let mut wait = timing.retry_first;
    while !reader.must_end() {
        match port::open(binding, timing.read_wait) {
            Ok(opened) => {
                if reader.listen(opened) {
                    wait = timing.retry_first;
                }
            }
            Err(state) => reader.enter(state),
        }
        let longest = match reader.state {
            DeviceState::Missing | DeviceState::Unplugged => timing.missing_max.min(timing.retry_max),
            _ => timing.retry_max,
        };
        reader.pause(wait.min(longest));
        wait = wait.saturating_mul(2).min(timing.retry_max);
    }
}

struct Reader<'a, S> {
    binding: &'a ScannerBinding,
    timing: Timing,
    device: DeviceInfo,
    shared: &'a Shared,
    outbox: Outbox<S>,
    state: DeviceState,
}

impl<S: EventSink> Reader<'_, S> {
    /// Reads until the port is lost or the reader must end; returns whether the device was ready meanwhile.
    /// The port is closed on return: while a stale handle is open, the device comes back under another name.
    fn listen(&mut self, opened: Opened) -> bool {
        let Opened { mut port, device } = opened;
        self.device = device;
        let mut decoder =
            FrameDecoder::new(self.binding.settings.terminator, self.timing.gap, Duration::ZERO);
        let mut decoded = Vec::new();
        let mut buffer = [0_u8; READ_BYTES];
        // Time spent reading: time spent elsewhere is no silence of the scanner.
        let mut listened = Duration::ZERO;
        let mut ready = false;
        let lost = loop {
            if self.must_end() {
                break false;
            }
            // Silence cannot be measured while reading pauses, so it pauses only between two scans; to get
            // there, the rest of a scan is read byte by byte.
            let pausing = self.outbox.is_full();
            if pausing && decoder.unfinished_bytes() == 0 {
                self.pause(HAND_OVER_WAIT);
                continue;
            }
            let (space, _) = buffer.split_at_mut(if pausing { 1 } else { READ_BYTES });
            let started = Instant::now();
            let outcome = self.read(&mut port, space);
            listened = listened.saturating_add(started.elapsed());
            match outcome {
                Outcome::Bytes(count) => {
                    decoder.push(space.get(..count).unwrap_or_default(), listened, &mut decoded);
                    self.shared.status().last_heard = Some(Instant::now());
                }
                Outcome::Silence => decoder.tick(listened, &mut decoded),
                Outcome::Lost => break true,
            }
            if decoder.is_synchronised() && !ready {
                ready = true;
                self.enter(DeviceState::Ready);
            }
            self.report(&mut decoded, decoder.unfinished_bytes());
        };
        drop(port);
        decoded.extend(decoder.interrupt().map(Decoded::Fault));
        self.report(&mut decoded, 0);
        if lost {
            self.enter(if ready { DeviceState::Unplugged } else { DeviceState::Missing });
        }
        ready
    }

    /// Every way in which a port says that it is gone becomes one: a hang-up, an error, or nothing read without
    /// an error.
    fn read(&self, port: &mut Port, space: &mut [u8]) -> Outcome {
        let wait = if self.outbox.waiting() == 0 { self.timing.read_wait } else { HAND_OVER_WAIT };
        if port.timeout() != wait && port.set_timeout(wait).is_err() {
            return Outcome::Lost;
        }
        match port.read(space) {
            Ok(0) => Outcome::Lost,
            Ok(count) => Outcome::Bytes(count),
            Err(error) => match error.kind() {
                ErrorKind::TimedOut | ErrorKind::WouldBlock | ErrorKind::Interrupted => Outcome::Silence,
                _ => Outcome::Lost,
            },
        }
    }

    fn report(&mut self, decoded: &mut Vec<Decoded>, unfinished_bytes: usize) {
        for decoded in decoded.drain(..) {
            let kind = match decoded {
                Decoded::Frame(bytes) => DeviceEventKind::Scanned(bytes),
                Decoded::Fault(fault) => {
                    tracing::debug!(device.id = self.device.id, code = fault.code(), "device fault");
                    DeviceEventKind::Fault(fault)
                }
            };
            self.outbox.put(&self.device, kind);
        }
        self.outbox.hand_over();
        self.show(unfinished_bytes);
    }

    /// Reports a change of state. What was unplugged and is still not there is not reported again as missing.
    fn enter(&mut self, state: DeviceState) {
        let still_away = self.state == DeviceState::Unplugged && state == DeviceState::Missing;
        if state == self.state || still_away {
            return;
        }
        self.state = state;
        tracing::debug!(device.id = self.device.id, state = state.code(), "device state");
        self.outbox.put(&self.device, DeviceEventKind::State(state));
        self.show(0);
    }

    fn show(&self, unfinished_bytes: usize) {
        let mut status = self.shared.status();
        status.device.clone_from(&self.device);
        status.state = self.state;
        status.unfinished_bytes = unfinished_bytes;
        status.waiting_events = self.outbox.waiting();
        status.overruns = self.outbox.overruns();
    }

    fn must_end(&self) -> bool {
        self.shared.should_stop() || self.outbox.is_closed()
    }

    /// Waits, handing over events meanwhile, until `time` has passed or the reader must end.
    fn pause(&mut self, time: Duration) {
        let started = Instant::now();
        while !self.must_end() {
            let left = time.saturating_sub(started.elapsed());
            if left.is_zero() {
                return;
            }
            let slice = if self.outbox.waiting() == 0 { left } else { left.min(HAND_OVER_WAIT) };
            if self.shared.wait(slice) {
                return;
            }
            self.outbox.hand_over();
            self.show(0);
        }
    }
}

/// What one read came to.
enum Outcome {
    Bytes(usize),
    Silence,
    Lost,
}
