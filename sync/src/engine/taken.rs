//! How much of a batch the cloud says it took, as a pure check.

use super::failure::InconsistencyCode;
use lotgate_domain::chain::Head;
use lotgate_domain::protocol::Stopped;

/// Whether the cloud took the batch whose first entry has the number `first` and whose last is `last`, given that
/// it says it holds the epoch up to `through`, which the queue does or does not hold. Gives where it stopped.
///
/// # Errors
/// `cloud_ahead` if it holds entries that this queue does not; `accepted_unknown` if it names another entry, or
/// less than the batch, without a stop right after that, at an entry of the batch.
pub fn check_taken(
    first: u64,
    last: Head,
    through: Head,
    held: bool,
    stopped: Option<Stopped>,
) -> Result<Option<Stopped>, InconsistencyCode> {
    let ahead = through.epoch == last.epoch && through.seq > last.seq;
    if !held {
        return Err(if ahead { InconsistencyCode::CloudAhead } else { InconsistencyCode::AcceptedUnknown });
    }
    let whole = through.epoch == last.epoch && through.seq >= last.seq;
    let stop = stopped.filter(|stop| {
        let next = through.seq.checked_add(1) == Some(stop.seq);
        next && (first..=last.seq).contains(&stop.seq)
    });
    match (whole, stopped, stop) {
        (true, None, _) => Ok(None),
        (false, Some(_), Some(stop)) => Ok(Some(stop)),
        _ => Err(InconsistencyCode::AcceptedUnknown),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use InconsistencyCode::{AcceptedUnknown, CloudAhead};
    use lotgate_domain::ids::{Epoch, EpochId, Hash};
    use lotgate_domain::protocol::StopCode;

    fn at(n: u64, seq: u64) -> Head {
        let epoch = (n > 0).then_some(Epoch { n, id: EpochId([1; 16]) });
        Head { epoch, seq, hash: Hash::ZERO }
    }

    #[test]
    fn a_batch_is_taken_whole_or_up_to_a_stop_within_it() {
        let stop = |seq| Some(Stopped { seq, code: StopCode::BadSignature });
        // Entries 5 to 8 of epoch 2 were pushed.
        let cases = [
            ("whole", at(2, 8), true, None, Ok(None)),
            ("more, from a later batch", at(2, 9), true, None, Ok(None)),
            ("less", at(2, 7), true, None, Err(AcceptedUnknown)),
            ("stopped in the middle", at(2, 6), true, stop(7), Ok(stop(7))),
            ("stopped at the first", at(2, 4), true, stop(5), Ok(stop(5))),
            ("nothing of the epoch, but no stop", at(1, 3), true, None, Err(AcceptedUnknown)),
            ("stopped before the batch", at(2, 3), true, stop(4), Err(AcceptedUnknown)),
            ("stopped after the batch", at(2, 8), true, stop(9), Err(AcceptedUnknown)),
            ("a gap before the stop", at(2, 5), true, stop(7), Err(AcceptedUnknown)),
            ("another entry", at(2, 8), false, None, Err(AcceptedUnknown)),
            ("more than was written", at(2, 99), false, None, Err(CloudAhead)),
            ("the end of numbers", at(2, u64::MAX), false, stop(u64::MAX), Err(CloudAhead)),
        ];
        for (what, through, held, stopped, expected) in cases {
            assert_eq!(check_taken(5, at(2, 8), through, held, stopped), expected, "{what}");
        }
    }
}
