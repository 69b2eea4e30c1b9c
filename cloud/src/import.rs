//! `lotgate-cloud queue import`: what a courier brought of a station's queue, pushed by the very path of a push of
//! the station itself (PROTOCOL §3, the carrier does not matter; REC-13).
//!
//! The files are first compared with the manifest, and a queue's manifest with the seal of its station. The entries
//! need no such trust: each is checked like any that is pushed.

mod batches;
mod files;

use crate::Cloud;
use crate::database::{big, count};
use crate::error::Rejection;
use crate::gate::audit::Change;
use crate::gate::{self, Access, Caller, Mode, Passage, Work};
use crate::push::{self, Push};
use crate::stations;
use batches::{Batch, Batches};
use lotgate_domain::export::{ExportKind, Range};
use lotgate_domain::ids::{Hash, StationId, TenantId};
use lotgate_domain::ledger::Station;
use lotgate_domain::protocol::problem::ProblemCode;
use lotgate_domain::protocol::push::{PushClock, PushHeader, PushRequest};
use lotgate_domain::protocol::{After, PushReply, Stopped};
use serde::Serialize;
use serde_json::json;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Why nothing, or nothing more, was imported. Its text begins with the code.
#[derive(Debug, thiserror::Error)]
pub enum ImportError {
    /// A file cannot be read.
    #[error("export_unreadable: {path}")]
    Unreadable {
        /// Which.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The manifest is not as specified.
    #[error("export_invalid: {0}")]
    Invalid(&'static str),
    /// The export of another tenant.
    #[error("export_foreign: the export is of tenant {0}")]
    Foreign(TenantId),
    /// An export of a cloud: it holds what a cloud had already.
    #[error("export_not_of_a_queue: only an export of a queue can be imported")]
    NotOfAQueue,
    /// A file is not as the manifest says.
    #[error("export_damaged: {0} is not as the manifest says; bring the export again")]
    Damaged(String),
    /// The station's seal is missing or does not hold.
    #[error("export_unsealed: the manifest is not sealed by the station")]
    Unsealed,
    /// The cloud said no.
    #[error(transparent)]
    Rejected(#[from] Rejection),
}

/// What an import gave.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Imported {
    /// SHA-256 of the manifest.
    pub manifest_sha256: Hash,
    /// Whose queue.
    pub station: StationId,
    /// Entries that the cloud did not have.
    pub new: u64,
    /// Entries that it had.
    pub known: u64,
    /// Entries that it could not take; they lie in the export alone.
    pub left: u64,
    /// Each stretch of the export.
    pub ranges: Vec<ImportedRange>,
}

/// What became of one stretch.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ImportedRange {
    /// Number of the epoch.
    pub epoch: u64,
    /// First seq.
    pub first: u64,
    /// Last seq.
    pub last: u64,
    /// Entries that the cloud did not have.
    pub new: u64,
    /// Entries that it had.
    pub known: u64,
    /// Which branch of a forked chain they are on.
    pub branch: u64,
    /// The entry that cannot be taken, and why.
    pub stopped: Option<Stopped>,
    /// Why the cloud took none of the rest: `head_mismatch` where entries before it are missing.
    pub rejected: Option<ProblemCode>,
}

impl Imported {
    /// Whether the cloud holds all of it now.
    #[must_use]
    pub const fn is_whole(&self) -> bool {
        self.left == 0
    }
}

/// Imports an export of a queue.
///
/// # Errors
/// [`ImportError`]. What was pushed before stays: an import may be repeated at any time.
pub async fn import(cloud: &Cloud, tenant: TenantId, directory: &Path) -> Result<Imported, ImportError> {
    let (manifest, manifest_sha256) = files::manifest(directory)?;
    if manifest.tenant != tenant {
        return Err(ImportError::Foreign(manifest.tenant));
    }
    if manifest.kind == ExportKind::Cloud {
        return Err(ImportError::NotOfAQueue);
    }
    let station = manifest.station.ok_or(ImportError::Invalid("it names no station"))?;
    if manifest.ranges.iter().any(|range| range.station != station || range.branch != 0) {
        return Err(ImportError::Invalid("a queue has entries of its own station and branch alone"));
    }
    files::check(directory, &manifest)?;
    let program = Caller::Program { tenant };
    let begin = BeginImport { station, manifest: manifest_sha256 };
    let known = gate::pass(cloud, &program, begin).await?;
    if manifest.kind == ExportKind::Queue {
        files::check_seal(directory, manifest_sha256, &known)?;
    }
    let mut imported = Imported { manifest_sha256, station, new: 0, known: 0, left: 0, ranges: Vec::new() };
    let courier = Courier { cloud, tenant, station };
    for range in &manifest.ranges {
        let done = courier.bring(Batches::open(directory, &manifest, range)?, range).await?;
        let whole = range.last.saturating_sub(range.first).saturating_add(1);
        imported.new = imported.new.saturating_add(done.new);
        imported.known = imported.known.saturating_add(done.known);
        let left = whole.saturating_sub(done.new).saturating_sub(done.known);
        imported.left = imported.left.saturating_add(left);
        imported.ranges.push(done);
    }
    Ok(imported)
}

/// How often a batch that finds the cloud busy is brought again.
const PATIENCE: u32 = 30;
/// How long to wait in between.
const PAUSE: Duration = Duration::from_secs(1);

struct Courier<'a> {
    cloud: &'a Cloud,
    tenant: TenantId,
    station: StationId,
}

impl Courier<'_> {
    /// Pushes a stretch, batch after batch, until it ends or an entry cannot be taken.
    async fn bring(&self, mut batches: Batches<'_>, range: &Range) -> Result<ImportedRange, ImportError> {
        let mut done = ImportedRange {
            epoch: range.epoch,
            first: range.first,
            last: range.last,
            new: 0,
            known: 0,
            branch: 0,
            stopped: None,
            rejected: None,
        };
        while let Some(batch) = batches.next()? {
            let known = self.held(range.epoch, &batch).await?;
            let reply = match self.push(&batch).await {
                Ok(reply) => reply,
                Err(rejection @ Rejection::HeadMismatch(_)) => {
                    done.rejected = Some(rejection.problem().code);
                    break;
                }
                Err(rejection) => return Err(rejection.into()),
            };
            let held = self.held(range.epoch, &batch).await?;
            done.known = done.known.saturating_add(known);
            done.new = done.new.saturating_add(held.saturating_sub(known));
            done.branch = reply.branch;
            done.stopped = reply.stopped;
            if reply.stopped.is_some() {
                break;
            }
        }
        done.stopped = done.stopped.or(batches.unreadable());
        Ok(done)
    }

    async fn push(&self, batch: &Batch) -> Result<PushReply, Rejection> {
        let caller = Caller::Courier { tenant: self.tenant, station: self.station };
        let header = PushHeader {
            v: 1,
            epoch: batch.epoch,
            after: After { seq: batch.first.saturating_sub(1), hash: batch.prev },
            count: u64::try_from(batch.hashes.len()).unwrap_or(u64::MAX),
            // Nobody knows what the station's clock says now; weeks on the way are no skew.
            clock: PushClock { wall: self.cloud.now(), mono_ms: 0, boot: batch.boot },
            log: None,
        };
        let mut tries = 0;
        loop {
            let request = PushRequest { header: header.clone(), entries: batch.entries.clone() };
            match Box::pin(push::push(self.cloud, &caller, Push::Read(request))).await {
                Err(rejection) if rejection.problem().code == ProblemCode::Busy && tries < PATIENCE => {
                    tries += 1;
                    tokio::time::sleep(PAUSE).await;
                }
                answered => return answered,
            }
        }
    }

    async fn held(&self, epoch: u64, batch: &Batch) -> Result<u64, Rejection> {
        let caller = Caller::Program { tenant: self.tenant };
        let (station, first) = (self.station, batch.first);
        let work = CountHeld { station, epoch, first, hashes: batch.hashes.clone() };
        gate::pass(self.cloud, &caller, work).await
    }
}

/// Says that an import begins, and of which station.
struct BeginImport {
    station: StationId,
    manifest: Hash,
}

impl Work for BeginImport {
    type Reply = Station;
    const ACTION: &'static str = "queue.import_begun";
    const ACCESS: Access = Access::Program;

    async fn run(self, passage: &Passage<'_>) -> Result<(Station, Change), Rejection> {
        let station = stations::read(passage.transaction, passage.tenant, self.station).await?;
        let station = station.ok_or(Rejection::Missing("station with this id in this tenant"))?;
        let detail = json!({"station": self.station, "manifest_sha256": self.manifest});
        Ok((station, Change::none(Some(self.manifest), detail)))
    }
}

/// How many of these entries are held, on whatever branch.
struct CountHeld {
    station: StationId,
    epoch: u64,
    first: u64,
    hashes: Vec<Hash>,
}

impl Work for CountHeld {
    type Reply = u64;
    const ACTION: &'static str = "entries.counted";
    const ACCESS: Access = Access::Program;
    const MODE: Mode = Mode::Show;

    async fn run(self, passage: &Passage<'_>) -> Result<(u64, Change), Rejection> {
        let query = "SELECT count(DISTINCT e.hash) FROM entry e
            JOIN unnest($4::bytea[]) WITH ORDINALITY AS brought(hash, place)
                ON e.seq = $3 + brought.place - 1 AND e.hash = brought.hash
            WHERE e.station_id = $1 AND e.epoch_n = $2 AND e.seq BETWEEN $3 AND $3 + cardinality($4::bytea[]) - 1";
        let query = passage.transaction.prepare_cached(query).await?;
        let hashes: Vec<&[u8]> = self.hashes.iter().map(|hash| hash.0.as_slice()).collect();
        let row = passage
            .transaction
            .query_one(&query, &[&self.station.0, &big(self.epoch), &big(self.first), &hashes])
            .await?;
        Ok((count(row.try_get(0)?, "count")?, Change::default()))
    }
}
