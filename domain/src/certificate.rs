//! Certificates: the tenant's keys and the stations, certified from the root down (PROTOCOL §9.7, §9.8).

use crate::ids::{CertificateSerial, Hash, KeyId, PublicKey, SiteId, StationId, TenantId};
use crate::statement::{self, Signed, StatementError, statement};
use crate::time::Timestamp;
use serde::{Deserialize, Serialize};

/// What kind of subject is certified.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SubjectType {
    /// One of the tenant's own keys.
    TenantKey,
    /// A station.
    Station,
    /// A person's credential.
    Person,
}

/// What a certified key is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum KeyUse {
    /// Certifies the tenant's other keys; offline.
    Root,
    /// Certifies stations and persons.
    Issuer,
    /// Signs checkpoints of the log.
    Log,
    /// Signs receipts, verdicts, feed and time.
    Statement,
    /// Opens a lost queue; X25519.
    Recovery,
    /// Signs operations and requests.
    Operation,
    /// Signs records.
    Esig,
}

/// Who is certified.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Subject {
    /// Kind.
    #[serde(rename = "type")]
    pub kind: SubjectType,
    /// Station or person id; for a tenant key its key id.
    pub id: String,
    /// What the key is for.
    #[serde(rename = "use")]
    pub key_use: KeyUse,
    /// The site, for stations and persons.
    pub site: Option<SiteId>,
}

/// A certificate.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Certificate {
    /// 1.
    pub v: u64,
    /// `cert`.
    pub kind: String,
    /// Whose.
    pub tenant: TenantId,
    /// The signer.
    pub key: KeyId,
    /// Serial.
    pub serial: CertificateSerial,
    /// Who.
    pub subject: Subject,
    /// Ed25519 key of the subject.
    pub public_key: PublicKey,
    /// X25519 key of a station or a recovery holder.
    pub hpke_key: Option<PublicKey>,
    /// For training only: what it signs is never taken for real.
    pub training: bool,
    /// Roles of a person.
    pub roles: Vec<String>,
    /// Valid from.
    pub not_before: Timestamp,
    /// Valid until, if it ends.
    pub not_after: Option<Timestamp>,
    /// The certificate that this one replaces.
    pub previous: Option<CertificateSerial>,
    /// When it was issued.
    pub issued_at: Timestamp,
}
statement!(Certificate, Certificate, "cert");

/// The tenant's keys, as far as they are certified by the root whose fingerprint was given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trust {
    /// The tenant.
    pub tenant: TenantId,
    /// The root key.
    pub root: PublicKey,
    /// The issuer key.
    pub issuer: PublicKey,
    /// The log key.
    pub log: PublicKey,
    /// The statement key.
    pub statement: PublicKey,
    /// The X25519 keys of the two holders who can open a lost queue together, the first one's first: that of the
    /// certificate with the lower serial (PROTOCOL §9.21). `None` where the tenant has none.
    pub recovery: Option<[PublicKey; 2]>,
}

/// Why a set of certificates cannot be trusted.
#[derive(Debug, thiserror::Error)]
pub enum TrustError {
    /// No root certificate in the set has the fingerprint.
    #[error("no root certificate with the expected fingerprint")]
    Fingerprint,
    /// A key of the tenant is not certified by the root.
    #[error("no certificate for the tenant's {0:?} key")]
    Missing(KeyUse),
    /// A certificate does not verify.
    #[error("a certificate does not verify")]
    Certificate(#[from] StatementError),
    /// No certificate for the station and key asked for.
    #[error("no certificate for this station")]
    Station,
}

impl Trust {
    /// Verifies `certificates` (frames) from the fingerprint of the tenant's root key down.
    ///
    /// # Errors
    /// [`TrustError`].
    pub fn establish(
        tenant: TenantId,
        root_fingerprint: Hash,
        certificates: &[Vec<u8>],
    ) -> Result<Self, TrustError> {
        let root = certificates
            .iter()
            .filter_map(|bytes| claimed(bytes))
            .find(|c| c.subject.key_use == KeyUse::Root && c.public_key.fingerprint() == root_fingerprint)
            .ok_or(TrustError::Fingerprint)?
            .public_key;
        let key_of = |wanted: KeyUse| -> Result<PublicKey, TrustError> {
            certificates
                .iter()
                .filter_map(|bytes| statement::read::<Certificate>(bytes, tenant, &root).ok())
                .map(|signed| signed.value)
                .find(|c| c.subject.kind == SubjectType::TenantKey && c.subject.key_use == wanted)
                .map(|c| c.public_key)
                .ok_or(TrustError::Missing(wanted))
        };
        key_of(KeyUse::Root)?;
        let mut holders: Vec<_> = certificates
            .iter()
            .filter_map(|bytes| statement::read::<Certificate>(bytes, tenant, &root).ok())
            .filter(|c| c.value.subject.kind == SubjectType::TenantKey)
            .filter(|c| c.value.subject.key_use == KeyUse::Recovery)
            .filter_map(|c| Some((c.value.serial, c.value.hpke_key?)))
            .collect();
        holders.sort();
        let recovery = match holders.as_slice() {
            [(_, first), (_, second)] => Some([*first, *second]),
            _ => None,
        };
        Ok(Self {
            recovery,
            tenant,
            root,
            issuer: key_of(KeyUse::Issuer)?,
            log: key_of(KeyUse::Log)?,
            statement: key_of(KeyUse::Statement)?,
        })
    }

    /// The certificate of the station with `public_key` among `certificates`, checked under the issuer.
    ///
    /// # Errors
    /// [`TrustError::Station`].
    pub fn station_certificate(
        &self,
        certificates: &[Vec<u8>],
        public_key: &PublicKey,
    ) -> Result<(StationId, Signed<Certificate>), TrustError> {
        certificates
            .iter()
            .filter_map(|bytes| statement::read::<Certificate>(bytes, self.tenant, &self.issuer).ok())
            .find(|signed| {
                let c = &signed.value;
                c.subject.kind == SubjectType::Station
                    && c.subject.key_use == KeyUse::Operation
                    && c.public_key == *public_key
            })
            .and_then(|signed| Some((signed.value.subject.id.parse().ok()?, signed)))
            .ok_or(TrustError::Station)
    }
}

/// The certificates of one station among `certificates`, each checked under the issuer, in order of serial: its
/// first key's first.
#[must_use]
pub fn of_station(trust: &Trust, certificates: &[Vec<u8>], station: StationId) -> Vec<Signed<Certificate>> {
    let mut found: Vec<_> = certificates
        .iter()
        .filter_map(|bytes| statement::read::<Certificate>(bytes, trust.tenant, &trust.issuer).ok())
        .filter(|signed| {
            let subject = &signed.value.subject;
            subject.kind == SubjectType::Station
                && subject.key_use == KeyUse::Operation
                && subject.id.parse() == Ok(station)
        })
        .collect();
    found.sort_by_key(|signed| signed.value.serial);
    found.dedup_by_key(|signed| signed.value.serial);
    found
}

/// What a certificate says, its signature not yet checked.
fn claimed(bytes: &[u8]) -> Option<Certificate> {
    let frame = crate::entry::Frame::read(bytes).ok()?;
    serde_json::from_slice(frame.json()).ok()
}
