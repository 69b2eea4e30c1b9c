//! What of the cloud's answers holds: checks of signatures, names and hashes, as pure functions.
//!
//! The order everywhere is verify, then store, and only then settle or decide by it.

use super::failure::{FailureCode, InconsistencyCode};
use crate::queue::{
    Contradiction, Following, LogFault, LogKnown, LogMark, LogStep, OwnHashes, ProvenVerdicts, Settlement,
};
use lotgate_domain::certificate::Trust;
use lotgate_domain::chain::Head;
use lotgate_domain::ids::{Epoch, Hash, SiteId, StationId};
use lotgate_domain::merkle::checkpoint::Checkpoint;
use lotgate_domain::protocol::proof::RangeProof;
use lotgate_domain::protocol::push::LogSeen;
use lotgate_domain::protocol::{FeedReply, HexBytes, PushReply};
use lotgate_domain::reference::{Snapshot, feed_next, feed_start};
use lotgate_domain::statement::event::LogRecovered;
use lotgate_domain::statement::{self, FeedPoint, Receipt, Signed, VerdictBatch};
use serde_json::json;

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

/// The push that a reply answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sent {
    /// Its epoch.
    pub epoch: Epoch,
    /// Seq of what its first entry comes after.
    pub after: u64,
    /// Seq of its last entry.
    pub last: u64,
    /// What its header said of the log.
    pub told: Option<LogSeen>,
}

impl Sent {
    /// Seq of the last entry of the push that is held by a cloud whose chain goes up to `through`; `None` if it
    /// holds none of it.
    fn taken(&self, through: Head) -> Option<u64> {
        let last = match through.epoch {
            Some(epoch) if epoch == self.epoch => through.seq.min(self.last),
            Some(epoch) if epoch.n > self.epoch.n => self.last,
            _ => 0,
        };
        (last > self.after).then_some(last)
    }

    /// Whether there are verdicts for every entry of the push that was taken.
    fn is_covered(&self, through: Head, verdicts: &[ProvenVerdicts]) -> bool {
        let Some(taken) = self.taken(through) else { return true };
        let cover = |covered: u64, proven: &ProvenVerdicts| {
            let gap = proven.first_seq > covered.saturating_add(1);
            if gap { covered } else { covered.max(proven.last_seq()) }
        };
        verdicts.iter().fold(self.after, cover) >= taken
    }
}

/// A push reply, its signatures verified.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Pushed {
    /// The cloud took nothing and holds nothing of it.
    Nothing,
    /// The reply is older than one that was verified before it: begin again from what is settled.
    Overtaken,
    /// The cloud was restored from a backup: accept that first, with its head.
    Recovered(Vec<Signed<LogRecovered>>),
    /// What is to be proven against the own entries.
    Claimed(Box<Claim>),
}

/// What the cloud says it made of own entries, not yet held against them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claim {
    epoch: Epoch,
    receipt: Signed<Receipt>,
    verdicts: Vec<ProvenVerdicts>,
    log: Option<LogStep>,
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

/// Verifies the signatures of a push reply, and that its checkpoint follows what is known of the log.
///
/// # Errors
/// `receipt_missing` if the receipt does not cover what the reply says was accepted; `receipt_invalid`,
/// `verdict_invalid` if a statement is not the tenant's, or not about this station; `log_went_back`,
/// `log_rewritten`; `proof_invalid`, also if there is none for something that the reply says was accepted.
pub fn check_push(
    expected: Expected<'_>,
    sent: Sent,
    known: LogKnown,
    reply: &PushReply,
) -> Result<Pushed, InconsistencyCode> {
    let Some(receipt) = read_receipt(expected, sent, reply)? else { return Ok(Pushed::Nothing) };
    let Trust { tenant, statement: key, .. } = expected.trust;
    let read = |bytes: &HexBytes| statement::read::<VerdictBatch>(&bytes.0, *tenant, key);
    let batches: Result<Vec<_>, _> = reply.verdicts.iter().map(read).collect();
    let batches = batches.map_err(|_| InconsistencyCode::VerdictInvalid)?;
    let claim =
        |verdicts, log| Ok(Pushed::Claimed(Box::new(Claim { epoch: sent.epoch, receipt, verdicts, log })));
    let Some(proof) = &reply.proof else {
        return if batches.is_empty() && sent.is_covered(reply.accepted_through, &[]) {
            claim(Vec::new(), None)
        } else {
            Err(InconsistencyCode::ProofInvalid)
        };
    };
    let checkpoint = Checkpoint::read(&proof.checkpoint, *tenant, &expected.trust.log)
        .map_err(|_| InconsistencyCode::ProofInvalid)?;
    let mark = LogMark::from(&checkpoint);
    let proofs = match known.follow(sent.told, mark, &proof.consistency)? {
        Following::Overtaken => return Ok(Pushed::Overtaken),
        Following::LaterGeneration => {
            let recovered = check_recovered(expected, known, &proof.recovered)?;
            let last = recovered.last().map(|recovered| recovered.value.generation);
            let whole = last == Some(mark.generation);
            return if whole {
                Ok(Pushed::Recovered(recovered))
            } else {
                Err(InconsistencyCode::LogRewritten)
            };
        }
        Following::Same => Vec::new(),
        Following::Grew => proof.consistency.clone(),
    };
    let verdicts = place(batches, &proof.ranges)?;
    if !sent.is_covered(reply.accepted_through, &verdicts) {
        return Err(InconsistencyCode::ProofInvalid);
    }
    claim(verdicts, Some(LogStep { known, mark, note: proof.checkpoint.clone(), proofs }))
}

/// The receipt, if the reply needs one.
fn read_receipt(
    expected: Expected<'_>,
    sent: Sent,
    reply: &PushReply,
) -> Result<Option<Signed<Receipt>>, InconsistencyCode> {
    let Trust { tenant, statement: key, .. } = expected.trust;
    let through = reply.accepted_through;
    let Some(receipt) = &reply.receipt else {
        let nothing = through.epoch.is_none_or(|epoch| epoch == sent.epoch) && through.seq <= sent.after;
        let nothing = nothing && reply.verdicts.is_empty();
        return if nothing { Ok(None) } else { Err(InconsistencyCode::ReceiptMissing) };
    };
    let receipt = statement::read::<Receipt>(&receipt.0, *tenant, key)
        .map_err(|_| InconsistencyCode::ReceiptInvalid)?;
    if receipt.value.station != expected.station {
        return Err(InconsistencyCode::ReceiptInvalid);
    }
    if !covers(&receipt.value, through) {
        return Err(InconsistencyCode::ReceiptMissing);
    }
    Ok(Some(receipt))
}

/// Puts each batch with its proof. They must come in order of seq and may not overlap.
fn place(
    batches: Vec<Signed<VerdictBatch>>,
    ranges: &[RangeProof],
) -> Result<Vec<ProvenVerdicts>, InconsistencyCode> {
    if batches.len() != ranges.len() {
        return Err(InconsistencyCode::ProofInvalid);
    }
    let mut next = 1;
    let mut placed = Vec::with_capacity(batches.len());
    for (batch, range) in batches.into_iter().zip(ranges) {
        if range.first_seq < next {
            return Err(InconsistencyCode::ProofInvalid);
        }
        let (hashes, rest) = (range.hashes.clone(), range.rest.clone());
        let placed_here = ProvenVerdicts { batch, first_seq: range.first_seq, hashes, rest };
        next = range.first_seq.checked_add(placed_here.own_count()).ok_or(InconsistencyCode::ProofInvalid)?;
        placed.push(placed_here);
    }
    Ok(placed)
}

impl Claim {
    /// Which own entries it is about: the first seq and how many from there; `None` if it is about none.
    #[must_use]
    pub fn wanted(&self) -> Option<(u64, u64)> {
        let (first, last) = (self.verdicts.first()?, self.verdicts.last()?);
        let end = last.last_seq().checked_add(1)?;
        end.checked_sub(first.first_seq).map(|count| (first.first_seq, count))
    }

    /// Holds it against the own entries: each verdict batch must stand in the log right after them.
    ///
    /// # Errors
    /// `proof_invalid`; then nothing of it may be settled.
    pub fn prove(self, own: &OwnHashes) -> Result<Settlement, InconsistencyCode> {
        let Self { epoch, receipt, mut verdicts, log } = self;
        if let Some(step) = &log {
            let mut wrong = false;
            verdicts.retain(|proven| {
                let Some(entries) = own.slice(proven.first_seq, proven.own_count()) else {
                    // Entries are pruned only after they were settled, so they were proven before.
                    let pruned = proven.first_seq < own.first_seq && proven.last_seq() <= own.settled_through;
                    wrong |= !pruned;
                    return false;
                };
                let stands = proven.stands(step.mark.head, entries);
                wrong |= !stands;
                stands
            });
            if wrong {
                return Err(InconsistencyCode::ProofInvalid);
            }
        }
        Ok(Settlement { epoch, receipt, verdicts, log })
    }
}

/// Verifies what a reply says of restores of the cloud's log; gives those that were not accepted yet, in order.
///
/// # Errors
/// `log_rewritten` if one is not signed by the tenant's root key, or does not follow the one before.
pub fn check_recovered(
    expected: Expected<'_>,
    known: LogKnown,
    recovered: &[HexBytes],
) -> Result<Vec<Signed<LogRecovered>>, InconsistencyCode> {
    let (mut known, mut new) = (known, Vec::new());
    for bytes in recovered {
        let read = statement::read::<LogRecovered>(&bytes.0, expected.trust.tenant, &expected.trust.root);
        let recovered = read.map_err(|_| InconsistencyCode::LogRewritten)?;
        if recovered.value.generation <= known.generation {
            continue;
        }
        if !known.is_next_restore(&recovered.value) {
            return Err(InconsistencyCode::LogRewritten);
        }
        known = known.after_restore(&recovered.value);
        new.push(recovered);
    }
    Ok(new)
}

/// Both sides of a contradiction, to be kept as evidence.
#[must_use]
pub fn contradiction(
    code: InconsistencyCode,
    sent: Sent,
    known: LogKnown,
    reply: &PushReply,
) -> Contradiction {
    let head = |mark: &LogMark| json!({ "generation": mark.generation, "head": mark.head });
    let ours = json!({
        "epoch": sent.epoch,
        "after": sent.after,
        "told": sent.told,
        "log": known.last.as_ref().map(head),
        "generation": known.generation,
        "restored": known.restored.map(|restored| restored.head),
    });
    let told = serde_json::to_string(reply).unwrap_or_default();
    Contradiction { code: FailureCode::Inconsistent(code).as_str(), told, ours: ours.to_string() }
}

impl From<LogFault> for InconsistencyCode {
    fn from(fault: LogFault) -> Self {
        match fault {
            LogFault::WentBack => Self::LogWentBack,
            LogFault::Rewritten => Self::LogRewritten,
            LogFault::Unproven => Self::ProofInvalid,
        }
    }
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
    use lotgate_domain::ids::{EpochId, TenantId};
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
        Trust { tenant, root: key, issuer: key, log: key, statement: key, recovery: None }
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
            proof: None,
        }
    }

    #[test]
    fn a_receipt_must_be_ours_and_cover_what_was_accepted() {
        let trust = trust();
        let expected = expected(&trust);
        // A push of nothing that was accepted: then no proof is needed.
        let sent = Sent { epoch: EPOCH, after: 5, last: 9, told: None };
        let check = |reply: &PushReply| {
            let pushed = check_push(expected, sent, LogKnown::default(), reply);
            pushed.map(|pushed| matches!(pushed, Pushed::Claimed(_)))
        };
        let ours = receipt(expected, expected.station, 5, &keys());
        assert_eq!(check(&pushed(5, Some(ours.clone()))), Ok(true));
        assert_eq!(check(&pushed(6, Some(ours))), Err(InconsistencyCode::ReceiptMissing), "covers less");
        assert_eq!(check(&pushed(6, None)), Err(InconsistencyCode::ReceiptMissing), "no receipt at all");
        assert_eq!(check(&pushed(5, None)), Ok(false), "nothing accepted needs no receipt");
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

    #[test]
    fn a_receipt_for_entries_of_the_push_without_their_verdicts_is_no_proof() {
        let trust = trust();
        let expected = expected(&trust);
        let reply = pushed(5, Some(receipt(expected, expected.station, 5, &keys())));
        for (after, last) in [(0, 5), (4, 5), (4, 9)] {
            let sent = Sent { epoch: EPOCH, after, last, told: None };
            let checked = check_push(expected, sent, LogKnown::default(), &reply);
            assert_eq!(checked, Err(InconsistencyCode::ProofInvalid), "{after} to {last}");
        }
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
