//! The station's clocks, and what is made of them (PROTOCOL §1, §3; DESIGN §4, Time).
//!
//! The wall clock is evidence, never authority: a CMOS battery dies, somebody sets it back. Expiry and age
//! are judged by [`ClockMemory::effective_now`], which only ever takes the latest of everything known.

mod memory;

pub use memory::{AGREES_WITHIN_MS, BELIEVED_AHEAD_MS, ClockMemory, STEP_BACK_MS, ServerMark};

use lotgate_domain::ids::BootId;
use lotgate_domain::time::Timestamp;

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

/// No earlier time than this can be right: the program did not exist yet. A release sets `LOTGATE_BUILD_DATE`
/// (`YYYY-MM-DDTHH:MM:SS.mmmZ`) when it is compiled; otherwise it is the date of this source.
#[must_use]
pub fn build_date() -> Timestamp {
    const SOURCE: i64 = 1_795_305_600_000;
    let built = option_env!("LOTGATE_BUILD_DATE").and_then(|text| text.parse().ok());
    built.unwrap_or(Timestamp::from_unix_ms(SOURCE))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_system_clock_counts_forward_within_one_boot() {
        let clock = SystemClock::new(BootId::from_parts(1, &[1; 10]));
        let (first, second) = (clock.read(), clock.read());
        assert_eq!(first.boot, second.boot);
        assert!(second.mono_ms >= first.mono_ms, "{first:?} {second:?}");
    }
}
