//! The tenant's keys and certificates: each certificate is a row and a leaf of the log (PROTOCOL §9.8, §9.17).

use crate::crypto::{self, SealedFor, key_use_text};
use crate::database::{DatabaseError, big, to_system_time};
use crate::error::Rejection;
use crate::gate::Passage;
use crate::store::PgStore;
use lotgate_domain::certificate::{Certificate, KeyUse, Subject, SubjectType};
use lotgate_domain::entry;
use lotgate_domain::ids::{CertificateSerial, Hash, KeyId, PublicKey};
use lotgate_domain::ledger::Store as _;
use lotgate_domain::signature::KeyPair;
use lotgate_domain::statement::{self, Statement as _};

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
}

impl Request {
    /// For one of the tenant's own keys, whose id is its key id.
    #[must_use]
    pub fn tenant_key(key_use: KeyUse, public_key: PublicKey) -> Self {
        let id = public_key.key_id().to_string();
        let subject = Subject { kind: SubjectType::TenantKey, id, key_use, site: None };
        Self { subject, public_key, hpke_key: None, training: false }
    }
}

/// Signs a certificate.
///
/// # Errors
/// [`Rejection::Statement`], [`Rejection::Seal`] without random bytes.
pub fn issue(passage: &Passage<'_>, signer: &KeyPair, request: Request) -> Result<Issued, Rejection> {
    let unix_ms = u64::try_from(passage.now.unix_ms()).unwrap_or_default();
    let certificate = Certificate {
        v: 1,
        kind: Certificate::KIND.to_owned(),
        tenant: passage.tenant,
        key: signer.public().key_id(),
        serial: CertificateSerial::from_parts(unix_ms, &crypto::random()?),
        subject: request.subject,
        public_key: request.public_key,
        hpke_key: request.hpke_key,
        training: request.training,
        roles: Vec::new(),
        not_before: passage.now,
        not_after: None,
        previous: None,
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
    let mut store = PgStore::of(passage);
    store.wait_for_tenant().await?;
    let index = store.next_index().await?;
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
    let leaf = "INSERT INTO leaf (tenant_id, index, kind, hash, certificate_serial)
                VALUES ($1, $2, 'certificate', $3, $4)";
    let leaf = passage.transaction.prepare_cached(leaf).await?;
    passage
        .transaction
        .execute(&leaf, &[&passage.tenant.0, &big(index), &issued.hash.0.as_slice(), &certificate.serial.0])
        .await?;
    Ok(())
}

/// The frames of the tenant's own certificates: root, issuer, log, statement.
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
    rows.iter().map(|row| Ok(row.try_get(0)?)).collect()
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
