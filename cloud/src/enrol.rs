//! `POST /v1/enrol`: a single-use token becomes a certified station (PROTOCOL §9.9).

use crate::certificates::{self, Request};
use crate::database::{DatabaseError, from_system_time, to_system_time};
use crate::error::Rejection;
use crate::gate::audit::Change;
use crate::gate::{Access, Passage, Work};
use crate::{crypto, head};
use lotgate_domain::certificate::KeyUse;
use lotgate_domain::ids::{Hash, PublicKey, SiteId, StationId};
use lotgate_domain::protocol::problem::ProblemCode;
use lotgate_domain::protocol::token::EnrolToken;
use lotgate_domain::protocol::{EnrolReply, EnrolRequest, HexBytes, Site};
use lotgate_domain::signature::{self, Context};
use lotgate_domain::time::Timestamp;
use serde_json::json;
use std::time::SystemTime;
use tokio_postgres::types::ToSql;
use uuid::Uuid;

/// How long the same token with the same key gives the same answer, for a reply that was lost: 24 hours.
pub const REPEAT_MS: i64 = 24 * 60 * 60 * 1000;

const LONGEST_TEXT: usize = 200;

/// Enrols a station.
#[derive(Debug)]
pub struct Enrol {
    /// What the station said.
    pub request: EnrolRequest,
    /// Its token, read.
    pub token: EnrolToken,
}

/// A token as it is stored.
struct TokenRow {
    site: SiteId,
    training: bool,
    expires: Timestamp,
    used: Option<Use>,
}

/// The one use of a token.
struct Use {
    at: Timestamp,
    key: PublicKey,
    hpke_key: PublicKey,
    station: StationId,
}

impl Work for Enrol {
    type Reply = EnrolReply;
    const ACTION: &'static str = "station.enrolled";
    const ACCESS: Access = Access::Token;

    async fn run(self, passage: &Passage<'_>) -> Result<(EnrolReply, Change), Rejection> {
        check_texts(&self.request)?;
        let sha256 = self.token.sha256();
        let token = lock_token(passage, &sha256).await?.ok_or(ProblemCode::TokenExpired)?;
        self.check_proof()?;
        match &token.used {
            None if passage.now > token.expires => Err(ProblemCode::TokenExpired.into()),
            None => self.first_time(passage, &token, &sha256).await,
            Some(used) if self.repeats(used, passage.now) => repeat(passage, &token, used).await,
            Some(_) => Err(ProblemCode::TokenUsed.into()),
        }
    }
}

impl Enrol {
    /// Without the private half of `public_key` nobody could have made it.
    fn check_proof(&self) -> Result<(), ProblemCode> {
        let EnrolRequest { token, public_key, hpke_key, proof, .. } = &self.request;
        let message = EnrolRequest::proof_message(token, public_key, hpke_key);
        signature::verify(public_key, Context::Enrol, &message, proof).map_err(|_| ProblemCode::BadSignature)
    }

    fn repeats(&self, used: &Use, now: Timestamp) -> bool {
        used.key == self.request.public_key
            && used.hpke_key == self.request.hpke_key
            && now.ms_since(used.at) <= REPEAT_MS
    }

    async fn first_time(
        self,
        passage: &Passage<'_>,
        token: &TokenRow,
        sha256: &Hash,
    ) -> Result<(EnrolReply, Change), Rejection> {
        let unix_ms = u64::try_from(passage.now.unix_ms()).unwrap_or_default();
        let station = StationId::from_parts(unix_ms, &crypto::random()?);
        let (public_key, hpke_key) = (self.request.public_key, self.request.hpke_key);
        let certify = Request::station(station, token.site, public_key, hpke_key, token.training);
        let issuer = certificates::tenant_key(passage, KeyUse::Issuer).await?;
        let issued = certificates::issue(passage, &issuer, certify)?;
        certificates::keep(passage, &issued).await?;
        self.insert_station(passage, station, token).await?;
        certificates::insert_station_key(passage, station, &issued).await?;
        self.use_token(passage, station, sha256).await?;
        let reply = reply(passage, token.site, station, issued.bytes, issued.hash).await?;
        let change = Change {
            enrolled: Some(station),
            detail: json!({
                "token_sha256": sha256,
                "site": token.site,
                "training": token.training,
                "name": self.request.station_name,
                "program": self.request.program,
                "key_protection": self.request.key_protection,
            }),
            prior: None,
            next: Some(issued.hash),
        };
        Ok((reply, change))
    }

    async fn insert_station(
        &self,
        passage: &Passage<'_>,
        station: StationId,
        token: &TokenRow,
    ) -> Result<(), DatabaseError> {
        let insert = "INSERT INTO station
                (tenant_id, station_id, site_id, name, training, program, key_protection, enrolled_at)
            VALUES ($1, $2, $3, $4, $5, $6, $7, $8)";
        let insert = passage.transaction.prepare_cached(insert).await?;
        let parameters: [&(dyn ToSql + Sync); 8] = [
            &passage.tenant.0,
            &station.0,
            &token.site.0,
            &self.request.station_name,
            &token.training,
            &self.request.program,
            &self.request.key_protection,
            &to_system_time(passage.now),
        ];
        passage.transaction.execute(&insert, &parameters).await?;
        Ok(())
    }

    async fn use_token(
        &self,
        passage: &Passage<'_>,
        station: StationId,
        sha256: &Hash,
    ) -> Result<(), DatabaseError> {
        let update = "UPDATE enrolment_token
            SET used_at = $2, used_key = $3, used_hpke_key = $4, station_id = $5 WHERE token_sha256 = $1";
        let update = passage.transaction.prepare_cached(update).await?;
        let parameters: [&(dyn ToSql + Sync); 5] = [
            &sha256.0.as_slice(),
            &to_system_time(passage.now),
            &self.request.public_key.0.as_slice(),
            &self.request.hpke_key.0.as_slice(),
            &station.0,
        ];
        passage.transaction.execute(&update, &parameters).await?;
        Ok(())
    }
}

fn check_texts(request: &EnrolRequest) -> Result<(), Rejection> {
    let EnrolRequest { station_name, program, key_protection, .. } = request;
    let usable = |text: &String| text.len() <= LONGEST_TEXT && !text.chars().any(char::is_control);
    if station_name.trim().is_empty() || ![station_name, program, key_protection].into_iter().all(usable) {
        return Err(Rejection::BadRequest("name, program or key protection is not usable"));
    }
    Ok(())
}

/// Reads the token; two enrolments with it take turns.
async fn lock_token(passage: &Passage<'_>, sha256: &Hash) -> Result<Option<TokenRow>, DatabaseError> {
    let query = "SELECT site_id, training, expires_at, used_at, used_key, used_hpke_key, station_id
        FROM enrolment_token WHERE token_sha256 = $1 FOR UPDATE";
    let query = passage.transaction.prepare_cached(query).await?;
    let row = passage.transaction.query_opt(&query, &[&sha256.0.as_slice()]).await?;
    let Some(row) = row else { return Ok(None) };
    let key = |column: &'static str| -> Result<PublicKey, DatabaseError> {
        PublicKey::from_slice(row.try_get(column)?).map_err(|_| DatabaseError::Column(column))
    };
    let used = match row.try_get::<_, Option<SystemTime>>("used_at")? {
        None => None,
        Some(at) => Some(Use {
            at: from_system_time(at),
            key: key("used_key")?,
            hpke_key: key("used_hpke_key")?,
            station: StationId(row.try_get::<_, Uuid>("station_id")?),
        }),
    };
    Ok(Some(TokenRow {
        site: SiteId(row.try_get("site_id")?),
        training: row.try_get("training")?,
        expires: from_system_time(row.try_get("expires_at")?),
        used,
    }))
}

/// The answer again, from what was stored: the first reply was lost.
async fn repeat(
    passage: &Passage<'_>,
    token: &TokenRow,
    used: &Use,
) -> Result<(EnrolReply, Change), Rejection> {
    let query = "SELECT c.bytes, c.hash, EXISTS (SELECT 1 FROM station_closing e
            WHERE e.tenant_id = k.tenant_id AND e.station_id = k.station_id) AS closed
        FROM station_key k
        JOIN certificate c ON c.tenant_id = k.tenant_id AND c.serial = k.certificate_serial
        WHERE k.station_id = $1 AND k.number = 1";
    let query = passage.transaction.prepare_cached(query).await?;
    let row = passage.transaction.query_opt(&query, &[&used.station.0]).await?;
    let row = row.ok_or(Rejection::Missing("station of this token"))?;
    if row.try_get("closed")? {
        return Err(ProblemCode::Revoked.into());
    }
    let hash =
        Hash::from_slice(row.try_get("hash")?).map_err(|_| DatabaseError::Column("certificate.hash"))?;
    let reply = reply(passage, token.site, used.station, row.try_get("bytes")?, hash).await?;
    let change = Change {
        enrolled: Some(used.station),
        detail: json!({"repeated": true}),
        prior: Some(hash),
        next: Some(hash),
    };
    Ok((reply, change))
}

async fn reply(
    passage: &Passage<'_>,
    site: SiteId,
    station: StationId,
    certificate: Vec<u8>,
    certificate_hash: Hash,
) -> Result<EnrolReply, Rejection> {
    let mut certificates = certificates::tenant_certificates(passage).await?;
    certificates.push(certificate);
    Ok(EnrolReply {
        certificates: certificates.into_iter().map(HexBytes).collect(),
        site: read_site(passage, site).await?,
        head: head::reply(passage, station, certificate_hash).await?,
    })
}

/// A site of the tenant.
///
/// # Errors
/// [`Rejection::Missing`], the database's.
pub async fn read_site(passage: &Passage<'_>, id: SiteId) -> Result<Site, Rejection> {
    let query = "SELECT name, zone FROM site WHERE site_id = $1";
    let query = passage.transaction.prepare_cached(query).await?;
    let row = passage.transaction.query_opt(&query, &[&id.0]).await?;
    let row = row.ok_or(Rejection::Missing("site with this id in this tenant"))?;
    Ok(Site { id, name: row.try_get("name")?, zone: row.try_get("zone")? })
}
