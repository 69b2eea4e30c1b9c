//! The auditor's program: verifies an export without network, from the fingerprint of the tenant's root key alone.
//!
//! The flow: [`package`] reads the manifest and compares every file with it; the certificates are followed from the
//! fingerprint down; [`chain`] checks each station's entries, [`entries`] each by itself on every core;
//! [`statements`] checks verdicts, receipts and reference data; [`log`] grows the Merkle tree and holds every
//! checkpoint, and every log that an operation quotes, against it. [`finding`] is the closed list of what can be
//! wrong.
//!
//! # Invariants
//! - Whatever was edited, dropped, inserted, swapped or cut off is found (`tests/export.rs`).
//! - It agrees with an independent program, written from the specification alone (`tests/tests/independent.rs`).
//! - No bytes of an export can make it panic (the fuzz target `export`).

pub mod chain;
pub mod entries;
pub mod finding;
pub mod log;
pub mod package;
pub mod statements;

use finding::{Finding, FindingCode, Findings};
use lotgate_domain::certificate::{self, Trust};
use lotgate_domain::export::{self, ExportKind};
use lotgate_domain::ids::{Hash, PublicKey, SiteId, StationId};
use lotgate_domain::merkle::proof::TreeHead;
use package::{Package, PackageError};
use std::collections::BTreeMap;
use std::path::Path;

/// What an export proves, and what is wrong with it.
#[derive(Debug)]
pub struct Report {
    /// Of what it is.
    pub kind: ExportKind,
    /// Entries of each station.
    pub entries: BTreeMap<StationId, u64>,
    /// Verdict batches and receipts that verify.
    pub statements: u64,
    /// Checkpoints that verify.
    pub checkpoints: u64,
    /// Operations that were flagged.
    pub flagged: u64,
    /// Operations that were quarantined.
    pub quarantined: u64,
    /// Size and root of the log, for an export of a cloud.
    pub log: Option<TreeHead>,
    /// What was found.
    pub findings: Findings,
}

/// Verifies the export in `dir`.
///
/// # Errors
/// [`PackageError`] where there is no export that could be looked into.
pub fn verify(dir: &Path, root_fingerprint: Hash) -> Result<Report, PackageError> {
    let package = Package::open(dir)?;
    let mut findings = Findings::default();
    package.check_names(&mut findings);
    let mut report = Report {
        kind: package.manifest.kind,
        entries: BTreeMap::new(),
        statements: 0,
        checkpoints: 0,
        flagged: 0,
        quarantined: 0,
        log: None,
        findings: Findings::default(),
    };
    let bytes = package.read(export::CERTIFICATES, &mut findings).unwrap_or_default();
    let certificates: Vec<Vec<u8>> = package
        .frames(export::CERTIFICATES, &bytes, &mut findings)
        .iter()
        .map(|frame| frame.bytes().to_vec())
        .collect();
    let tenant = package.manifest.tenant;
    let trust = match Trust::establish(tenant, root_fingerprint, &certificates) {
        Ok(trust) if package.manifest.root_fingerprint == root_fingerprint => trust,
        other => {
            let detail = other.err().map_or("the manifest names another root".to_owned(), |e| e.to_string());
            findings.add(Finding::new(FindingCode::ExportTrust, detail));
            report.findings = findings;
            return Ok(report);
        }
    };
    package.check_seal(&sealing_keys(&package, &trust, &certificates), &mut findings);
    let mut chains = chain::check(&package, &trust, &certificates, &mut findings);
    let statements = statements::read(&package, &trust, &certificates, &mut findings);
    statements::check_receipts(&package, &statements, &chains, &mut findings);
    let log = log::check(&package, &trust, &mut chains, &statements, &mut findings);
    let sites = sites(&trust, &certificates, &chains);
    statements::check_feed(&package, &trust, &sites, &chains, &mut findings);
    check_labels(&package, &chains, &mut findings);
    package.check_rest(&mut findings);
    let count = |len: usize| u64::try_from(len).unwrap_or(u64::MAX);
    report.statements = count(statements.verdicts.len()).saturating_add(count(statements.receipts.len()));
    report.checkpoints = count(log.checkpoints.len());
    (report.flagged, report.quarantined) = log.exceptions;
    report.log = log.head;
    report.entries = chains.counts;
    report.findings = findings;
    Ok(report)
}

/// A queue keeps the bytes of each label that it printed, for ever. The cloud does not have them.
fn check_labels(package: &Package, chains: &chain::Chains, findings: &mut Findings) {
    if package.manifest.kind != ExportKind::Queue {
        return;
    }
    for (label, (station, epoch, seq)) in &chains.labels {
        let path = export::blob_path(*label);
        if !package.has(&path) {
            let finding = Finding::new(FindingCode::ExportFileMissing, "the label that was queued");
            findings.add(finding.in_file(&path).at(*station, *epoch, *seq));
        }
    }
}

/// The keys that may have sealed the export: any of the station's, or the statement key.
fn sealing_keys(package: &Package, trust: &Trust, certificates: &[Vec<u8>]) -> Vec<PublicKey> {
    match package.manifest.station {
        Some(station) => certificate::of_station(trust, certificates, station)
            .iter()
            .map(|certificate| certificate.value.public_key)
            .collect(),
        None => vec![trust.statement],
    }
}

fn sites(trust: &Trust, certificates: &[Vec<u8>], chains: &chain::Chains) -> BTreeMap<StationId, SiteId> {
    let site = |station: &StationId| {
        let certificates = certificate::of_station(trust, certificates, *station);
        Some((*station, certificates.last()?.value.subject.site?))
    };
    chains.counts.keys().filter_map(site).collect()
}
