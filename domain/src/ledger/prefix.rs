//! What can be said of an entry by itself: frame, station signature, envelope, names (PROTOCOL §3, step 2).

use super::{Station, StoredEntry};
use crate::entry::Frame;
use crate::ids::PublicKey;
use crate::operation;
use crate::protocol::StopCode;
use crate::signature::{BadSignature, Context, PreparedKey};

/// An entry that may be taken if it follows, or why it ends the prefix.
pub type Checked = Result<StoredEntry, StopCode>;

/// How a station signature is checked: says with which of its keys it was made. A parameter so that simulations
/// can pass a stand-in.
pub type Verify = fn(&Frame<'_>, &Station) -> Option<PublicKey>;

/// The real signature check.
#[must_use]
pub fn verify_signature(frame: &Frame<'_>, station: &Station) -> Option<PublicKey> {
    station.keys().map(|known| known.key).find(|key| frame.verify(key, Context::Operation).is_ok())
}

/// Checks entries by themselves, with the station's present key made ready for many; the answers stand in the order
/// of the frames. What that key did not sign is looked at under the former ones.
#[must_use]
pub fn check_each(frames: &[Frame<'_>], station: &Station, present: &PreparedKey) -> Vec<Checked> {
    let signed = Frame::verify_each(frames, present, Context::Operation);
    let check = |(frame, signed): (&Frame<'_>, Result<(), BadSignature>)| match signed {
        Ok(()) => read(frame, station, *present.public()),
        Err(BadSignature) => check(frame, station, verify_signature),
    };
    frames.iter().zip(signed).map(check).collect()
}

/// Checks one entry by itself. A body that is not understood does not end the prefix: it is for the verdict.
///
/// # Errors
/// [`StopCode::BadSignature`], [`StopCode::BrokenChain`].
pub fn check(frame: &Frame<'_>, station: &Station, verify: Verify) -> Checked {
    let key = verify(frame, station).ok_or(StopCode::BadSignature)?;
    read(frame, station, key)
}

fn read(frame: &Frame<'_>, station: &Station, key: PublicKey) -> Checked {
    let entry = operation::read(frame).map_err(|_| StopCode::BrokenChain)?;
    let header = &entry.header;
    let ours = header.tenant == station.tenant
        && header.station == station.id
        && header.key == key.key_id()
        && entry.content.site().is_none_or(|site| site == station.site);
    if !ours {
        return Err(StopCode::BrokenChain);
    }
    Ok(StoredEntry {
        epoch: header.epoch,
        seq: header.seq,
        hash: entry.hash,
        bytes: frame.bytes().to_vec(),
        entry,
    })
}
