//! What a station's heartbeats say against what the cloud holds (PROTOCOL §5): pure, with `now` passed in.

use lotgate_domain::operation::body::ChainPoint;
use lotgate_domain::statement::event::Closing;
use lotgate_domain::time::Timestamp;
use serde::Serialize;

/// A station that says nothing for longer than this is silent, in milliseconds: ten heartbeats missed.
pub const SILENT_MS: i64 = 10 * 60 * 1000;

/// A heartbeat may overtake another one by this much, in milliseconds: both were on their way at once.
pub const LATE_MS: i64 = 15_000;

/// What is known of a station.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Standing {
    /// How it came to its end, if it did.
    pub closed: Option<Closing>,
    /// When its last heartbeat came.
    pub last_seen: Option<Timestamp>,
    /// Operations that no receipt covered then.
    pub depth: u64,
    /// The end of what is held of its chain.
    pub held: Option<ChainPoint>,
    /// The furthest head that it ever told.
    pub furthest: Option<ChainPoint>,
    /// Two heads were told, or one told and one held, that no single station can have written.
    pub contradicted: bool,
}

/// What a person should look at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct Flags {
    /// Nothing was heard for ten minutes, and operations were waiting.
    pub silent_with_queue: bool,
    /// Revoked or silent, and it wrote further than the cloud holds: what lies after this place is not known.
    pub unknown_tail: Option<UnknownTail>,
    /// Another machine has its key, or its disk was put back to an earlier state.
    pub clone_suspected: bool,
}

/// Where a known chain ends and an unknown tail begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct UnknownTail {
    /// Number of the epoch; 0 if nothing is held at all.
    pub after_epoch: u64,
    /// The last seq that is held; 0 if nothing is held at all.
    pub after_seq: u64,
    /// Number of the epoch that it told.
    pub reported_epoch: u64,
    /// The seq that it told.
    pub reported_seq: u64,
}

/// Place of a point in the order of a station's chain.
fn place(point: ChainPoint) -> (u64, u64) {
    (point.epoch.n, point.seq)
}

/// The further of two points; the first if they are at one place.
#[must_use]
pub fn furthest(one: Option<ChainPoint>, other: Option<ChainPoint>) -> Option<ChainPoint> {
    match (one, other) {
        (Some(one), Some(other)) if place(other) > place(one) => Some(other),
        (one, other) => one.or(other),
    }
}

impl Standing {
    /// What a person should look at now.
    #[must_use]
    pub fn flags(&self, now: Timestamp) -> Flags {
        let silent = self.last_seen.is_some_and(|seen| now.ms_since(seen) > SILENT_MS);
        let in_use = self.closed.is_none();
        Flags {
            silent_with_queue: silent && in_use && self.depth > 0,
            unknown_tail: self.tail().filter(|_| silent || self.closed == Some(Closing::Revoked)),
            clone_suspected: self.contradicted,
        }
    }

    fn tail(&self) -> Option<UnknownTail> {
        let told = place(self.furthest?);
        let held = self.held.map_or((0, 0), place);
        (told > held).then_some(UnknownTail {
            after_epoch: held.0,
            after_seq: held.1,
            reported_epoch: told.0,
            reported_seq: told.1,
        })
    }
}

/// What came before a heartbeat.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Before {
    /// When the last heartbeat came.
    pub received: Timestamp,
    /// The station's clock in it.
    pub wall: Timestamp,
    /// The furthest head that was told.
    pub furthest: Option<ChainPoint>,
}

/// What a heartbeat is to those before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Told {
    /// It follows.
    Follows,
    /// A later one overtook it on the way: it says nothing new.
    Late,
    /// One station alone cannot have told both: the head that it contradicts.
    Contradicts(ChainPoint),
}

/// Compares a head told now, by a clock that says `wall`, with what was told before and with what is held at its
/// place. An epoch opened later is always ahead.
#[must_use]
pub fn compare(
    head: Option<ChainPoint>,
    wall: Timestamp,
    before: Option<Before>,
    held_there: Option<ChainPoint>,
    now: Timestamp,
) -> Told {
    if let Some(held) = held_there.filter(|held| head.is_some_and(|head| *held != head)) {
        return Told::Contradicts(held);
    }
    let Some((before, furthest)) = before.and_then(|before| Some((before, before.furthest?))) else {
        return Told::Follows;
    };
    if head.is_some_and(|head| head == furthest || place(head) > place(furthest)) {
        return Told::Follows;
    }
    let same_place = head.is_some_and(|head| place(head) == place(furthest));
    if !same_place && wall < before.wall && now.ms_since(before.received) <= LATE_MS {
        return Told::Late;
    }
    Told::Contradicts(furthest)
}

#[cfg(test)]
mod tests {
    use super::*;
    use lotgate_domain::ids::{Epoch, EpochId, Hash};

    const MINUTE: i64 = 60_000;

    fn at(ms: i64) -> Timestamp {
        Timestamp::from_unix_ms(1_700_000_000_000 + ms)
    }

    fn point(n: u64, seq: u64, hash: u8) -> Option<ChainPoint> {
        let id = EpochId([u8::try_from(n).unwrap(); 16]);
        Some(ChainPoint { epoch: Epoch { n, id }, seq, hash: Hash([hash; 32]) })
    }

    fn standing() -> Standing {
        Standing {
            closed: None,
            last_seen: Some(at(0)),
            depth: 3,
            held: point(1, 7, 7),
            furthest: point(1, 10, 10),
            contradicted: false,
        }
    }

    #[test]
    fn a_station_is_silent_with_a_queue_after_ten_minutes_and_not_before() {
        let station = standing();
        assert_eq!(station.flags(at(10 * MINUTE)), Flags::default(), "ten minutes are not yet silence");
        assert!(station.flags(at(10 * MINUTE + 1)).silent_with_queue);
        let empty = Standing { depth: 0, ..station };
        assert!(!empty.flags(at(60 * MINUTE)).silent_with_queue, "nothing waits");
        let never = Standing { last_seen: None, ..station };
        assert!(!never.flags(at(60 * MINUTE)).silent_with_queue, "it never said anything");
        for closing in [Closing::Retired, Closing::Revoked] {
            let closed = Standing { closed: Some(closing), ..station };
            assert!(!closed.flags(at(60 * MINUTE)).silent_with_queue, "{closing:?}: nobody waits for it");
        }
    }

    #[test]
    fn the_tail_is_unknown_after_what_is_held_once_the_station_is_silent_or_revoked() {
        let tail = |held: Option<ChainPoint>| {
            let (after_epoch, after_seq) = held.map_or((0, 0), place);
            Some(UnknownTail { after_epoch, after_seq, reported_epoch: 1, reported_seq: 10 })
        };
        let station = standing();
        assert_eq!(station.flags(at(0)).unknown_tail, None, "it is just draining");
        assert_eq!(station.flags(at(11 * MINUTE)).unknown_tail, tail(point(1, 7, 7)), "silent");
        let revoked = Standing { closed: Some(Closing::Revoked), ..station };
        assert_eq!(revoked.flags(at(0)).unknown_tail, tail(point(1, 7, 7)), "revoked");
        let nothing = Standing { held: None, ..revoked };
        assert_eq!(nothing.flags(at(0)).unknown_tail, tail(None), "nothing is held at all");
        let whole = Standing { held: point(1, 10, 10), ..revoked };
        assert_eq!(whole.flags(at(0)).unknown_tail, None, "all of it arrived since");
        let newer_epoch = Standing { held: point(2, 1, 1), ..revoked };
        assert_eq!(newer_epoch.flags(at(0)).unknown_tail, None, "a later epoch is held");
    }

    #[test]
    fn a_head_that_goes_back_or_differs_at_one_place_contradicts() {
        let furthest = point(2, 10, 10).unwrap();
        let before = Some(Before { received: at(0), wall: at(0), furthest: Some(furthest) });
        let told = |head, wall, held| compare(head, at(wall), before, held, at(MINUTE));
        assert_eq!(told(point(2, 10, 10), MINUTE, None), Told::Follows, "the same");
        assert_eq!(told(point(2, 11, 11), MINUTE, None), Told::Follows, "further");
        assert_eq!(told(point(3, 1, 1), MINUTE, None), Told::Follows, "a new epoch");
        assert_eq!(told(point(2, 9, 9), MINUTE, None), Told::Contradicts(furthest), "behind");
        assert_eq!(told(point(1, 99, 9), MINUTE, None), Told::Contradicts(furthest), "an epoch before");
        assert_eq!(told(None, MINUTE, None), Told::Contradicts(furthest), "an empty queue");
        assert_eq!(told(point(2, 10, 9), MINUTE, None), Told::Contradicts(furthest), "another hash");
        let held = point(2, 12, 3).unwrap();
        assert_eq!(told(point(2, 12, 4), MINUTE, Some(held)), Told::Contradicts(held), "held otherwise");
        assert_eq!(told(Some(held), MINUTE, Some(held)), Told::Follows, "held as told");
        assert_eq!(compare(point(1, 1, 1), at(0), None, None, at(0)), Told::Follows, "the first of all");
    }

    #[test]
    fn a_heartbeat_that_was_overtaken_on_its_way_accuses_nobody() {
        let furthest = point(1, 10, 10);
        let before = Some(Before { received: at(1_000), wall: at(0), furthest });
        let told = |wall, now| compare(point(1, 9, 9), at(wall), before, None, at(now));
        assert_eq!(told(-1, 1_000 + LATE_MS), Told::Late, "sent before, arrived just after");
        assert!(
            matches!(told(-1, 1_001 + LATE_MS), Told::Contradicts(_)),
            "too late to have been on its way"
        );
        assert!(matches!(told(1, 2_000), Told::Contradicts(_)), "sent after");
        let other = compare(point(1, 10, 9), at(-1), before, None, at(2_000));
        assert!(
            matches!(other, Told::Contradicts(_)),
            "another hash at one place is never a matter of order"
        );
    }
}
