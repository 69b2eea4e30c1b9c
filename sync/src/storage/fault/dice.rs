//! Chance, from a seed.

/// A generator of the SplitMix64 kind: small, and the same everywhere.
#[derive(Debug, Clone)]
pub(super) struct Dice(u64);

/// What becomes of one change at a power cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fate {
    Whole,
    Lost,
    Torn,
}

/// How the disk of this cut behaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mood {
    /// Nothing unsynced was written yet.
    Nothing,
    /// Everything was.
    Everything,
    /// It writes in order; the cut came somewhere in between.
    InOrder,
    /// It writes in any order.
    Anyhow,
}

/// The fates of the changes of one file, in their order.
pub(super) struct Run {
    mood: Mood,
    left: u64,
}

impl Dice {
    pub(super) fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub(super) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `limit`, 0 if that is 0.
    pub(super) fn below(&mut self, limit: u64) -> u64 {
        self.next().checked_rem(limit).unwrap_or(0)
    }

    pub(super) fn coin(&mut self) -> bool {
        self.below(2) == 0
    }

    pub(super) fn mood(&mut self) -> Mood {
        match self.below(8) {
            0 => Mood::Nothing,
            1 => Mood::Everything,
            2 | 3 => Mood::InOrder,
            _ => Mood::Anyhow,
        }
    }

    pub(super) fn run(&mut self, mood: Mood, changes: usize) -> Run {
        let changes = u64::try_from(changes).unwrap_or(u64::MAX);
        Run { mood, left: self.below(changes.saturating_add(1)) }
    }
}

impl Run {
    pub(super) fn next(&mut self, dice: &mut Dice) -> Fate {
        match self.mood {
            Mood::Nothing => Fate::Lost,
            Mood::Everything => Fate::Whole,
            Mood::InOrder => match self.left.checked_sub(1) {
                Some(left) => {
                    self.left = left;
                    if left == 0 { Fate::Torn } else { Fate::Whole }
                }
                None => Fate::Lost,
            },
            Mood::Anyhow => match dice.below(3) {
                0 => Fate::Whole,
                1 => Fate::Lost,
                _ => Fate::Torn,
            },
        }
    }
}
