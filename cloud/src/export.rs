//! `lotgate-cloud export`: everything of a tenant as one directory that can be checked without this cloud
//! (PROTOCOL §9.20, `domain::export`).
//!
//! All of it is read as of one moment, and streamed: what is in memory at once does not grow with the ledger. The
//! directory is made beside its place and renamed when it is whole and its audit row is committed.

mod directory;
mod tables;

use crate::certificates;
use crate::error::Rejection;
use crate::gate::audit::Change;
use crate::gate::{self, Access, Caller, Mode, Passage, Work};
use crate::{Cloud, crypto, log};
use directory::Directory;
use lotgate_domain::canonical;
use lotgate_domain::certificate::KeyUse;
use lotgate_domain::export::{ExportKind, MANIFEST, Manifest, SEAL};
use lotgate_domain::ids::{Hash, TenantId};
use lotgate_domain::statement::event::ExportSeal;
use lotgate_domain::statement::{self, Statement as _, StatementError};
use serde::Serialize;
use serde_json::json;
use std::path::{Path, PathBuf};

/// Why there is no export. Its text begins with the code.
#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    /// Something is at the place already; nothing is ever overwritten.
    #[error("export_exists: {0} is there already")]
    Exists(PathBuf),
    /// The directory cannot be made.
    #[error("export_unwritable: {path}")]
    Unwritable {
        /// Which.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The tenant's rows cannot be read or written out.
    #[error(transparent)]
    Rejected(#[from] Rejection),
}

/// What was exported.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Exported {
    /// SHA-256 of the manifest, which names every file with its own.
    pub manifest_sha256: Hash,
    /// Leaves of the log.
    pub leaves: u64,
    /// Operations.
    pub operations: u64,
    /// Files, manifest and seal included.
    pub files: u64,
    /// Bytes of the files in the manifest.
    pub bytes: u64,
}

/// Exports a tenant to `out`, which must not be there yet.
///
/// # Errors
/// [`ExportError`]; then nothing is at `out`.
pub async fn export(cloud: &Cloud, tenant: TenantId, out: &Path) -> Result<Exported, ExportError> {
    if out.symlink_metadata().is_ok() {
        return Err(ExportError::Exists(out.to_owned()));
    }
    let caller = Caller::Program { tenant };
    // What waits for its place in the log gets it first, so that the export has it.
    log::number_waiting(cloud, tenant).await?;
    let random: [u8; 8] = crypto::random().map_err(Rejection::from)?;
    let mut name = out.file_name().unwrap_or_default().to_owned();
    name.push(format!(".{}.partial", hex::encode(random)));
    let partial = out.with_file_name(name);
    let unwritable = |source| ExportError::Unwritable { path: partial.clone(), source };
    std::fs::create_dir(&partial).map_err(unwritable)?;
    let done = gate::pass(cloud, &caller, ExportTenant { to: partial.clone() }).await;
    let moved = match done {
        Ok(exported) => directory::put_in_place(&partial, out).map_err(unwritable).map(|()| exported),
        Err(rejection) => Err(rejection.into()),
    };
    if moved.is_err() {
        // What cannot be removed is named as what it is: partial.
        drop(std::fs::remove_dir_all(&partial));
    }
    moved
}

/// Writes the tenant's rows into a directory that is there and empty.
struct ExportTenant {
    to: PathBuf,
}

impl Work for ExportTenant {
    type Reply = Exported;
    const ACTION: &'static str = "tenant.exported";
    const ACCESS: Access = Access::Program;
    const MODE: Mode = Mode::Snapshot;

    async fn run(self, passage: &Passage<'_>) -> Result<(Exported, Change), Rejection> {
        let row = passage.transaction.query_opt("SELECT root_fingerprint FROM tenant", &[]).await?;
        let row = row.ok_or(Rejection::Missing("tenant with this id"))?;
        let root_fingerprint = Hash::from_slice(row.try_get(0)?)
            .map_err(|_| crate::database::DatabaseError::Column("tenant.root_fingerprint"))?;
        let keys = certificates::tenant_key(passage, KeyUse::Statement).await?;
        let mut to = Directory::new(self.to);
        let leaves = tables::log(passage, &mut to).await?;
        let ranges = tables::entries(passage, &mut to).await?;
        tables::frames(passage, &mut to).await?;
        tables::checkpoints(passage, &mut to).await?;
        tables::feed(passage, &mut to, &keys).await?;
        tables::evidence(passage, &mut to).await?;
        let manifest = Manifest {
            v: 1,
            kind: ExportKind::Cloud,
            tenant: passage.tenant,
            station: None,
            root_fingerprint,
            files: to.files(),
            ranges,
        };
        let bytes = manifest.files.iter().fold(0_u64, |sum, file| sum.saturating_add(file.bytes));
        let operations = manifest.ranges.iter().fold(0_u64, |sum, range| {
            sum.saturating_add(range.last.saturating_sub(range.first)).saturating_add(1)
        });
        let files = u64::try_from(manifest.files.len()).unwrap_or(u64::MAX).saturating_add(2);
        let json = canonical::write(&manifest).map_err(StatementError::Canonical)?;
        let manifest_sha256 = Hash::of(&json);
        let seal = ExportSeal {
            v: 1,
            kind: ExportSeal::KIND.to_owned(),
            tenant: passage.tenant,
            key: keys.public().key_id(),
            station: None,
            manifest_sha256,
            time: passage.now,
        };
        to.write_whole(SEAL, &statement::sign(&seal, &keys)?)?;
        to.write_whole(MANIFEST, &json)?;
        let exported = Exported { manifest_sha256, leaves, operations, files, bytes };
        let change = Change::none(Some(manifest_sha256), json!(exported));
        Ok((exported, change))
    }
}
