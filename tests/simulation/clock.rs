//! Virtual time, and what a station's clocks make of it.

use lotgate_domain::ids::BootId;
use lotgate_domain::time::Timestamp;
use lotgate_sync::clock::{Clock, ClockReading};
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::tenant::NOON;

#[derive(Debug, Clone, Copy)]
struct State {
    /// Virtual milliseconds since the run began.
    now: u64,
    booted: u64,
    boot: u64,
    /// How far the wall clock is ahead, in milliseconds.
    ahead: i64,
    /// How many milliseconds it gains in a million.
    drift: i64,
}

/// The clocks of one machine.
#[derive(Debug)]
pub(crate) struct SimClock {
    machine: u64,
    state: Mutex<State>,
}

impl SimClock {
    pub(crate) fn new(machine: u64, now: u64) -> Self {
        let state = State { now, booted: now, boot: 1, ahead: 0, drift: 0 };
        Self { machine, state: Mutex::new(state) }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn set_now(&self, now: u64) {
        self.state().now = now;
    }

    /// The machine starts again: another boot, counted from here.
    pub(crate) fn reboot(&self, now: u64) {
        let mut state = self.state();
        (state.now, state.booted, state.boot) = (now, now, state.boot + 1);
    }

    pub(crate) fn set_ahead(&self, ms: i64) {
        self.state().ahead = ms;
    }

    pub(crate) fn set_drift(&self, per_million: i64) {
        self.state().drift = per_million;
    }

    /// Monotonic milliseconds, as the engine counts them.
    pub(crate) fn mono(&self) -> u64 {
        self.read().mono_ms
    }
}

impl Clock for SimClock {
    fn read(&self) -> ClockReading {
        let State { now, booted, boot, ahead, drift } = *self.state();
        let passed = i64::try_from(now).unwrap();
        ClockReading {
            wall: Timestamp::from_unix_ms(NOON + passed + ahead + passed * drift / 1_000_000),
            offset_minutes: 60,
            mono_ms: now - booted + 1_000,
            boot: BootId::from_parts(self.machine * 10_000 + boot, &[9; 10]),
        }
    }
}
