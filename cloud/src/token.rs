//! `lotgate-cloud station token`: a single-use token that enrols one station at one site.

use crate::crypto;
use crate::database::to_system_time;
use crate::enrol::read_site;
use crate::error::Rejection;
use crate::gate::audit::Change;
use crate::gate::{Access, Passage, Work};
use lotgate_domain::ids::{Hash, SiteId};
use lotgate_domain::protocol::token::EnrolToken;
use lotgate_domain::time::Timestamp;
use serde_json::json;

/// Makes a token. The database keeps its SHA-256 alone.
#[derive(Debug, Clone, Copy)]
pub struct MakeToken {
    /// Where the station will stand.
    pub site: SiteId,
    /// Certified for training only.
    pub training: bool,
    /// How long it may be used, in milliseconds.
    pub ttl_ms: i64,
}

/// A token that was made.
#[derive(Debug, Clone)]
pub struct MadeToken {
    /// It; whoever holds it can enrol a station.
    pub token: EnrolToken,
    /// Until when.
    pub expires: Timestamp,
}

impl Work for MakeToken {
    type Reply = MadeToken;
    const ACTION: &'static str = "token.made";
    const ACCESS: Access = Access::Program;

    async fn run(self, passage: &Passage<'_>) -> Result<(MadeToken, Change), Rejection> {
        let site = read_site(passage, self.site).await?;
        let query = passage.transaction.prepare_cached("SELECT root_fingerprint FROM tenant").await?;
        let row = passage.transaction.query_opt(&query, &[]).await?;
        let row = row.ok_or(Rejection::Missing("tenant with this id"))?;
        let root_fingerprint = Hash::from_slice(row.try_get(0)?)
            .map_err(|_| crate::database::DatabaseError::Column("tenant.root_fingerprint"))?;
        let token = EnrolToken { tenant: passage.tenant, root_fingerprint, secret: crypto::random()? };
        let (sha256, expires) = (token.sha256(), passage.now.plus_ms(self.ttl_ms));
        let insert = "INSERT INTO enrolment_token
                (tenant_id, token_sha256, site_id, training, created_at, expires_at)
            VALUES ($1, $2, $3, $4, $5, $6)";
        let insert = passage.transaction.prepare_cached(insert).await?;
        passage
            .transaction
            .execute(
                &insert,
                &[
                    &passage.tenant.0,
                    &sha256.0.as_slice(),
                    &self.site.0,
                    &self.training,
                    &to_system_time(passage.now),
                    &to_system_time(expires),
                ],
            )
            .await?;
        let change = Change {
            enrolled: None,
            detail: json!({"site": site.id, "training": self.training, "expires": expires}),
            prior: None,
            next: Some(sha256),
        };
        Ok((MadeToken { token, expires }, change))
    }
}
