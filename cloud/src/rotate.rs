//! `POST /v1/rotate`: a new key for a station, certified on the word of its present one (CLD-3).
//!
//! The same keys asked for again give the same answer, whether the repeated request is signed with the key before
//! (the reply was lost) or with the new one, and whether the station was retired or revoked since: without the
//! certificate it could not even push what it has left. What the former keys signed stays valid; requests of theirs do
//! not.

use crate::certificates::{self, Request};
use crate::error::Rejection;
use crate::gate::audit::Change;
use crate::gate::{Access, Passage, Work};
use crate::log;
use crate::request::JsonBody;
use crate::stations;
use crate::store::PgStore;
use lotgate_domain::certificate::{Certificate, KeyUse};
use lotgate_domain::ids::{CertificateSerial, PublicKey, StationId};
use lotgate_domain::ledger::Station;
use lotgate_domain::ledger::number::Single;
use lotgate_domain::protocol::HexBytes;
use lotgate_domain::protocol::care::{RotateReply, RotateRequest};
use lotgate_domain::protocol::problem::ProblemCode;
use lotgate_domain::signature::{self, Context, KeyPair};
use lotgate_domain::statement::event::KeyRotated;
use lotgate_domain::statement::{self, Statement as _};
use serde_json::json;

/// Why a station may ask for a new key.
const REASONS: [&str; 2] = ["planned", "forked"];

/// Certifies a new key for the station that asks.
#[derive(Debug)]
pub struct Rotate {
    /// What it asks.
    pub request: JsonBody<RotateRequest>,
}

impl Work for Rotate {
    type Reply = RotateReply;
    const ACTION: &'static str = "station.rotated";
    const ACCESS: Access = Access::Station;
    const FORMER_KEY: bool = true;

    async fn run(self, passage: &Passage<'_>) -> Result<(RotateReply, Change), Rejection> {
        let request = self.request.read()?;
        if !REASONS.contains(&request.reason.as_str()) {
            return Err(Rejection::BadRequest("reason is none of planned, forked"));
        }
        let id = passage.station()?.id;
        PgStore::of(passage).wait_for_station(id).await?;
        // Two requests for a new key may have been let in at once; the turn decides which one was first.
        let station = stations::read(passage.transaction, passage.tenant, id).await?;
        let station = station.ok_or(ProblemCode::UnknownKey)?;
        let change = if station.key == request.public_key {
            repeat(passage, &station, &request).await?
        } else if station.closed.is_some() {
            return Err(ProblemCode::Revoked.into());
        } else {
            first_time(passage, &station, &request).await?
        };
        let mut certificates = certificates::tenant_certificates(passage).await?;
        certificates.extend(certificates::station_certificates(passage, id).await?);
        Ok((RotateReply { certificates: certificates.into_iter().map(HexBytes).collect() }, change))
    }
}

/// Without the private half of the new key nobody could have made it.
fn check_proof(request: &RotateRequest, present: &PublicKey) -> Result<(), ProblemCode> {
    let RotateRequest { public_key, hpke_key, proof, .. } = request;
    let message = RotateRequest::proof_message(present, public_key, hpke_key);
    signature::verify(public_key, Context::Enrol, &message, proof).map_err(|_| ProblemCode::BadSignature)
}

/// Changes nothing, so it is not refused to a station that is closed by now.
async fn repeat(
    passage: &Passage<'_>,
    station: &Station,
    request: &RotateRequest,
) -> Result<Change, Rejection> {
    let before = station.former.first().ok_or(Rejection::BadRequest("that is the station's key"))?;
    check_proof(request, &before.key)?;
    if present(passage, station).await?.1 != request.hpke_key {
        return Err(Rejection::BadRequest("the key was certified with another X25519 key"));
    }
    Ok(Change::none(Some(station.certificate), json!({"repeated": true})))
}

async fn first_time(
    passage: &Passage<'_>,
    station: &Station,
    request: &RotateRequest,
) -> Result<Change, Rejection> {
    if passage.signed_by().is_some_and(|key| key != station.key) {
        return Err(ProblemCode::UnknownKey.into());
    }
    if station.former.iter().any(|former| former.key == request.public_key) {
        return Err(Rejection::BadRequest("the station had this key before"));
    }
    check_proof(request, &station.key)?;
    let (previous, _) = present(passage, station).await?;
    let RotateRequest { public_key, hpke_key, reason, .. } = request;
    let certify = Request::station(station.id, station.site, *public_key, *hpke_key, station.training);
    let certify = Request { previous: Some(previous), after: Some(previous), ..certify };
    let issuer = certificates::tenant_key(passage, KeyUse::Issuer).await?;
    let issued = certificates::issue(passage, &issuer, certify)?;
    certificates::insert(passage, &issued).await?;
    certificates::insert_station_key(passage, station.id, &issued).await?;
    let statement_key = certificates::tenant_key(passage, KeyUse::Statement).await?;
    let rotated = rotated(&statement_key, station.id, previous, &issued.certificate)?;
    log::append(passage, vec![issued.leaf(), rotated]).await?;
    Ok(Change {
        enrolled: None,
        detail: json!({"previous": previous, "certificate": issued.certificate.serial, "reason": reason}),
        prior: Some(station.certificate),
        next: Some(issued.hash),
    })
}

/// The leaf after that of a certificate that replaces `previous`.
///
/// # Errors
/// [`Rejection::Statement`].
pub fn rotated(
    keys: &KeyPair,
    station: StationId,
    previous: CertificateSerial,
    certificate: &Certificate,
) -> Result<Single, Rejection> {
    let statement = KeyRotated {
        v: 1,
        kind: KeyRotated::KIND.to_owned(),
        tenant: certificate.tenant,
        key: keys.public().key_id(),
        previous,
        certificate: certificate.serial,
        time: certificate.issued_at,
    };
    let bytes = statement::sign(&statement, keys)?;
    Ok(Single::Statement { kind: KeyRotated::KIND, station: Some(station), bytes })
}

/// Serial and X25519 key of the station's present certificate.
async fn present(
    passage: &Passage<'_>,
    station: &Station,
) -> Result<(CertificateSerial, PublicKey), Rejection> {
    let query =
        "SELECT certificate_serial, hpke_key FROM station_key WHERE station_id = $1 AND public_key = $2";
    let query = passage.transaction.prepare_cached(query).await?;
    let row = passage.transaction.query_one(&query, &[&station.id.0, &station.key.0.as_slice()]).await?;
    let hpke_key = PublicKey::from_slice(row.try_get("hpke_key")?)
        .map_err(|_| crate::database::DatabaseError::Column("station_key.hpke_key"))?;
    Ok((CertificateSerial(row.try_get("certificate_serial")?), hpke_key))
}
