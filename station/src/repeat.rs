//! Identical refused scans: the first is an operation, the ones within its window are counted (PROTOCOL §2,
//! Capacity).

use lotgate_domain::ids::OperationId;
use lotgate_domain::operation::body::Body;
use lotgate_domain::time::Timestamp;

/// How long identical refused scans of a device are answered from the first, in monotonic milliseconds.
pub const WINDOW_MS: u64 = 10_000;

/// A refused scan that is counted and needs no operation of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Again {
    /// The operation that it is answered from.
    pub of: OperationId,
    /// How often it came again, this time included.
    pub count: u64,
}

/// The last refused scan of one device.
#[derive(Debug, Default)]
pub struct Repeats {
    open: Option<Window>,
}

#[derive(Debug)]
struct Window {
    raw: Vec<u8>,
    code: &'static str,
    of: OperationId,
    closes_ms: u64,
    count: u64,
    last_at: Timestamp,
}

impl Repeats {
    /// Whether this refusal is the open one again. If so it is counted and needs no operation of its own.
    pub fn repeats(&mut self, raw: &[u8], code: &str, mono_ms: u64, wall: Timestamp) -> Option<Again> {
        let window = self.open.as_mut()?;
        if window.raw != raw || window.code != code || mono_ms >= window.closes_ms {
            return None;
        }
        window.count = window.count.saturating_add(1);
        window.last_at = wall;
        Some(Again { of: window.of, count: window.count })
    }

    /// Opens the window of a refusal that is being appended as `of`. Close the last one before.
    pub fn open(&mut self, raw: Vec<u8>, code: &'static str, of: OperationId, mono_ms: u64, wall: Timestamp) {
        let closes_ms = mono_ms.saturating_add(WINDOW_MS);
        self.open = Some(Window { raw, code, of, closes_ms, count: 0, last_at: wall });
    }

    /// Ends the window: another code came, its time is over, or the station stops. The body of the
    /// operation that tells of the repetitions, if there were any.
    pub fn close(&mut self) -> Option<Body> {
        let window = self.open.take()?;
        (window.count > 0).then_some(Body::ScanRepeated {
            of: window.of,
            count: window.count,
            last_at: window.last_at,
        })
    }

    /// Forgets a refusal whose append failed: nothing may be answered from it.
    pub fn forget(&mut self, of: OperationId) {
        if self.open.as_ref().is_some_and(|window| window.of == of) {
            self.open = None;
        }
    }

    /// When the open window ends, in monotonic milliseconds.
    #[must_use]
    pub fn closes_ms(&self) -> Option<u64> {
        self.open.as_ref().map(|window| window.closes_ms)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(n: u8) -> OperationId {
        OperationId::from_parts(1, &[n; 10])
    }

    fn at(ms: i64) -> Timestamp {
        Timestamp::from_unix_ms(ms)
    }

    #[test]
    fn identical_refusals_within_the_window_are_counted_once() {
        let mut repeats = Repeats::default();
        repeats.open(b"x".to_vec(), "unknown_lot", id(1), 1_000, at(0));
        assert_eq!(repeats.repeats(b"x", "unknown_lot", 2_000, at(1)), Some(Again { of: id(1), count: 1 }));
        assert_eq!(repeats.repeats(b"x", "unknown_lot", 10_999, at(2)), Some(Again { of: id(1), count: 2 }));
        assert_eq!(repeats.repeats(b"x", "unknown_lot", 11_000, at(3)), None, "the window is over");
        assert_eq!(repeats.close(), Some(Body::ScanRepeated { of: id(1), count: 2, last_at: at(2) }));
        assert_eq!(repeats.close(), None, "told once");
    }

    #[test]
    fn another_code_or_another_reason_is_no_repetition() {
        let mut repeats = Repeats::default();
        repeats.open(b"x".to_vec(), "unknown_lot", id(1), 0, at(0));
        assert_eq!(repeats.repeats(b"y", "unknown_lot", 1, at(1)), None);
        assert_eq!(repeats.repeats(b"x", "lot_held", 1, at(1)), None);
        assert_eq!(repeats.close(), None, "nothing was repeated");
    }

    #[test]
    fn a_refusal_that_was_not_committed_answers_nothing() {
        let mut repeats = Repeats::default();
        repeats.open(b"x".to_vec(), "unknown_lot", id(1), 0, at(0));
        repeats.forget(id(2));
        assert!(repeats.closes_ms().is_some(), "another operation's failure changes nothing");
        repeats.forget(id(1));
        assert_eq!(repeats.repeats(b"x", "unknown_lot", 1, at(1)), None);
    }
}
