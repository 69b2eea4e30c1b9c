//! What of the cloud's answers holds: checks of signatures, names and hashes, as pure functions.
//!
//! The order everywhere is verify, then store, and only then settle or decide by it.

use super::failure::InconsistencyCode;
use lotgate_domain::certificate::Trust;
use lotgate_domain::chain::Head;
use lotgate_domain::ids::{Hash, SiteId, StationId};
use lotgate_domain::protocol::{FeedReply, PushReply};
use lotgate_domain::reference::{Snapshot, feed_next, feed_start};
use lotgate_domain::statement::{self, FeedPoint, Receipt, Signed, VerdictBatch};

/// Whose answers these must be.
#[derive(Debug, Clone, Copy)]
pub struct Expected<'a> {
    /// The tenant's keys.
    pub trust: &'a Trust,
    /// This station.
    pub station: StationId,
    /// Its site.
    pub site: SiteId,
}

/// The signed part of a push reply, verified.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Proof {
    /// How far the cloud holds the chain.
    pub receipt: Signed<Receipt>,
    /// What it made of the operations.
    pub verdicts: Vec<Signed<VerdictBatch>>,
}

/// The reference data that a station has: a cursor, and the hash of the feed up to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FeedState {
    /// 0 before the first page.
    pub cursor: u64,
    /// Hash of the feed up to the cursor.
    pub hash: Hash,
}

impl FeedState {
    /// Before the first page of a site.
    #[must_use]
    pub fn start(site: SiteId) -> Self {
        Self { cursor: 0, hash: feed_start(site) }
    }
}

/// A feed reply, verified.
#[derive(Debug, Clone)]
pub enum FeedStep {
    /// The site has no reference data yet.
    Nothing,
    /// What the station has is the newest.
    Confirmed(Signed<FeedPoint>),
    /// The next page.
    Page {
        /// Where the feed stands with it.
        point: Signed<FeedPoint>,
        /// Its bytes.
        page: Vec<u8>,
        /// What it says.
        snapshot: Box<Snapshot>,
    },
}

/// Verifies the signed part of a push reply; `None` if the cloud holds nothing of the chain yet.
///
/// # Errors
/// `receipt_missing` if the receipt does not cover what the reply says was accepted; `receipt_invalid`,
/// `verdict_invalid` if a statement is not the tenant's, or not about this station.
pub fn check_push(expected: Expected<'_>, reply: &PushReply) -> Result<Option<Proof>, InconsistencyCode> {
    let Trust { tenant, statement: key, .. } = expected.trust;
    let Some(receipt) = &reply.receipt else {
        let nothing = reply.accepted_through.seq == 0;
        return if nothing { Ok(None) } else { Err(InconsistencyCode::ReceiptMissing) };
    };
    let receipt = statement::read::<Receipt>(&receipt.0, *tenant, key)
        .map_err(|_| InconsistencyCode::ReceiptInvalid)?;
    if receipt.value.station != expected.station {
        return Err(InconsistencyCode::ReceiptInvalid);
    }
    if !covers(&receipt.value, reply.accepted_through) {
        return Err(InconsistencyCode::ReceiptMissing);
    }
    let verdicts = reply.verdicts.iter().map(|bytes| statement::read(&bytes.0, *tenant, key));
    let verdicts = verdicts.collect::<Result<_, _>>().map_err(|_| InconsistencyCode::VerdictInvalid)?;
    Ok(Some(Proof { receipt, verdicts }))
}

/// A receipt of a later epoch stands for all of the earlier ones: one epoch ends before the next begins.
fn covers(receipt: &Receipt, through: Head) -> bool {
    through.epoch.is_none_or(|epoch| {
        receipt.epoch.n > epoch.n || (receipt.epoch == epoch && receipt.through.seq >= through.seq)
    })
}

/// Verifies a feed reply against what the station has. The statement's time is judged where the last one is
/// stored.
///
/// # Errors
/// `feed_invalid` if the statement is not the tenant's or not for this site; `feed_went_back` if the cursor
/// is behind, or another hash stands at the same one; `feed_broken` if the page does not continue the feed;
/// `page_invalid` if it does but cannot be read.
pub fn check_feed(
    expected: Expected<'_>,
    known: FeedState,
    reply: FeedReply,
) -> Result<FeedStep, InconsistencyCode> {
    let Trust { tenant, statement: key, .. } = expected.trust;
    let Some(bytes) = reply.statement else {
        return match (known.cursor, reply.page) {
            (0, None) => Ok(FeedStep::Nothing),
            (0, Some(_)) => Err(InconsistencyCode::FeedInvalid),
            _ => Err(InconsistencyCode::FeedWentBack),
        };
    };
    let point =
        statement::read::<FeedPoint>(&bytes, *tenant, key).map_err(|_| InconsistencyCode::FeedInvalid)?;
    if point.value.site != expected.site {
        return Err(InconsistencyCode::FeedInvalid);
    }
    let FeedPoint { cursor, hash, .. } = point.value;
    match reply.page {
        _ if cursor < known.cursor => Err(InconsistencyCode::FeedWentBack),
        None if cursor > known.cursor => Err(InconsistencyCode::FeedBroken),
        None if hash != known.hash => Err(InconsistencyCode::FeedWentBack),
        None => Ok(FeedStep::Confirmed(point)),
        Some(page) => {
            let follows = Some(cursor) == known.cursor.checked_add(1) && hash == feed_next(known.hash, &page);
            if !follows {
                return Err(InconsistencyCode::FeedBroken);
            }
            let snapshot = Snapshot::read(&page, cursor, hash).map_err(|_| InconsistencyCode::PageInvalid)?;
            Ok(FeedStep::Page { point, page, snapshot: Box::new(snapshot) })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use lotgate_domain::ids::{Epoch, EpochId, TenantId};
    use lotgate_domain::protocol::HexBytes;
    use lotgate_domain::reference::{ReferenceFile, render_page};
    use lotgate_domain::signature::KeyPair;
    use lotgate_domain::statement::{Statement as _, Through};
    use lotgate_domain::time::Timestamp;

    const EPOCH: Epoch = Epoch { n: 1, id: EpochId([1; 16]) };

    fn keys() -> KeyPair {
        KeyPair::from_seed(&[9; 32])
    }

    fn trust() -> Trust {
        let key = keys().public();
        let tenant = TenantId::from_parts(1, &[0; 10]);
        Trust { tenant, root: key, issuer: key, log: key, statement: key }
    }

    fn expected(trust: &Trust) -> Expected<'_> {
        let (station, site) = (StationId::from_parts(2, &[0; 10]), SiteId::from_parts(3, &[0; 10]));
        Expected { trust, station, site }
    }

    fn receipt(expected: Expected<'_>, station: StationId, seq: u64, keys: &KeyPair) -> HexBytes {
        let receipt = Receipt {
            v: 1,
            kind: Receipt::KIND.to_owned(),
            tenant: expected.trust.tenant,
            key: keys.public().key_id(),
            station,
            epoch: EPOCH,
            through: Through { seq, hash: Hash([4; 32]) },
            verdicts: vec![],
            previous: Hash::ZERO,
            time: Timestamp::from_unix_ms(0),
        };
        HexBytes(statement::sign(&receipt, keys).unwrap())
    }

    fn pushed(through: u64, receipt: Option<HexBytes>) -> PushReply {
        PushReply {
            accepted_through: Head { epoch: Some(EPOCH), seq: through, hash: Hash([4; 32]) },
            first_index: None,
            stopped: None,
            branch: 0,
            verdicts: vec![],
            receipt,
        }
    }

    #[test]
    fn a_receipt_must_be_ours_and_cover_what_was_accepted() {
        let trust = trust();
        let expected = expected(&trust);
        let check = |reply: &PushReply| check_push(expected, reply).map(|proof| proof.is_some());
        let ours = receipt(expected, expected.station, 5, &keys());
        assert_eq!(check(&pushed(5, Some(ours.clone()))), Ok(true));
        assert_eq!(check(&pushed(6, Some(ours))), Err(InconsistencyCode::ReceiptMissing), "covers less");
        assert_eq!(check(&pushed(5, None)), Err(InconsistencyCode::ReceiptMissing), "no receipt at all");
        assert_eq!(check(&pushed(0, None)), Ok(false), "nothing accepted needs no receipt");
        let other = receipt(expected, StationId::from_parts(9, &[0; 10]), 5, &keys());
        assert_eq!(check(&pushed(5, Some(other))), Err(InconsistencyCode::ReceiptInvalid), "other station");
        let forged = receipt(expected, expected.station, 5, &KeyPair::from_seed(&[1; 32]));
        assert_eq!(check(&pushed(5, Some(forged))), Err(InconsistencyCode::ReceiptInvalid), "other key");
        let garbage = HexBytes(vec![1, 2, 3]);
        assert_eq!(check(&pushed(5, Some(garbage.clone()))), Err(InconsistencyCode::ReceiptInvalid));
        let mut reply = pushed(5, Some(receipt(expected, expected.station, 5, &keys())));
        reply.verdicts.push(garbage);
        assert_eq!(check(&reply), Err(InconsistencyCode::VerdictInvalid));
    }

    fn point(expected: Expected<'_>, cursor: u64, hash: Hash) -> Vec<u8> {
        let point = FeedPoint {
            v: 1,
            kind: FeedPoint::KIND.to_owned(),
            tenant: expected.trust.tenant,
            key: keys().public().key_id(),
            site: expected.site,
            cursor,
            hash,
            time: Timestamp::from_unix_ms(0),
        };
        statement::sign(&point, &keys()).unwrap()
    }

    #[test]
    fn a_feed_only_grows_and_its_pages_continue_its_hash() {
        let trust = trust();
        let expected = expected(&trust);
        let start = FeedState::start(expected.site);
        let page = render_page(&ReferenceFile::default(), "Europe/Berlin").unwrap();
        let hash = feed_next(start.hash, &page);
        let first = FeedState { cursor: 1, hash };
        let check = |known, cursor, hash, page: Option<&[u8]>| {
            let statement = Some(point(expected, cursor, hash));
            check_feed(expected, known, FeedReply { statement, page: page.map(<[u8]>::to_vec) })
        };
        assert!(matches!(check(start, 1, hash, Some(&page)), Ok(FeedStep::Page { .. })));
        assert!(matches!(check(first, 1, hash, None), Ok(FeedStep::Confirmed(_))));
        let wrong = [
            (check(first, 0, start.hash, None), InconsistencyCode::FeedWentBack, "cursor back"),
            (check(first, 1, Hash::ZERO, None), InconsistencyCode::FeedWentBack, "another hash"),
            (check(first, 2, hash, None), InconsistencyCode::FeedBroken, "a page withheld"),
            (check(start, 2, hash, Some(&page)), InconsistencyCode::FeedBroken, "a page skipped"),
            (check(start, 1, hash, Some(b"x")), InconsistencyCode::FeedBroken, "another page"),
            (
                check(start, 1, feed_next(start.hash, b"x"), Some(b"x")),
                InconsistencyCode::PageInvalid,
                "signed nonsense",
            ),
        ];
        for (step, code, why) in wrong {
            assert_eq!(step.err(), Some(code), "{why}");
        }
        let none = FeedReply { statement: None, page: None };
        assert!(matches!(check_feed(expected, start, none.clone()), Ok(FeedStep::Nothing)));
        assert_eq!(check_feed(expected, first, none).err(), Some(InconsistencyCode::FeedWentBack));
        let garbage = FeedReply { statement: Some(vec![0; 80]), page: None };
        assert_eq!(check_feed(expected, start, garbage).err(), Some(InconsistencyCode::FeedInvalid));
    }
}
