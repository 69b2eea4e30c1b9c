//! What people touch about labels: which job they mean, and that a touch of a glove that bounces is one touch.

use crate::actor::PrintRequest;
use crate::screen::Request;
use std::mem::{Discriminant, discriminant};
use std::time::{Duration, Instant};

/// A second touch of the same kind within this time is the first: after it the button means another job.
const BOUNCE: Duration = Duration::from_millis(700);

/// What is asked for of labels, if it is that.
pub(super) const fn of_labels(request: &Request) -> Option<PrintRequest> {
    Some(match request {
        Request::PrintLabel { scan } => PrintRequest::Print(*scan),
        Request::PrintAgain { job } => PrintRequest::Again(*job),
        Request::CancelPrint { job } => PrintRequest::Cancel(*job),
        Request::Printed { job, came } => PrintRequest::Answer { job: *job, came: *came },
        Request::DoubtLabel { job } => PrintRequest::Doubt(*job),
        _ => return None,
    })
}

/// The last touch about labels.
#[derive(Debug, Default)]
pub(super) struct Touches {
    last: Option<(Discriminant<PrintRequest>, Instant)>,
}

impl Touches {
    /// Whether this touch counts.
    pub(super) fn counts(&mut self, request: &PrintRequest, at: Instant) -> bool {
        let kind = discriminant(request);
        let bounces = |(last, then): (_, Instant)| last == kind && at.duration_since(then) < BOUNCE;
        let counts = !self.last.is_some_and(bounces);
        if counts {
            self.last = Some((kind, at));
        }
        counts
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use lotgate_domain::ids::OperationId;

    fn id(n: u8) -> OperationId {
        OperationId::from_parts(0, &[n; 10])
    }

    #[test]
    fn a_glove_that_bounces_gives_up_one_label_and_not_the_next_too() {
        let mut touches = Touches::default();
        let start = Instant::now();
        let at = |ms| start + Duration::from_millis(ms);
        assert!(touches.counts(&PrintRequest::Cancel(id(1)), at(0)));
        assert!(
            !touches.counts(&PrintRequest::Cancel(id(2)), at(200)),
            "the screen changed under the finger"
        );
        assert!(!touches.counts(&PrintRequest::Cancel(id(2)), at(600)));
        assert!(touches.counts(&PrintRequest::Print(id(2)), at(650)), "another button");
        assert!(touches.counts(&PrintRequest::Cancel(id(2)), at(700)));
        assert!(touches.counts(&PrintRequest::Cancel(id(3)), at(1_400)));
    }
}
