//! When to try again: full-jitter exponential waiting, from a seeded source so that a run replays.

/// Bounds of the waiting, in milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bounds {
    /// Longest wait after the first failure.
    pub first_ms: u64,
    /// Longest wait ever.
    pub longest_ms: u64,
}

impl Bounds {
    /// The longest wait after `attempts` failures in a row: `first_ms` doubled with each, never more than
    /// `longest_ms`.
    #[must_use]
    pub fn ceiling_ms(&self, attempts: u32) -> u64 {
        let doublings = attempts.saturating_sub(1).min(63);
        self.first_ms.saturating_mul(1 << doublings).min(self.longest_ms).max(1)
    }

    /// A wait after `attempts` failures in a row: evenly spread from 1 ms to the ceiling.
    pub(super) fn wait_ms(&self, attempts: u32, jitter: &mut Jitter) -> u64 {
        jitter.between(1, self.ceiling_ms(attempts))
    }
}

/// Numbers that spread stations out in time. Not for secrets.
#[derive(Debug, Clone)]
pub(super) struct Jitter(u64);

impl Jitter {
    pub(super) const fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// A number from `low` to `high`, both included; `low` if there is none between.
    pub(super) fn between(&mut self, low: u64, high: u64) -> u64 {
        let span = high.saturating_sub(low).saturating_add(1);
        low.saturating_add(self.next() % span)
    }

    /// SplitMix64 (Steele, Lea, Flood 2014).
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ceiling_doubles_from_first_to_longest_and_stays() {
        let bounds = Bounds { first_ms: 1_000, longest_ms: 600_000 };
        let ceilings: Vec<u64> = (1..=12).map(|n| bounds.ceiling_ms(n)).collect();
        let expected = [1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 600, 600].map(|s| s * 1_000);
        assert_eq!(ceilings, expected);
        assert_eq!(bounds.ceiling_ms(u32::MAX), 600_000, "no overflow however long it lasts");
    }

    #[test]
    fn waits_fill_the_whole_range_below_the_ceiling() {
        let bounds = Bounds { first_ms: 1_000, longest_ms: 600_000 };
        let mut jitter = Jitter::new(7);
        let waits: Vec<u64> = (0..1_000).map(|_| bounds.wait_ms(4, &mut jitter)).collect();
        assert!(waits.iter().all(|w| (1..=8_000).contains(w)), "a wait is out of bounds");
        assert!(waits.iter().any(|w| *w < 800) && waits.iter().any(|w| *w > 7_200), "the spread is not full");
    }
}
