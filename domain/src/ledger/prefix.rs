//! What can be said of an entry by itself: frame, station signature, envelope, names (PROTOCOL §3, step 2).

use super::{Station, StoredEntry};
use crate::entry::Frame;
use crate::operation;
use crate::protocol::StopCode;
use crate::signature::Context;

/// An entry that may be taken if it follows, or why it ends the prefix.
pub type Checked = Result<StoredEntry, StopCode>;

/// How a station signature is checked; a parameter so that simulations can pass a stand-in.
pub type Verify = fn(&Frame<'_>, &Station) -> bool;

/// The real signature check.
#[must_use]
pub fn verify_signature(frame: &Frame<'_>, station: &Station) -> bool {
    frame.verify(&station.key, Context::Operation).is_ok()
}

/// Checks one entry by itself. A body that is not understood does not end the prefix: it is for the verdict.
///
/// # Errors
/// [`StopCode::BadSignature`], [`StopCode::BrokenChain`].
pub fn check(frame: &Frame<'_>, station: &Station, verify: Verify) -> Checked {
    if !verify(frame, station) {
        return Err(StopCode::BadSignature);
    }
    let entry = operation::read(frame).map_err(|_| StopCode::BrokenChain)?;
    let header = &entry.header;
    let ours = header.tenant == station.tenant
        && header.station == station.id
        && header.key == station.key.key_id()
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
