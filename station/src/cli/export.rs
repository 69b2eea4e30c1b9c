//! `lotgate queue export DIR`: everything that the queue holds as files that a courier can carry, beside a
//! running agent.

use super::site::Site;
use super::{Exit, Failure, chain, print_json, system_clock, word};
use lotgate_sync::clock::Clock as _;
use lotgate_sync::queue::{ExportError, ExportReport, QueueView};
use lotgate_sync::secure::Secure;
use serde_json::json;
use std::io::Write;
use std::path::Path;
use std::process::ExitCode;

pub(super) fn run(site: &Site, dir: &Path, json: bool, out: &mut impl Write) -> Result<ExitCode, Failure> {
    let secure = Secure::view(site.places.clone())?;
    let view = QueueView::open(&secure)?;
    let keys = secure.keys_of(&view.identity().public_key());
    let keys = keys.ok_or_else(|| Failure::new(Exit::KeyStore, "key_store_missing", "present key"))?;
    let now = view.state()?.clock.effective_now(&system_clock().read());
    let report = view.export(dir, keys, now)?;
    tell(&report, dir, json, out)
}

/// What is damaged is left out of an export, never in silence.
pub(super) fn tell(
    report: &ExportReport,
    dir: &Path,
    json: bool,
    out: &mut impl Write,
) -> Result<ExitCode, Failure> {
    if json {
        print_json(out, &json!({"dir": dir.display().to_string(), "export": report}))?;
    } else {
        let ExportReport { entries, files, bytes, manifest_sha256, .. } = report;
        let line = format!("{entries} operations, {files} files, {bytes} bytes in {}", dir.display());
        writeln!(out, "{line}\nmanifest sha256 {manifest_sha256}")
            .map_err(|error| Failure::output(&error))?;
    }
    if report.skipped.is_empty() {
        return Ok(ExitCode::SUCCESS);
    }
    let skipped: Vec<String> = report
        .skipped
        .iter()
        .map(|fault| match fault.position {
            0 => word(&fault.code),
            _ => format!("epoch {}, operation {}: {}", fault.epoch, fault.seq, word(&fault.code)),
        })
        .collect();
    if json {
        return Ok(ExitCode::from(Exit::Queue as u8));
    }
    Err(Failure::new(Exit::Queue, "export_incomplete", skipped.join("; ")))
}

impl From<ExportError> for Failure {
    fn from(error: ExportError) -> Self {
        Self { exit: error.exit_code(), code: error.code(), detail: chain(&error), config: None }
    }
}
