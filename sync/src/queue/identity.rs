//! Who the station is: what enrolment gave it, verified from the root fingerprint down, and the keys that it
//! had since.

use super::error::{OpenError, StorageError};
use crate::secure::{KeyProtection, Secure};
use lotgate_domain::certificate::{self, Certificate, Trust, TrustError};
use lotgate_domain::entry::Frame;
use lotgate_domain::ids::{Hash, PublicKey, StationId, TenantId};
use lotgate_domain::protocol::Site;
use lotgate_domain::statement::Signed;
use rusqlite::{Connection, OptionalExtension as _, named_params};

/// The identity of an enrolled station. Made by [`Identity::verify`] only: at enrolment, at every start, and when
/// it takes a new key.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Identity {
    /// Whose it is.
    pub tenant: TenantId,
    /// Where it stands.
    pub site: Site,
    /// Its id.
    pub station: StationId,
    /// What people call it.
    pub station_name: String,
    /// SHA-256 of the tenant's root key, as the enrolment token named it.
    pub root_fingerprint: Hash,
    /// The tenant's keys.
    pub trust: Trust,
    /// The certificate of the station's present key; its hash is what a new epoch of the chain starts from.
    pub certificate: Signed<Certificate>,
    /// The certificates of every key that the station has or had, the first one's first. What it signed with one
    /// verifies by that one for ever.
    pub keys: Vec<Signed<Certificate>>,
    /// All certificates as the cloud sent them.
    pub certificates: Vec<Vec<u8>>,
    /// Where the device secret lies, as chosen at enrolment.
    pub key_protection: KeyProtection,
}

/// Why what the cloud sent at enrolment is not this station's identity.
#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    /// The certificates do not verify from the fingerprint down.
    #[error("the certificates do not verify")]
    Trust(#[from] TrustError),
    /// The certificate names another X25519 key than the station's: what is sealed to it, another could open.
    #[error("the station is certified with another sealing key")]
    HpkeKey,
    /// The station is certified for another site than was named.
    #[error("the station is certified for another site")]
    Site,
}

impl Identity {
    /// Verifies `certificates` (frames) from the fingerprint of the tenant's root key down to the certificate
    /// of the station with `keys`, its Ed25519 and its X25519 public key.
    ///
    /// # Errors
    /// [`IdentityError`].
    pub fn verify(
        tenant: TenantId,
        root_fingerprint: Hash,
        site: Site,
        station_name: String,
        certificates: Vec<Vec<u8>>,
        keys: (&PublicKey, &PublicKey),
        key_protection: KeyProtection,
    ) -> Result<Self, IdentityError> {
        let trust = Trust::establish(tenant, root_fingerprint, &certificates)?;
        Self::under(trust, root_fingerprint, site, station_name, certificates, keys, key_protection)
    }

    /// The same under a trust that was established from `certificates`.
    fn under(
        trust: Trust,
        root_fingerprint: Hash,
        site: Site,
        station_name: String,
        certificates: Vec<Vec<u8>>,
        keys: (&PublicKey, &PublicKey),
        key_protection: KeyProtection,
    ) -> Result<Self, IdentityError> {
        let (public_key, hpke_key) = keys;
        let (station, certificate) = trust.station_certificate(&certificates, public_key)?;
        if certificate.value.hpke_key != Some(*hpke_key) {
            return Err(IdentityError::HpkeKey);
        }
        if certificate.value.subject.site != Some(site.id) {
            return Err(IdentityError::Site);
        }
        let keys = certificate::of_station(&trust, &certificates, station);
        Ok(Self {
            tenant: trust.tenant,
            site,
            station,
            station_name,
            root_fingerprint,
            trust,
            certificate,
            keys,
            certificates,
            key_protection,
        })
    }

    /// The station's present public key.
    #[must_use]
    pub fn public_key(&self) -> PublicKey {
        self.certificate.value.public_key
    }

    /// Whether this is, or was, a key of the station.
    pub(super) fn has_key(&self, key: &PublicKey) -> bool {
        self.keys.iter().any(|signed| signed.value.public_key == *key)
    }

    /// The same station with another present key and what more there is of certificates.
    ///
    /// # Errors
    /// [`IdentityError`], among others where the key is certified for another station.
    pub(super) fn with_key(
        &self,
        more: &[Vec<u8>],
        keys: (&PublicKey, &PublicKey),
    ) -> Result<Self, IdentityError> {
        let mut certificates = self.certificates.clone();
        certificates.extend(more.iter().filter(|frame| !self.certificates.contains(frame)).cloned());
        let (site, name) = (self.site.clone(), self.station_name.clone());
        let (tenant, root) = (self.tenant, self.root_fingerprint);
        let changed = Self::verify(tenant, root, site, name, certificates, keys, self.key_protection)?;
        if changed.station == self.station { Ok(changed) } else { Err(TrustError::Station.into()) }
    }
}

/// Writes it down, in the place of what is there of the same station.
pub(super) fn store(connection: &Connection, identity: &Identity) -> rusqlite::Result<()> {
    connection
        .prepare(
            "INSERT INTO identity (id, tenant, site, site_name, zone, station_name, root_fingerprint, \
                                   certificates, key_protection) \
             VALUES (1, :tenant, :site, :site_name, :zone, :station_name, :root, :certificates, :protection) \
             ON CONFLICT (id) DO UPDATE SET certificates = excluded.certificates",
        )?
        .execute(named_params! {
            ":tenant": identity.tenant.to_string(),
            ":site": identity.site.id.to_string(),
            ":site_name": identity.site.name,
            ":zone": identity.site.zone,
            ":station_name": identity.station_name,
            ":root": identity.root_fingerprint.as_bytes(),
            ":certificates": identity.certificates.concat(),
            ":protection": identity.key_protection.as_str(),
        })
        .map(|_| ())
}

struct Row {
    tenant: String,
    site: String,
    site_name: String,
    zone: String,
    station_name: String,
    root_fingerprint: Vec<u8>,
    certificates: Vec<u8>,
    key_protection: String,
}

/// Reads the identity and verifies all of it. The present key is the one that the last epoch was opened under:
/// the file alone decides, so that taking a new key is one transaction.
pub(super) fn load(connection: &Connection, secure: &Secure) -> Result<Identity, OpenError> {
    let key_protection = secure.protection();
    let row = connection
        .query_row(
            "SELECT tenant, site, site_name, zone, station_name, root_fingerprint, certificates, \
                    key_protection FROM identity",
            [],
            |row| {
                Ok(Row {
                    tenant: row.get(0)?,
                    site: row.get(1)?,
                    site_name: row.get(2)?,
                    zone: row.get(3)?,
                    station_name: row.get(4)?,
                    root_fingerprint: row.get(5)?,
                    certificates: row.get(6)?,
                    key_protection: row.get(7)?,
                })
            },
        )
        .optional()
        .map_err(StorageError::from)?
        .ok_or(OpenError::Foreign)?;
    if row.key_protection != key_protection.as_str() {
        return Err(OpenError::KeyProtection);
    }
    let site =
        Site { id: row.site.parse().map_err(|_| OpenError::Foreign)?, name: row.site_name, zone: row.zone };
    let last: Option<[u8; 32]> = connection
        .query_row("SELECT certificate FROM epoch ORDER BY n DESC LIMIT 1", [], |row| row.get(0))
        .optional()
        .map_err(StorageError::from)?;
    let certificates = split(&row.certificates).ok_or(OpenError::Foreign)?;
    let tenant = row.tenant.parse().map_err(|_| OpenError::Foreign)?;
    let root = Hash::from_slice(&row.root_fingerprint).map_err(|_| OpenError::Foreign)?;
    let trust = Trust::establish(tenant, root, &certificates).map_err(|_| OpenError::Foreign)?;
    let certified = |certificate: Hash| {
        let read = |frame| lotgate_domain::statement::read::<Certificate>(frame, tenant, &trust.issuer).ok();
        certificates.iter().filter_map(|frame| read(frame)).find(|signed| signed.hash == certificate)
    };
    let present = last.and_then(|hash| certified(Hash(hash))).ok_or(OpenError::Foreign)?.value;
    let ours = |signed: &Signed<Certificate>| secure.keys_of(&signed.value.public_key).is_some();
    let Some(keys) = secure.keys_of(&present.public_key) else {
        // A station's file whose other keys are here has lost this one; a file without any of ours is not ours.
        let station = present.subject.id.parse().map_err(|_| OpenError::Foreign)?;
        let any = certificate::of_station(&trust, &certificates, station).iter().any(ours);
        return Err(if any { OpenError::KeyMissing } else { OpenError::Foreign });
    };
    let keys = (&keys.public(), &keys.hpke_public());
    Identity::under(trust, root, site, row.station_name, certificates, keys, key_protection)
        .map_err(|_| OpenError::Foreign)
}

/// Frames that lie back to back.
pub(super) fn split(mut frames: &[u8]) -> Option<Vec<Vec<u8>>> {
    let mut certificates = Vec::new();
    while !frames.is_empty() {
        let (frame, rest) = Frame::split_first(frames).ok()?;
        certificates.push(frame.bytes().to_vec());
        frames = rest;
    }
    Some(certificates)
}
