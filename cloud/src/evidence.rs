//! `POST /v1/evidence`: bytes that no chain will hold, kept once and never applied (PROTOCOL §3).

use crate::database::to_system_time;
use crate::error::Rejection;
use crate::gate::audit::Change;
use crate::gate::{Access, Passage, Work};
use crate::request::JsonBody;
use lotgate_domain::entry::{self, MAX_FRAME};
use lotgate_domain::epoch::EpochReason;
use lotgate_domain::ids::Hash;
use lotgate_domain::protocol::care::{EvidenceReply, EvidenceRequest};
use lotgate_domain::protocol::problem::ProblemCode;
use serde_json::json;

/// Bytes of one request together: 1 MiB.
pub const MOST_BYTES: usize = 1024 * 1024;
/// Bytes of the body: they come in hexadecimal digits.
pub const MOST_BODY: usize = 2 * MOST_BYTES + 256 * 1024;

/// Keeps evidence.
#[derive(Debug)]
pub struct KeepEvidence {
    /// What the station hands over.
    pub request: JsonBody<EvidenceRequest>,
}

impl Work for KeepEvidence {
    type Reply = EvidenceReply;
    const ACTION: &'static str = "evidence.kept";
    const ACCESS: Access = Access::Station;

    async fn run(self, passage: &Passage<'_>) -> Result<(EvidenceReply, Change), Rejection> {
        let EvidenceRequest { reason, entries } = self.request.read()?;
        let reason =
            EpochReason::parse(&reason).ok_or(Rejection::BadRequest("reason is none of the closed list"))?;
        let together = entries.iter().fold(0_usize, |sum, bytes| sum.saturating_add(bytes.0.len()));
        if together > MOST_BYTES || entries.iter().any(|bytes| bytes.0.len() > MAX_FRAME) {
            return Err(ProblemCode::TooLarge.into());
        }
        if entries.iter().any(|bytes| bytes.0.is_empty()) {
            return Err(Rejection::BadRequest("evidence of no bytes"));
        }
        let station = passage.station()?.id;
        let hashes: Vec<Hash> = entries.iter().map(|bytes| entry::hash(&bytes.0)).collect();
        let insert = "INSERT INTO evidence (tenant_id, station_id, hash, code, bytes, received_at)
            SELECT $1, $2, h, $3, b, $4 FROM unnest($5::bytea[], $6::bytea[]) AS new(h, b)
            ON CONFLICT DO NOTHING";
        let insert = passage.transaction.prepare_cached(insert).await?;
        let kept: Vec<&[u8]> = hashes.iter().map(|hash| hash.0.as_slice()).collect();
        let bytes: Vec<&[u8]> = entries.iter().map(|bytes| bytes.0.as_slice()).collect();
        let new = passage
            .transaction
            .execute(
                &insert,
                &[
                    &passage.tenant.0,
                    &station.0,
                    &reason.as_str(),
                    &to_system_time(passage.now),
                    &kept,
                    &bytes,
                ],
            )
            .await?;
        // Over all hashes in order: which bytes the row is about, without naming up to thousands of them.
        let parts: Vec<&[u8]> = hashes.iter().map(|hash| hash.0.as_slice()).collect();
        let all = Hash::of_parts(&parts);
        let detail = json!({"reason": reason, "count": entries.len(), "new": new, "hash": all});
        let change = Change { enrolled: None, detail, prior: None, next: Some(all) };
        Ok((EvidenceReply { kept: u64::try_from(entries.len()).unwrap_or(u64::MAX) }, change))
    }
}
