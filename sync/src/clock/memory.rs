//! What a station remembers of time, and what it makes of its wall clock by it.

use super::{ClockReading, build_date};
use lotgate_domain::operation::{At, Clock as ClockState, ServerTime};
use lotgate_domain::time::Timestamp;

/// How far the wall clock may be from the cloud's signed time and still be called right, in milliseconds.
pub const AGREES_WITHIN_MS: i64 = 300_000;

/// How far the wall clock may be ahead of everything known, across a restart, and still be believed, in
/// milliseconds: 31 days, the longest that a station may be told to work offline.
pub const BELIEVED_AHEAD_MS: i64 = 31 * 24 * 3_600_000;

/// How far the wall clock may fall behind what it once showed without being called set back, in
/// milliseconds: time servers step a running clock by that much.
pub const STEP_BACK_MS: i64 = 2_000;

/// A time that the cloud signed, and the station's clocks when it arrived.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ServerMark {
    /// What the cloud signed.
    pub time: Timestamp,
    /// The station's clocks at its arrival.
    pub received: ClockReading,
}

/// What a station remembers of time; all but [`ClockMemory::since`] across restarts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ClockMemory {
    /// High-water mark: the latest wall clock that an operation carried since the last signed time.
    pub mark: Option<Timestamp>,
    /// The newest time that the cloud signed, in a receipt or on request.
    pub server: Option<ServerMark>,
    /// Signed time of the newest page of reference data.
    pub snapshot: Option<Timestamp>,
    /// The clocks at the first operation of this boot, by which a jump of the wall clock is told.
    pub since: Option<ClockReading>,
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
        let elapsed = passed(&server.received, reading)?;
        Some(server.time.plus_ms(elapsed))
    }

    /// The time at which the dates of a server's certificate are judged (PROTOCOL §3): the trusted time, else
    /// the latest of the wall clock, everything signed or seen before, and the date of the program.
    #[must_use]
    pub fn certificate_time(&self, reading: &ClockReading) -> Timestamp {
        let known = [self.mark, self.server.map(|server| server.time), Some(build_date())];
        let latest = known.into_iter().flatten().fold(reading.wall, Timestamp::max);
        self.trusted_now(reading).unwrap_or(latest)
    }

    /// What the station thinks of its wall clock.
    ///
    /// Set back: it is behind the high-water mark by more than [`STEP_BACK_MS`], or behind the signed time by
    /// more than [`AGREES_WITHIN_MS`], or jumped back by more than that since the first operation of this boot.
    /// Right: it agrees with the signed time within [`AGREES_WITHIN_MS`]; after a restart, when nothing measures
    /// the time since, it did so when the signed time arrived, has not jumped since the restart, and is ahead of
    /// all that was seen by [`BELIEVED_AHEAD_MS`] at most. Otherwise, a clock that runs ahead included, nothing
    /// vouches for it: `unsynced`.
    #[must_use]
    pub fn state(&self, reading: &ClockReading) -> ClockState {
        if self.mark.is_some_and(|mark| mark.ms_since(reading.wall) > STEP_BACK_MS) {
            return ClockState::RolledBack;
        }
        if let Some(trusted) = self.trusted_now(reading) {
            return judge(reading.wall.ms_since(trusted));
        }
        let Some(server) = self.server else { return judge_unsigned(self.jumped_ms(reading)) };
        let behind = server.time.ms_since(reading.wall) > AGREES_WITHIN_MS;
        let latest = self.mark.map_or(server.time, |mark| mark.max(server.time));
        let far_ahead = reading.wall.ms_since(latest) > BELIEVED_AHEAD_MS;
        let then = judge(server.received.wall.ms_since(server.time));
        match (behind, judge(self.jumped_ms(reading)), then) {
            (true, _, _) | (_, ClockState::RolledBack, _) | (_, _, ClockState::RolledBack) => {
                ClockState::RolledBack
            }
            (false, ClockState::Ok, ClockState::Ok) if !far_ahead => ClockState::Ok,
            _ => ClockState::Unsynced,
        }
    }

    /// Milliseconds that the wall clock went further than the monotonic one since the first operation of this
    /// boot; 0 before that.
    fn jumped_ms(&self, reading: &ClockReading) -> i64 {
        let Some(since) = self.since else { return 0 };
        let Some(elapsed) = passed(&since, reading) else { return 0 };
        reading.wall.ms_since(since.wall).saturating_sub(elapsed)
    }

    /// The member `at` of an operation. The age of the signed time is known within one boot only; after a
    /// restart the member `server` is null until the next receipt.
    #[must_use]
    pub fn at(&self, reading: &ClockReading) -> At {
        let age_ms = |server: &ServerMark| u64::try_from(passed(&server.received, reading)?).ok();
        let server =
            self.server.and_then(|server| Some(ServerTime { time: server.time, age_ms: age_ms(&server)? }));
        At {
            wall: reading.wall,
            offset_minutes: reading.offset_minutes,
            mono_ms: reading.mono_ms,
            boot: reading.boot,
            server,
            clock: self.state(reading),
        }
    }

    /// Remembers that an operation of an earlier start carried this wall clock.
    pub fn see(&mut self, wall: Timestamp) {
        self.mark = self.mark.max(Some(wall));
    }

    /// Remembers the clocks that an operation carries.
    pub fn see_at(&mut self, at: &At) {
        self.see(at.wall);
        if self.since.is_none_or(|since| since.boot != at.boot) {
            let &At { wall, offset_minutes, mono_ms, boot, .. } = at;
            self.since = Some(ClockReading { wall, offset_minutes, mono_ms, boot });
        }
    }

    /// Takes a time from a receipt: it resets the high-water mark. A receipt may be an old one, given again, so
    /// one that is not newer than the last signed time, or more than [`AGREES_WITHIN_MS`] behind what that has
    /// become since, changes nothing; says whether it was taken.
    pub fn take_signed(&mut self, time: Timestamp, received: ClockReading) -> bool {
        let newer = self.server.is_none_or(|server| time > server.time);
        let late = self.trusted_now(&received).is_some_and(|now| now.ms_since(time) > AGREES_WITHIN_MS);
        let taken = newer && !late;
        if taken {
            self.take_fresh(time, received);
        }
        taken
    }

    /// Takes a time that the cloud signed just now, as its answer to a nonce proves. It counts even if it goes
    /// back: the cloud's own clock may have been wrong before.
    pub fn take_fresh(&mut self, time: Timestamp, received: ClockReading) {
        self.server = Some(ServerMark { time, received });
        self.mark = Some(time);
    }

    fn signed_floor(&self, reading: &ClockReading) -> Option<Timestamp> {
        self.trusted_now(reading).or(self.server.map(|server| server.time))
    }
}

/// What is thought of a wall clock that is ahead of what it should show by so much.
const fn judge(ahead_ms: i64) -> ClockState {
    if ahead_ms < -AGREES_WITHIN_MS {
        ClockState::RolledBack
    } else if ahead_ms > AGREES_WITHIN_MS {
        ClockState::Unsynced
    } else {
        ClockState::Ok
    }
}

/// The same where no signed time was ever received.
const fn judge_unsigned(jumped_ms: i64) -> ClockState {
    match judge(jumped_ms) {
        ClockState::RolledBack => ClockState::RolledBack,
        _ => ClockState::Unsynced,
    }
}

/// Milliseconds from one reading to a later one of the same boot.
fn passed(earlier: &ClockReading, later: &ClockReading) -> Option<i64> {
    let same_boot = earlier.boot == later.boot;
    let elapsed = later.mono_ms.checked_sub(earlier.mono_ms).filter(|_| same_boot)?;
    Some(i64::try_from(elapsed).unwrap_or(i64::MAX))
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

    /// What a clock shows in the course of a story, and what is made of it.
    enum Step {
        /// The cloud's answer to a nonce.
        Signed(i64),
        /// A receipt.
        Receipt(i64, bool),
        /// An operation.
        Appended,
        /// The state, and effective now.
        Is(ClockState, i64),
        /// At what time certificates are judged.
        Judged(i64),
    }

    /// Steps at (wall clock, monotonic clock, boot).
    type Story = (&'static str, Vec<((i64, u64, u8), Step)>);

    fn tell(stories: Vec<Story>) {
        for (story, steps) in stories {
            let (mut memory, mut latest, mut booted) = (ClockMemory::default(), i64::MIN, 1);
            for (n, ((wall, mono, boot), step)) in steps.into_iter().enumerate() {
                let reading = reading(wall, mono, boot);
                if boot != booted {
                    // Nothing measures how long the station was off.
                    (latest, booted) = (memory.mark.map_or(i64::MIN, Timestamp::unix_ms), boot);
                }
                let time = Timestamp::from_unix_ms;
                match step {
                    Step::Signed(at) => {
                        memory.take_fresh(time(at), reading);
                        latest = i64::MIN;
                    }
                    Step::Receipt(at, taken) => {
                        assert_eq!(memory.take_signed(time(at), reading), taken, "{story}, step {n}");
                        latest = if taken { i64::MIN } else { latest };
                    }
                    Step::Appended => memory.see_at(&memory.at(&reading)),
                    Step::Is(state, effective) => {
                        let now = memory.effective_now(&reading);
                        assert_eq!(
                            (memory.state(&reading), now),
                            (state, time(effective)),
                            "{story}, step {n}"
                        );
                        assert!(now.unix_ms() >= latest, "{story}, step {n}: effective now went back");
                        latest = now.unix_ms();
                    }
                    Step::Judged(at) => {
                        assert_eq!(memory.certificate_time(&reading), time(at), "{story}, step {n}");
                    }
                }
            }
        }
    }

    const MINUTE: i64 = 60_000;
    const DEAD: i64 = 946_684_800_000;
    const AHEAD: i64 = 2_085_978_496_000;

    #[test]
    fn a_dead_battery_is_told_and_put_right_by_a_signed_time() {
        use ClockState::{RolledBack, Unsynced};
        use Step::{Appended, Is, Judged, Receipt, Signed};
        let built = build_date().unix_ms();
        tell(vec![
            (
                "a new station with a dead battery",
                vec![
                    ((DEAD, 0, 1), Is(Unsynced, DEAD)),
                    ((DEAD, 0, 1), Judged(built)),
                    ((DEAD, 1_000, 1), Signed(NOON)),
                    ((DEAD + MINUTE, 61_000, 1), Is(RolledBack, NOON + MINUTE)),
                    ((DEAD + MINUTE, 61_000, 1), Judged(NOON + MINUTE)),
                    ((DEAD + 2 * MINUTE, 121_000, 1), Appended),
                    ((DEAD + 2 * MINUTE, 121_000, 1), Receipt(NOON + 2 * MINUTE, true)),
                    ((DEAD + 3 * MINUTE, 181_000, 1), Is(RolledBack, NOON + 3 * MINUTE)),
                    ((DEAD, 10, 2), Is(RolledBack, NOON + 2 * MINUTE)),
                    ((DEAD, 10, 2), Judged(built.max(NOON + 2 * MINUTE))),
                ],
            ),
            (
                "the battery dies between two shifts",
                vec![
                    ((NOON, 0, 1), Signed(NOON)),
                    ((NOON + HOUR, 3_600_000, 1), Appended),
                    ((DEAD, 10, 2), Is(RolledBack, NOON + HOUR)),
                    ((DEAD, 10, 2), Judged(NOON + HOUR)),
                    ((DEAD, 10, 2), Appended),
                    ((DEAD + HOUR, 3_600_010, 2), Signed(NOON + 16 * HOUR)),
                    ((DEAD + 2 * HOUR, 7_200_010, 2), Is(RolledBack, NOON + 17 * HOUR)),
                ],
            ),
        ]);
    }

    #[test]
    fn a_clock_far_ahead_does_not_poison_for_ever() {
        use ClockState::{Ok, RolledBack, Unsynced};
        use Step::{Appended, Is, Judged, Signed};
        tell(vec![(
            "2036, then a signed time, then IT puts the clock right",
            vec![
                ((NOON, 0, 1), Signed(NOON)),
                ((AHEAD, 10, 2), Is(Unsynced, AHEAD)),
                ((AHEAD, 10, 2), Judged(AHEAD)),
                ((AHEAD, 10, 2), Appended),
                ((AHEAD, 1_010, 2), Signed(NOON + HOUR)),
                ((AHEAD, 1_010, 2), Is(Unsynced, AHEAD)),
                ((AHEAD, 1_010, 2), Judged(NOON + HOUR)),
                ((AHEAD, 2_010, 2), Appended),
                ((NOON + HOUR + MINUTE, 61_010, 2), Is(RolledBack, AHEAD)),
                ((NOON + HOUR + MINUTE, 61_010, 2), Signed(NOON + HOUR + MINUTE)),
                ((NOON + HOUR + 2 * MINUTE, 121_010, 2), Is(Ok, NOON + HOUR + 2 * MINUTE)),
            ],
        )]);
    }

    #[test]
    fn drift_and_jumps_are_told_by_the_monotonic_clock() {
        use ClockState::{Ok, RolledBack, Unsynced};
        use Step::{Appended, Is, Receipt, Signed};
        let hours = |n: i64| u64::try_from(n * HOUR).unwrap();
        tell(vec![
            (
                "one per cent fast: right for 8 h 20 min",
                vec![
                    ((NOON, 0, 1), Signed(NOON)),
                    ((NOON + 8 * HOUR + 8 * 36_000, hours(8), 1), Is(Ok, NOON + 8 * HOUR + 8 * 36_000)),
                    ((NOON + 9 * HOUR + 9 * 36_000, hours(9), 1), Is(Unsynced, NOON + 9 * HOUR + 9 * 36_000)),
                ],
            ),
            (
                "one per cent slow",
                vec![
                    ((NOON, 0, 1), Signed(NOON)),
                    ((NOON + 8 * HOUR - 8 * 36_000, hours(8), 1), Is(Ok, NOON + 8 * HOUR)),
                    ((NOON + 9 * HOUR - 9 * 36_000, hours(9), 1), Is(RolledBack, NOON + 9 * HOUR)),
                ],
            ),
            (
                "forth and back again, with a signed time of this boot",
                vec![
                    ((NOON, 0, 1), Signed(NOON)),
                    ((NOON + 5 * HOUR, hours(1), 1), Is(Unsynced, NOON + 5 * HOUR)),
                    ((NOON + 5 * HOUR, hours(1), 1), Appended),
                    ((NOON + 2 * HOUR, hours(2), 1), Is(RolledBack, NOON + 5 * HOUR)),
                    ((NOON + 2 * HOUR, hours(2), 1), Receipt(NOON + 2 * HOUR, true)),
                    ((NOON + 3 * HOUR, hours(3), 1), Is(Ok, NOON + 3 * HOUR)),
                ],
            ),
            (
                "forth and back, with a signed time of an earlier boot only",
                vec![
                    ((NOON, 0, 1), Signed(NOON)),
                    ((NOON + 8 * HOUR, 10, 2), Appended),
                    ((NOON + 9 * HOUR, hours(1) + 10, 2), Is(Ok, NOON + 9 * HOUR)),
                    ((NOON + 40 * HOUR, hours(2) + 10, 2), Is(Unsynced, NOON + 40 * HOUR)),
                    ((NOON + 40 * HOUR, hours(2) + 10, 2), Appended),
                    ((NOON + 11 * HOUR, hours(3) + 10, 2), Is(RolledBack, NOON + 40 * HOUR)),
                ],
            ),
            (
                "never a signed time: back is told, forth vouches for nothing",
                vec![
                    ((NOON, 10, 1), Appended),
                    ((NOON + HOUR, hours(1) + 10, 1), Is(Unsynced, NOON + HOUR)),
                    ((NOON + HOUR, hours(1) + 10, 1), Appended),
                    ((NOON + MINUTE, hours(1) + 10, 1), Is(RolledBack, NOON + HOUR)),
                ],
            ),
            (
                "a month in a cupboard is believed, a year is not",
                vec![
                    ((NOON, 0, 1), Signed(NOON)),
                    ((NOON + 30 * 24 * HOUR, 10, 2), Is(Ok, NOON + 30 * 24 * HOUR)),
                    ((NOON + 365 * 24 * HOUR, 10, 2), Is(Unsynced, NOON + 365 * 24 * HOUR)),
                ],
            ),
        ]);
    }

    #[test]
    fn sleep_is_time_where_the_system_counts_it_and_else_asks_for_a_signed_one() {
        use ClockState::{Ok, Unsynced};
        use Step::{Is, Receipt, Signed};
        tell(vec![
            (
                "sleep is counted",
                vec![
                    ((NOON, 0, 1), Signed(NOON)),
                    ((NOON + 12 * HOUR, 43_200_000, 1), Is(Ok, NOON + 12 * HOUR)),
                ],
            ),
            (
                "sleep is not counted",
                vec![
                    ((NOON, 0, 1), Signed(NOON)),
                    ((NOON + 12 * HOUR, 5_000, 1), Is(Unsynced, NOON + 12 * HOUR)),
                    ((NOON + 12 * HOUR, 5_000, 1), Signed(NOON + 12 * HOUR)),
                    ((NOON + 12 * HOUR + MINUTE, 65_000, 1), Is(Ok, NOON + 12 * HOUR + MINUTE)),
                ],
            ),
            (
                "an old receipt, given again, is no time",
                vec![
                    ((NOON, 0, 1), Receipt(NOON, true)),
                    ((NOON + HOUR, 3_600_000, 1), Receipt(NOON + MINUTE, false)),
                    ((NOON + HOUR, 3_600_000, 1), Is(Ok, NOON + HOUR)),
                ],
            ),
        ]);
    }
}
