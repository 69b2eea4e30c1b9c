//! The station's clocks, and what is made of them (PROTOCOL §1, §3; DESIGN §4, Time).
//!
//! The wall clock is evidence, never authority: a CMOS battery dies, somebody sets it back. Expiry and age
//! are judged by [`ClockMemory::effective_now`], which only ever takes the latest of everything known.

use lotgate_domain::ids::BootId;
use lotgate_domain::operation::{At, Clock as ClockState, ServerTime};
use lotgate_domain::time::Timestamp;

/// How far the wall clock may be from the cloud's signed time and still be called right, in milliseconds.
pub const AGREES_WITHIN_MS: i64 = 300_000;

/// How far the wall clock may fall behind what it once showed without being called set back, in
/// milliseconds: time servers step a running clock by that much.
pub const STEP_BACK_MS: i64 = 2_000;

/// Where the time comes from.
pub trait Clock: Send + Sync {
    /// All clocks at one moment.
    fn read(&self) -> ClockReading;
}

/// All clocks at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ClockReading {
    /// Wall clock, UTC.
    pub wall: Timestamp,
    /// Minutes that local time is ahead of UTC.
    pub offset_minutes: i32,
    /// Milliseconds since `boot`, sleep included where the system counts it.
    pub mono_ms: u64,
    /// Which boot `mono_ms` counts from.
    pub boot: BootId,
}

/// The clocks of the operating system.
#[derive(Debug, Clone, Copy)]
pub struct SystemClock {
    boot: BootId,
    started: std::time::Instant,
    counts_from_start: bool,
}

impl SystemClock {
    /// Takes the boot id of the system, or makes one for this start of the program from `own_boot` where the
    /// system has none (PROTOCOL §9.3).
    #[must_use]
    pub fn new(own_boot: BootId) -> Self {
        let system = system_boot().filter(|_| boot_ms().is_some());
        Self {
            boot: system.unwrap_or(own_boot),
            started: std::time::Instant::now(),
            counts_from_start: system.is_none(),
        }
    }
}

impl Clock for SystemClock {
    fn read(&self) -> ClockReading {
        let now = jiff::Timestamp::now();
        let offset = jiff::tz::TimeZone::system().to_offset(now);
        let since_start = u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX);
        let since_boot = if self.counts_from_start { None } else { boot_ms() };
        ClockReading {
            wall: Timestamp::from_unix_ms(now.as_millisecond()),
            offset_minutes: offset.seconds() / 60,
            mono_ms: since_boot.unwrap_or(since_start),
            boot: self.boot,
        }
    }
}

#[cfg(target_os = "linux")]
fn system_boot() -> Option<BootId> {
    std::fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?.trim().parse().ok()
}

#[cfg(target_os = "linux")]
fn boot_ms() -> Option<u64> {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
    let seconds = u64::try_from(time.tv_sec).ok()?;
    let millis = u64::try_from(time.tv_nsec).ok()? / 1_000_000;
    seconds.checked_mul(1_000)?.checked_add(millis)
}

#[cfg(not(target_os = "linux"))]
fn system_boot() -> Option<BootId> {
    None
}

#[cfg(not(target_os = "linux"))]
fn boot_ms() -> Option<u64> {
    None
}

/// A time that the cloud signed, and the station's clocks when it arrived.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ServerMark {
    /// What the cloud signed.
    pub time: Timestamp,
    /// The station's clocks at its arrival.
    pub received: ClockReading,
}

/// What a station remembers of time across restarts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ClockMemory {
    /// High-water mark: the latest wall clock that an operation carried since the last signed time.
    pub mark: Option<Timestamp>,
    /// The newest time that the cloud signed in a receipt.
    pub server: Option<ServerMark>,
    /// Signed time of the newest page of reference data.
    pub snapshot: Option<Timestamp>,
}

impl ClockMemory {
    /// The time by which expiry, calibration and age are judged: the latest of the wall clock, the high-water
    /// mark, the last signed time plus what has passed since, and the newest page of reference data. Setting
    /// the wall clock back therefore never opens an interlock.
    #[must_use]
    pub fn effective_now(&self, reading: &ClockReading) -> Timestamp {
        let known = [self.mark, self.signed_floor(reading), self.snapshot];
        known.into_iter().flatten().fold(reading.wall, Timestamp::max)
    }

    /// The last signed time plus the time since, while the system has not been restarted.
    #[must_use]
    pub fn trusted_now(&self, reading: &ClockReading) -> Option<Timestamp> {
        let server = self.server?;
        Some(server.time.plus_ms(i64::try_from(elapsed(&server, reading)?).unwrap_or(i64::MAX)))
    }

    /// What the station thinks of its wall clock.
    ///
    /// Set back: it is behind the high-water mark by more than [`STEP_BACK_MS`], or behind the signed time by
    /// more than [`AGREES_WITHIN_MS`]. Right: it agrees with the signed time within [`AGREES_WITHIN_MS`]; after
    /// a restart, when nothing measures the time since, it did so when the signed time arrived. Otherwise, a
    /// clock that runs ahead included, nothing vouches for it: `unsynced`.
    #[must_use]
    pub fn state(&self, reading: &ClockReading) -> ClockState {
        if self.mark.is_some_and(|mark| mark.ms_since(reading.wall) > STEP_BACK_MS) {
            return ClockState::RolledBack;
        }
        let Some(server) = self.server else { return ClockState::Unsynced };
        let (expected, shown) = match self.trusted_now(reading) {
            Some(expected) => (expected, reading.wall),
            None if server.time.ms_since(reading.wall) > AGREES_WITHIN_MS => return ClockState::RolledBack,
            None => (server.time, server.received.wall),
        };
        let ahead_ms = shown.ms_since(expected);
        if ahead_ms < -AGREES_WITHIN_MS {
            ClockState::RolledBack
        } else if ahead_ms > AGREES_WITHIN_MS {
            ClockState::Unsynced
        } else {
            ClockState::Ok
        }
    }

    /// The member `at` of an operation. The age of the signed time is known within one boot only; after a
    /// restart the member `server` is null until the next receipt.
    #[must_use]
    pub fn at(&self, reading: &ClockReading) -> At {
        let server = self
            .server
            .and_then(|server| Some(ServerTime { time: server.time, age_ms: elapsed(&server, reading)? }));
        At {
            wall: reading.wall,
            offset_minutes: reading.offset_minutes,
            mono_ms: reading.mono_ms,
            boot: reading.boot,
            server,
            clock: self.state(reading),
        }
    }

    /// Remembers that an operation carried this wall clock.
    pub fn see(&mut self, wall: Timestamp) {
        self.mark = self.mark.max(Some(wall));
    }

    /// Takes a time from a receipt: it resets the high-water mark. A time that is not newer than the last one
    /// comes from a reply that was overtaken and changes nothing; says whether it was taken.
    pub fn take_signed(&mut self, time: Timestamp, received: ClockReading) -> bool {
        let newer = self.server.is_none_or(|server| time > server.time);
        if newer {
            self.server = Some(ServerMark { time, received });
            self.mark = Some(time);
        }
        newer
    }

    fn signed_floor(&self, reading: &ClockReading) -> Option<Timestamp> {
        self.trusted_now(reading).or(self.server.map(|server| server.time))
    }
}

/// Milliseconds since a signed time arrived, within one boot.
fn elapsed(server: &ServerMark, reading: &ClockReading) -> Option<u64> {
    if server.received.boot == reading.boot {
        reading.mono_ms.checked_sub(server.received.mono_ms)
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use lotgate_domain::ids::BootId;

    const NOON: i64 = 1_800_000_000_000;
    const HOUR: i64 = 3_600_000;

    fn reading(wall_ms: i64, mono_ms: u64, boot: u8) -> ClockReading {
        ClockReading {
            wall: Timestamp::from_unix_ms(wall_ms),
            offset_minutes: 60,
            mono_ms,
            boot: BootId::from_parts(1, &[boot; 10]),
        }
    }

    fn synced_at_noon() -> ClockMemory {
        let mut memory = ClockMemory::default();
        assert!(memory.take_signed(Timestamp::from_unix_ms(NOON), reading(NOON, 1_000, 1)));
        memory
    }

    #[test]
    fn a_clock_set_back_does_not_move_effective_now_back() {
        let mut memory = ClockMemory::default();
        memory.see(Timestamp::from_unix_ms(NOON));
        let set_back = reading(NOON - 24 * HOUR, 5_000, 1);
        assert_eq!(memory.effective_now(&set_back), Timestamp::from_unix_ms(NOON), "the mark holds");
        assert_eq!(memory.state(&set_back), ClockState::RolledBack);

        let memory = synced_at_noon();
        let set_back = reading(NOON - 24 * HOUR, 1_000 + 7_200_000, 1);
        let two_hours_on = Timestamp::from_unix_ms(NOON + 2 * HOUR);
        assert_eq!(memory.effective_now(&set_back), two_hours_on, "signed time plus what passed since");

        let after_boot = reading(NOON - 24 * HOUR, 10, 2);
        assert_eq!(
            memory.effective_now(&after_boot),
            Timestamp::from_unix_ms(NOON),
            "never before signed time"
        );

        let page = ClockMemory { snapshot: Some(Timestamp::from_unix_ms(NOON)), ..ClockMemory::default() };
        assert_eq!(
            page.effective_now(&after_boot),
            Timestamp::from_unix_ms(NOON),
            "nor before the newest page"
        );
    }

    #[test]
    fn the_clock_is_ok_only_while_it_agrees_with_a_signed_time() {
        assert_eq!(
            ClockMemory::default().state(&reading(NOON, 0, 1)),
            ClockState::Unsynced,
            "never compared"
        );
        let memory = synced_at_noon();
        let hour_on = |skew_ms| reading(NOON + HOUR + skew_ms, 1_000 + 3_600_000, 1);
        assert_eq!(memory.state(&hour_on(0)), ClockState::Ok);
        assert_eq!(memory.state(&hour_on(AGREES_WITHIN_MS)), ClockState::Ok, "the limit itself agrees");
        assert_eq!(
            memory.state(&hour_on(AGREES_WITHIN_MS + 1)),
            ClockState::Unsynced,
            "ahead: nothing vouches"
        );
        assert_eq!(memory.state(&hour_on(-AGREES_WITHIN_MS - 1)), ClockState::RolledBack, "behind");
        assert_eq!(
            memory.state(&reading(NOON + 72 * HOUR, 10, 2)),
            ClockState::Ok,
            "after a restart, not behind"
        );
        assert_eq!(
            memory.state(&reading(NOON - HOUR, 10, 2)),
            ClockState::RolledBack,
            "after a restart, behind"
        );
    }

    #[test]
    fn a_small_step_back_is_not_called_a_rollback() {
        let mut memory = synced_at_noon();
        memory.see(Timestamp::from_unix_ms(NOON + 10_000));
        assert_eq!(memory.state(&reading(NOON + 10_000 - STEP_BACK_MS, 11_000, 1)), ClockState::Ok);
        assert_eq!(memory.state(&reading(NOON + 9_999 - STEP_BACK_MS, 11_000, 1)), ClockState::RolledBack);
    }

    #[test]
    fn a_signed_time_resets_a_mark_from_a_clock_that_ran_ahead() {
        let mut memory = ClockMemory::default();
        memory.see(Timestamp::from_unix_ms(NOON + 10 * 365 * 24 * HOUR));
        assert!(memory.take_signed(Timestamp::from_unix_ms(NOON), reading(NOON, 1_000, 1)));
        assert_eq!(memory.effective_now(&reading(NOON, 1_000, 1)), Timestamp::from_unix_ms(NOON));
        assert!(!memory.take_signed(Timestamp::from_unix_ms(NOON - 1), reading(NOON, 1_000, 1)), "overtaken");
    }

    #[test]
    fn the_age_of_a_signed_time_is_given_within_one_boot_only() {
        let memory = synced_at_noon();
        let same_boot = memory.at(&reading(NOON, 1_500, 1));
        assert_eq!(same_boot.server.map(|server| server.age_ms), Some(500));
        assert_eq!(memory.at(&reading(NOON, 1_500, 2)).server, None);
    }

    #[test]
    fn the_system_clock_counts_forward_within_one_boot() {
        let clock = SystemClock::new(BootId::from_parts(1, &[1; 10]));
        let (first, second) = (clock.read(), clock.read());
        assert_eq!(first.boot, second.boot);
        assert!(second.mono_ms >= first.mono_ms, "{first:?} {second:?}");
    }
}
