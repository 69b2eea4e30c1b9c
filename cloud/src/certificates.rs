//! The tenant's keys and certificates: each certificate is a row and a leaf of the log (PROTOCOL §9.8, §9.17).

use crate::crypto::{self, SealError, SealedFor, key_use_text};
use crate::database::{DatabaseError, to_system_time};
use crate::error::Rejection;
use crate::gate::Passage;
use crate::log;
use lotgate_domain::certificate::{Certificate, KeyUse, Subject, SubjectType};
use lotgate_domain::entry;
use lotgate_domain::ids::{CertificateSerial, Hash, KeyId, PublicKey, SiteId, StationId};
use lotgate_domain::ledger::number::Single;
use lotgate_domain::signature::KeyPair;
use lotgate_domain::statement::{self, Statement as _};
use lotgate_domain::time::Timestamp;

/// A certificate with its frame.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Issued {
    /// What it says.
    pub certificate: Certificate,
    /// Its leaf hash.
    pub hash: Hash,
    /// Its frame.
    pub bytes: Vec<u8>,
}

impl Issued {
    /// Its leaf of the log.
    #[must_use]
    pub fn leaf(&self) -> Single {
        Single::Certificate { serial: self.certificate.serial, hash: self.hash }
    }
}

/// Whom to certify.
#[derive(Debug, Clone)]
pub struct Request {
    /// Who.
    pub subject: Subject,
    /// Its Ed25519 key.
    pub public_key: PublicKey,
    /// Its X25519 key.
    pub hpke_key: Option<PublicKey>,
    /// For training only.
    pub training: bool,
    /// The certificate that this one replaces.
    pub previous: Option<CertificateSerial>,
    /// A serial that the new one is higher than, whatever the clock says: order of serial is order of issue.
    pub after: Option<CertificateSerial>,
}

impl Request {
    /// For one of the tenant's own keys, whose id is its key id.
    #[must_use]
    pub fn tenant_key(key_use: KeyUse, public_key: PublicKey) -> Self {
        let id = public_key.key_id().to_string();
        let subject = Subject { kind: SubjectType::TenantKey, id, key_use, site: None };
        Self { subject, public_key, hpke_key: None, training: false, previous: None, after: None }
    }

    /// For the X25519 key of a holder who opens lost queues; `after` is the serial of the holder before
    /// (PROTOCOL §9.21).
    #[must_use]
    pub fn recovery_key(key: PublicKey, after: Option<CertificateSerial>) -> Self {
        Self { hpke_key: Some(key), after, ..Self::tenant_key(KeyUse::Recovery, key) }
    }

    /// For a station's keys.
    #[must_use]
    pub fn station(
        station: StationId,
        site: SiteId,
        public_key: PublicKey,
        hpke_key: PublicKey,
        training: bool,
    ) -> Self {
        let subject = Subject {
            kind: SubjectType::Station,
            id: station.to_string(),
            key_use: KeyUse::Operation,
            site: Some(site),
        };
        Self { subject, public_key, hpke_key: Some(hpke_key), training, previous: None, after: None }
    }
}

/// A serial of now, or of the millisecond after that of `after` where the clock is not past it.
fn serial(now: Timestamp, after: Option<CertificateSerial>) -> Result<CertificateSerial, SealError> {
    let now = u64::try_from(now.unix_ms()).unwrap_or_default();
    // A UUIDv7 begins with its 48 bits of milliseconds.
    let after = after.and_then(|after| u64::try_from(after.0.as_u128() >> 80).ok());
    let least = after.map_or(0, |ms| ms.saturating_add(1));
    Ok(CertificateSerial::from_parts(now.max(least), &crypto::random()?))
}

/// Signs a certificate.
///
/// # Errors
/// [`Rejection::Statement`], [`Rejection::Seal`] without random bytes.
pub fn issue(passage: &Passage<'_>, signer: &KeyPair, request: Request) -> Result<Issued, Rejection> {
    let certificate = Certificate {
        v: 1,
        kind: Certificate::KIND.to_owned(),
        tenant: passage.tenant,
        key: signer.public().key_id(),
        serial: serial(passage.now, request.after)?,
        subject: request.subject,
        public_key: request.public_key,
        hpke_key: request.hpke_key,
        training: request.training,
        roles: Vec::new(),
        not_before: passage.now,
        not_after: None,
        previous: request.previous,
        issued_at: passage.now,
    };
    let bytes = statement::sign(&certificate, signer)?;
    Ok(Issued { certificate, hash: entry::hash(&bytes), bytes })
}

/// Keeps a certificate as a row and as the next leaf of the log; waits for the tenant's turn.
///
/// # Errors
/// The database's.
pub async fn keep(passage: &Passage<'_>, issued: &Issued) -> Result<(), Rejection> {
    insert(passage, issued).await?;
    log::append(passage, vec![issued.leaf()]).await?;
    Ok(())
}

/// Keeps a certificate as a row; its leaf ([`Issued::leaf`]) is the caller's to append in the same passage.
///
/// # Errors
/// The database's.
pub async fn insert(passage: &Passage<'_>, issued: &Issued) -> Result<(), Rejection> {
    let certificate = &issued.certificate;
    let insert = passage
        .transaction
        .prepare_cached(
            "INSERT INTO certificate
                 (tenant_id, serial, subject_type, subject_id, key_use, hash, bytes, issued_at)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8)",
        )
        .await?;
    let subject_type = match certificate.subject.kind {
        SubjectType::TenantKey => "tenant_key",
        SubjectType::Station => "station",
        SubjectType::Person => "person",
    };
    let parameters: [&(dyn tokio_postgres::types::ToSql + Sync); 8] = [
        &passage.tenant.0,
        &certificate.serial.0,
        &subject_type,
        &certificate.subject.id,
        &key_use_text(certificate.subject.key_use),
        &issued.hash.0.as_slice(),
        &issued.bytes,
        &to_system_time(certificate.issued_at),
    ];
    passage.transaction.execute(&insert, &parameters).await?;
    Ok(())
}

/// Keeps a station's key as its present one, the number after that of its last.
///
/// # Errors
/// The database's.
pub async fn insert_station_key(
    passage: &Passage<'_>,
    station: StationId,
    issued: &Issued,
) -> Result<(), Rejection> {
    let certificate = &issued.certificate;
    let hpke_key = certificate.hpke_key.ok_or(Rejection::Missing("X25519 key of the station"))?;
    let insert = "INSERT INTO station_key (tenant_id, station_id, number, public_key, hpke_key,
            certificate_serial, certificate_hash, certified_at)
        SELECT $1, $2, coalesce((SELECT max(number) FROM station_key WHERE station_id = $2), 0) + 1,
            $3, $4, $5, $6, $7";
    let insert = passage.transaction.prepare_cached(insert).await?;
    let parameters: [&(dyn tokio_postgres::types::ToSql + Sync); 7] = [
        &passage.tenant.0,
        &station.0,
        &certificate.public_key.0.as_slice(),
        &hpke_key.0.as_slice(),
        &certificate.serial.0,
        &issued.hash.0.as_slice(),
        &to_system_time(certificate.issued_at),
    ];
    passage.transaction.execute(&insert, &parameters).await?;
    Ok(())
}

/// The frames of a station's certificates, in order of its keys.
///
/// # Errors
/// The database's.
pub async fn station_certificates(
    passage: &Passage<'_>,
    station: StationId,
) -> Result<Vec<Vec<u8>>, Rejection> {
    let query = "SELECT c.bytes FROM station_key k
        JOIN certificate c ON c.tenant_id = k.tenant_id AND c.serial = k.certificate_serial
        WHERE k.station_id = $1 ORDER BY k.number";
    let query = passage.transaction.prepare_cached(query).await?;
    let rows = passage.transaction.query(&query, &[&station.0]).await?;
    rows.iter().map(|row| Ok(row.try_get(0)?)).collect()
}

/// The frames of the tenant's own certificates: root, issuer, log, statement, and those of the two holders of the
/// recovery keys, where it has them.
///
/// # Errors
/// [`Rejection::Missing`], the database's.
pub async fn tenant_certificates(passage: &Passage<'_>) -> Result<Vec<Vec<u8>>, Rejection> {
    let query = "SELECT c.bytes FROM tenant_key k
        JOIN certificate c ON c.tenant_id = k.tenant_id AND c.serial = k.certificate_serial
        ORDER BY array_position(ARRAY['root', 'issuer', 'log', 'statement'], k.key_use)";
    let query = passage.transaction.prepare_cached(query).await?;
    let rows = passage.transaction.query(&query, &[]).await?;
    if rows.len() != 4 {
        return Err(Rejection::Missing("certificate for each of the tenant's keys"));
    }
    let recovery = "SELECT bytes FROM certificate
        WHERE subject_type = 'tenant_key' AND key_use = 'recovery' ORDER BY serial";
    let recovery = passage.transaction.prepare_cached(recovery).await?;
    let recovery = passage.transaction.query(&recovery, &[]).await?;
    rows.iter().chain(&recovery).map(|row| Ok(row.try_get(0)?)).collect()
}

/// Opens one of the tenant's private keys.
///
/// # Errors
/// [`Rejection::Missing`], [`Rejection::Seal`], the database's.
pub async fn tenant_key(passage: &Passage<'_>, key_use: KeyUse) -> Result<KeyPair, Rejection> {
    let query = "SELECT key_id, sealed_seed FROM tenant_key WHERE key_use = $1 AND sealed_seed IS NOT NULL";
    let query = passage.transaction.prepare_cached(query).await?;
    let row = passage.transaction.query_opt(&query, &[&key_use_text(key_use)]).await?;
    let row = row.ok_or(Rejection::Missing("private key for this use"))?;
    let key =
        KeyId::from_slice(row.try_get("key_id")?).map_err(|_| DatabaseError::Column("tenant_key.key_id"))?;
    let sealed_for = SealedFor { tenant: passage.tenant, key_use, key };
    Ok(passage.cloud.master.open(sealed_for, row.try_get("sealed_seed")?)?)
}
