//! Whether a printer's answers show that a job was printed. Nothing here reads a clock or a socket; times count
//! from the moment when the last byte of the job had left.

use std::collections::VecDeque;
use std::time::Duration;

use super::status::HostStatus;
use crate::event::PrinterState;

/// The questions after one job's bytes on one connection, and what the answers come to.
///
/// The printer was idle before, and every earlier question was answered, so that an answer belongs to this job.
/// It is evidence that the job was printed if the printer was seen at work and then idle without a fault, or if it
/// was idle without a fault twice, the second time asked `apart` or more after it said so the first time.
#[derive(Debug)]
pub struct Evidence {
    apart: Duration,
    /// When the questions were asked whose answers are to come. A printer may leave some unanswered: an answer
    /// then counts as one to an older question than it is, which only makes it count for less.
    asked: VecDeque<Duration>,
    worked: bool,
    idle_at: Option<Duration>,
}

impl Evidence {
    /// Nothing asked yet.
    #[must_use]
    pub fn new(apart: Duration) -> Self {
        Self { apart, asked: VecDeque::new(), worked: false, idle_at: None }
    }

    /// A question left.
    pub fn asked(&mut self, at: Duration) {
        self.asked.push_back(at);
    }

    /// An answer came; true if the job is known to be printed by it.
    #[must_use]
    pub fn answered(&mut self, status: &HostStatus, at: Duration) -> bool {
        // One that nobody asked for can be older than the job.
        let Some(asked) = self.asked.pop_front() else { return false };
        self.worked |= status.is_working();
        if status.state() != PrinterState::Ready {
            self.idle_at = None;
            return false;
        }
        match self.idle_at {
            _ if self.worked => true,
            Some(first) => asked >= first.saturating_add(self.apart),
            None => {
                self.idle_at = Some(at);
                false
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const APART: Duration = Duration::from_millis(500);

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    fn idle() -> HostStatus {
        HostStatus::default()
    }

    fn working() -> HostStatus {
        HostStatus { formats: 1, ..HostStatus::default() }
    }

    /// Asks and is answered 10 ms later.
    fn ask(evidence: &mut Evidence, status: HostStatus, at: u64) -> bool {
        evidence.asked(ms(at));
        evidence.answered(&status, ms(at + 10))
    }

    #[test]
    fn work_and_then_rest_is_evidence() {
        let mut evidence = Evidence::new(APART);
        assert!(!ask(&mut evidence, working(), 0));
        assert!(ask(&mut evidence, idle(), 20));
    }

    #[test]
    fn one_idle_answer_is_none_and_two_are_only_if_far_enough_apart() {
        let mut evidence = Evidence::new(APART);
        assert!(!ask(&mut evidence, idle(), 0));
        assert!(!ask(&mut evidence, idle(), 400));
        assert!(!ask(&mut evidence, idle(), 509), "asked too soon after the first answer at 10");
        assert!(ask(&mut evidence, idle(), 510));
    }

    #[test]
    fn a_fault_is_no_rest_even_when_nothing_waits() {
        let mut evidence = Evidence::new(APART);
        assert!(!ask(&mut evidence, working(), 0));
        for fault in [
            HostStatus { paused: true, ..idle() },
            HostStatus { paper_out: true, ..idle() },
            HostStatus { head_open: true, ..idle() },
            HostStatus { ribbon_out: true, ..idle() },
            HostStatus { temperature: true, ..idle() },
            HostStatus { buffer_full: true, ..idle() },
        ] {
            assert!(!ask(&mut evidence, fault, 20), "{fault:?}");
        }
        assert!(ask(&mut evidence, idle(), 30));
        let mut evidence = Evidence::new(APART);
        assert!(!ask(&mut evidence, idle(), 0));
        assert!(!ask(&mut evidence, HostStatus { paused: true, ..idle() }, 100));
        assert!(!ask(&mut evidence, idle(), 600), "counts from after the fault");
    }

    #[test]
    fn an_answer_that_nobody_asked_for_is_no_evidence() {
        let mut evidence = Evidence::new(APART);
        assert!(!evidence.answered(&working(), ms(0)));
        assert!(!evidence.answered(&idle(), ms(1)));
        assert!(!evidence.answered(&idle(), ms(900)));
    }

    #[test]
    fn late_answers_to_old_questions_do_not_make_two_of_one_moment() {
        let mut evidence = Evidence::new(APART);
        for at in [0, 2_000, 4_000] {
            evidence.asked(ms(at));
        }
        // All three come at once, when the head is closed.
        assert!(!evidence.answered(&idle(), ms(5_000)));
        assert!(!evidence.answered(&idle(), ms(5_000)));
        assert!(!evidence.answered(&idle(), ms(5_001)));
        assert!(!ask(&mut evidence, idle(), 5_400));
        assert!(ask(&mut evidence, idle(), 5_500));
    }

    proptest! {
        #[test]
        fn nothing_is_evidence_without_an_idle_answer_that_was_asked_for(
            turns in prop::collection::vec((any::<bool>(), 0u32..2, any::<bool>(), 0u64..2_000), 0..60),
        ) {
            let (mut evidence, mut questions, mut now) = (Evidence::new(APART), 0_u32, 0);
            for (ask, formats, paused, wait) in turns {
                now += wait;
                if ask {
                    evidence.asked(ms(now));
                    questions += 1;
                }
                let status = HostStatus { formats, paused, ..HostStatus::default() };
                let printed = evidence.answered(&status, ms(now));
                prop_assert!(!printed || (questions > 0 && status.state() == PrinterState::Ready));
                questions = questions.saturating_sub(1);
            }
        }
    }
}
