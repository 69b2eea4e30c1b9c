//! How the station is looked after: heartbeat, evidence, a new key (PROTOCOL §3, §5).

use super::StationReport;
use super::desk::{Desk, contradiction, failed, lock, unreadable, unwritable};
use crate::engine::failure::{Failure, InconsistencyCode, QueueCode};
use crate::engine::{Reach, Reply, RotateReason};
use crate::queue::{AppendError, QueueAlarm, QueueError};
use lotgate_domain::ids::Epoch;
use lotgate_domain::operation::body::ChainPoint;
use lotgate_domain::protocol::care::{EvidenceRequest, Heartbeat, RotateRequest};
use lotgate_domain::protocol::{CloudApi, HexBytes, StopCode};
use lotgate_domain::signature::Context;
use serde_json::json;
use std::collections::BTreeSet;
use std::fmt::Display;

/// The most evidence in one request, in bytes: it travels in hex.
const EVIDENCE_BYTES: u64 = 512 * 1024;

/// What heartbeats say besides what the queue knows.
#[derive(Debug, Default)]
pub(super) struct Care {
    pub(super) report: StationReport,
    /// The engine's alarms.
    pub(super) alarms: BTreeSet<&'static str>,
}

impl<C> Desk<C>
where
    C: CloudApi + Reach + Send + Sync,
    C::Error: Into<Failure> + Display + Send,
{
    /// Everything that needs a person: what the station reports, what the queue knows, what the engine found.
    #[must_use]
    pub fn alarms(&self) -> BTreeSet<String> {
        let care = lock(&self.care);
        let mut alarms = care.report.alarms.clone();
        alarms.extend(care.alarms.iter().map(|code| (*code).to_owned()));
        alarms.extend(
            self.queue.state().borrow().alarms.iter().copied().map(|a| QueueAlarm::as_str(a).to_owned()),
        );
        alarms
    }

    /// Notes the engine's alarms ([`crate::engine::Engine::alarms`]) for the next heartbeats.
    pub fn note_alarms(&self, alarms: BTreeSet<&'static str>) {
        lock(&self.care).alarms = alarms;
    }

    pub(super) async fn heartbeat(&self) -> Result<Reply, Failure> {
        self.queue.write_anchor().await;
        let StationReport { devices, disk_free, .. } = lock(&self.care).report.clone();
        let (state, reading) = (self.queue.state().borrow().clone(), self.queue.clock());
        let head = state.head.epoch.map(|epoch| {
            let (seq, hash) = (state.head.seq, state.head.hash);
            ChainPoint { epoch, seq, hash }
        });
        let heartbeat = Heartbeat {
            head,
            depth: state.queued,
            oldest: state.oldest_wall,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            wall: reading.wall,
            clock_offset_ms: state.clock.trusted_now(&reading).map(|now| reading.wall.ms_since(now)),
            key_protection: self.queue.identity().key_protection.as_str().to_owned(),
            devices,
            disk_free: disk_free.or(state.capacity.disk_free),
            alarms: self.alarms().into_iter().collect(),
            log: state.log.seen(),
        };
        let reply = self.cloud.heartbeat(heartbeat).await.map_err(|error| failed("heartbeat", error))?;
        Ok(Reply::Heard { limits: reply.limits, revoked: reply.revoked })
    }

    pub(super) async fn send_evidence(&self) -> Result<Reply, Failure> {
        let batch = self.queue.evidence(EVIDENCE_BYTES).await.map_err(unreadable)?;
        let Some(batch) = batch else { return Ok(Reply::Evidence { more: false }) };
        let sent = batch.entries.len();
        let entries = batch.entries.into_iter().map(HexBytes).collect();
        let request = EvidenceRequest { reason: batch.reason, entries };
        let reply = self.cloud.evidence(request).await.map_err(|error| failed("evidence", error))?;
        if u64::try_from(sent).is_ok_and(|sent| reply.kept < sent) {
            let code = InconsistencyCode::EvidenceNotKept;
            self.contradicted(contradiction(code, &json!(reply), &json!({ "sent": sent }))).await;
            return Err(code.into());
        }
        self.queue.evidence_kept(batch.token).await.map_err(unwritable)?;
        tracing::warn!(entries = sent, "evidence.kept");
        Ok(Reply::Evidence { more: true })
    }

    pub(super) async fn rotate(&self, reason: RotateReason) -> Result<Reply, Failure> {
        let present = self.queue.station_keys().public();
        let next = self.queue.next_keys().await.map_err(unwritable)?;
        let (public_key, hpke_key) = (next.public(), next.hpke_public());
        let message = RotateRequest::proof_message(&present, &public_key, &hpke_key);
        let proof = next.signing.sign(Context::Enrol, &message);
        let request = RotateRequest { public_key, hpke_key, reason: reason.as_str().to_owned(), proof };
        let reply = self.cloud.rotate(request).await.map_err(|error| failed("rotate", error))?;
        let certificates: Vec<Vec<u8>> = reply.certificates.into_iter().map(|bytes| bytes.0).collect();
        let told = json!({ "certificates": certificates.iter().map(hex::encode).collect::<Vec<_>>() });
        match self.queue.adopt_keys(certificates, reason.epoch()).await {
            Ok(opened) => {
                tracing::warn!(reason = reason.as_str(), epoch = opened.epoch.n, "key.rotated");
                self.cloud.use_keys(&self.queue.station_keys());
                Ok(Reply::Rotated)
            }
            Err(AppendError::Certificate(error)) => {
                let (code, ours) =
                    (InconsistencyCode::CertificatesInvalid, json!({ "public_key": public_key }));
                tracing::error!(%error, "key.not_certified");
                self.contradicted(contradiction(code, &told, &ours)).await;
                Err(code.into())
            }
            Err(error) => {
                tracing::error!(%error, "key.not_adopted");
                Err(QueueCode::QueueUnwritable.into())
            }
        }
    }

    pub(super) async fn set_aside(&self, epoch: Epoch, after: u64, code: StopCode) -> Result<Reply, Failure> {
        let stopped = match code {
            StopCode::BadSignature => "bad_signature",
            StopCode::BrokenChain => "broken_chain",
        };
        match self.queue.set_aside_after(epoch, after, stopped).await {
            Ok(()) => {
                tracing::error!(epoch = epoch.n, after, code = stopped, "queue.tail_set_aside");
                Ok(Reply::SetAside)
            }
            Err(QueueError::AlreadySettled { .. }) => {
                let told =
                    json!({ "epoch": epoch, "stopped": { "seq": after.saturating_add(1), "code": stopped } });
                let ours = json!({ "settled_through": self.queue.state().borrow().settled_through });
                let code = InconsistencyCode::AcceptedUnknown;
                self.contradicted(contradiction(code, &told, &ours)).await;
                Err(code.into())
            }
            Err(error) => Err(unwritable(error)),
        }
    }
}
