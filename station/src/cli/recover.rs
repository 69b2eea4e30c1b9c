//! `lotgate queue recover`: the entries of a queue whose key store is gone, by the tenant's two holders; at one
//! place, or one after the other (PROTOCOL §2, REC-12).

use super::site::Site;
use super::{Exit, Failure, chain, export};
use clap::Args;
use lotgate_sync::queue::RecoveredQueue;
use lotgate_sync::secure::recovery::{self, HolderKey, RecoveryError};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// The first holder's private key: a private file of 64 hexadecimal digits.
    #[arg(long, value_name = "FILE")]
    holder1_key: Option<PathBuf>,
    /// The second holder's private key.
    #[arg(long, value_name = "FILE")]
    holder2_key: Option<PathBuf>,
    /// With the first holder's key alone: where to write what the second holder needs. With the second holder's
    /// key alone: that file.
    #[arg(long, value_name = "FILE")]
    half: Option<PathBuf>,
    /// The directory to write the entries to; it must not exist.
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// The queue file [default: the one in the data directory]; one that was set aside, for example.
    #[arg(long, value_name = "FILE")]
    queue: Option<PathBuf>,
    /// The sealed key [default: recovery.sealed in the data directory]; for a queue that was set aside because another
    /// key opens it, the recovery-*.sealed that was kept with it.
    #[arg(long, value_name = "FILE")]
    sealed: Option<PathBuf>,
    /// Print JSON.
    #[arg(long)]
    pub(super) json: bool,
}

pub(super) fn run(site: &Site, arguments: &Arguments, out: &mut impl Write) -> Result<ExitCode, Failure> {
    let Arguments { holder1_key, holder2_key, half, out: dir, queue, sealed, json } = arguments;
    let key = |file: &PathBuf| HolderKey::read(file);
    let sealed_key = || {
        let usual = || site.places.data.join(recovery::SEALED);
        read(&sealed.clone().unwrap_or_else(usual))
    };
    let recovered = match (holder1_key, holder2_key, half, dir) {
        (Some(first), None, Some(half), None) => {
            let opened = recovery::open_outer(&sealed_key()?, &key(first)?)?;
            write_private(half, &opened)?;
            writeln!(out, "{}", half.display()).map_err(|error| Failure::output(&error))?;
            return Ok(ExitCode::SUCCESS);
        }
        (None, Some(second), Some(half), Some(_)) if sealed.is_none() => {
            recovery::open_inner(&read(half)?, &key(second)?)?
        }
        (Some(first), Some(second), None, Some(_)) => {
            recovery::recover(&sealed_key()?, &key(first)?, &key(second)?)?
        }
        _ => return Err(Failure::new(Exit::Usage, "recover_arguments", "")),
    };
    let dir = dir.as_deref().unwrap_or(Path::new(""));
    let file = queue.clone().unwrap_or_else(|| site.places.queue_file());
    let report = RecoveredQueue::open(&site.places, &file, &recovered)?.export(dir)?;
    export::tell(&report, dir, *json, out)
}

fn read(file: &Path) -> Result<Vec<u8>, Failure> {
    let failed = |error: std::io::Error| {
        Failure::new(Exit::KeyStore, "recovery_missing", format!("{}: {error}", file.display()))
    };
    std::fs::read(file).map_err(failed)
}

/// Half of a secret is for its next holder alone, and never over another file.
fn write_private(file: &Path, bytes: &[u8]) -> Result<(), Failure> {
    let mut options = std::fs::OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let written = options.open(file).and_then(|mut out| {
        out.write_all(bytes)?;
        out.sync_all()
    });
    written
        .map_err(|error| Failure::new(Exit::Usage, "output_closed", format!("{}: {error}", file.display())))
}

impl From<RecoveryError> for Failure {
    fn from(error: RecoveryError) -> Self {
        Self { exit: error.exit_code(), code: error.code(), detail: chain(&error), config: None }
    }
}
