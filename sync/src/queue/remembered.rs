//! What the station remembers of itself outside its queue, in the secure directory: who it is, so that a lost
//! file can be made anew, and which epoch was begun last, so that no number is given twice.

use super::error::OpenError;
use super::identity::Identity;
use crate::secure::{Places, Secure};
use lotgate_domain::epoch::EpochReason;
use lotgate_domain::ids::{Hash, TenantId};
use lotgate_domain::protocol::{HexBytes, Site};
use serde::{Deserialize, Serialize};
use std::io;

const FILE: &str = "identity.json";

/// The epoch that was begun last: written down before its first operation is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Begun {
    /// Its number.
    pub(super) n: u64,
    /// Why; `None` for the first of all.
    pub(super) reason: Option<EpochReason>,
    /// The name under which the file before was set aside for it, and the code of what was wrong with it.
    pub(super) set_aside: Option<(String, String)>,
}

impl Begun {
    /// An epoch in the queue's file as it is.
    pub(super) fn in_place(n: u64, reason: Option<EpochReason>) -> Self {
        Self { n, reason, set_aside: None }
    }
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Stored {
    v: u64,
    tenant: TenantId,
    site: Site,
    station_name: String,
    root_fingerprint: Hash,
    certificates: Vec<HexBytes>,
    begun: Begun,
}

/// What was read of it, verified like the queue's own copy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Remembered {
    pub(super) identity: Identity,
    pub(super) begun: Begun,
}

/// Whether the station remembers anything, in whatever state.
pub(super) fn exists(places: &Places) -> bool {
    places.storage.exists(&places.secure.join(FILE))
}

/// Reads it; `None` if there is none, or none that verifies under keys that are here.
pub(super) fn read(secure: &Secure) -> Result<Option<Remembered>, OpenError> {
    let places = secure.places();
    let bytes = match places.storage.read(&places.secure.join(FILE)) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(OpenError::Io(error)),
    };
    let remembered = serde_json::from_slice(&bytes).ok().and_then(|stored| verify(stored, secure));
    if remembered.is_none() {
        tracing::error!("the copy of the station's identity in the secure directory does not verify");
    }
    Ok(remembered)
}

fn verify(stored: Stored, secure: &Secure) -> Option<Remembered> {
    let certificates: Vec<Vec<u8>> = stored.certificates.into_iter().map(|frame| frame.0).collect();
    // The newest of the keys that are here and certified is the present one.
    let keys = secure.all_keys().rev().map(|keys| (keys.public(), keys.hpke_public()));
    let identity = keys.into_iter().find_map(|(public, hpke)| {
        Identity::verify(
            stored.tenant,
            stored.root_fingerprint,
            stored.site.clone(),
            stored.station_name.clone(),
            certificates.clone(),
            (&public, &hpke),
            secure.protection(),
        )
        .ok()
    })?;
    (stored.v == 1).then_some(())?;
    Some(Remembered { identity, begun: stored.begun })
}

/// Writes it, durably.
pub(super) fn write(places: &Places, identity: &Identity, begun: &Begun) -> io::Result<()> {
    let stored = Stored {
        v: 1,
        tenant: identity.tenant,
        site: identity.site.clone(),
        station_name: identity.station_name.clone(),
        root_fingerprint: identity.root_fingerprint,
        certificates: identity.certificates.iter().cloned().map(HexBytes).collect(),
        begun: begun.clone(),
    };
    places.storage.write_durably(&places.secure, FILE, &serde_json::to_vec(&stored)?)
}
