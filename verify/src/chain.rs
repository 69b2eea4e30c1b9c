//! The chains of the stations: entries in order, without gaps, each after the one before (PROTOCOL §1, §9.4).

use crate::entries::{self, Checked, Seen, Station, Wrong};
use crate::finding::{Finding, FindingCode, Findings};
use crate::package::Package;
use lotgate_domain::certificate::{self, Trust};
use lotgate_domain::chain::Head;
use lotgate_domain::export::{self, ExportKind, Range};
use lotgate_domain::ids::{Epoch, Hash, StationId};
use lotgate_domain::merkle::proof::TreeHead;
use std::collections::{BTreeMap, HashMap};

/// What the chains of an export say, for the checks of log, receipts and reference data.
#[derive(Debug, Default)]
pub struct Chains {
    /// Every entry's hash, with how often a leaf named it.
    pub hashes: HashMap<Hash, u32>,
    /// The hash at each place; several where the chain forked.
    pub places: HashMap<(StationId, Epoch, u64), Vec<Hash>>,
    /// The logs that operations quote, each with the first place that quotes it.
    pub quoted_logs: BTreeMap<TreeHead, (StationId, u64, u64)>,
    /// The reference data that operations quote.
    pub quoted_data: BTreeMap<(StationId, u64, Hash), (u64, u64)>,
    /// The labels that operations queue, each with the first place that does.
    pub labels: BTreeMap<Hash, (StationId, u64, u64)>,
    /// The last entry of each epoch of each branch.
    pub ends: Vec<(StationId, u64, u64, Hash)>,
    /// Entries of each station.
    pub counts: BTreeMap<StationId, u64>,
}

/// Checks every range of the manifest.
#[must_use]
pub fn check(package: &Package, trust: &Trust, certificates: &[Vec<u8>], findings: &mut Findings) -> Chains {
    let mut chains = Chains::default();
    let mut by_station: BTreeMap<StationId, Vec<&Range>> = BTreeMap::new();
    for range in &package.manifest.ranges {
        by_station.entry(range.station).or_default().push(range);
    }
    for (id, mut ranges) in by_station {
        let certified = certificate::of_station(trust, certificates, id);
        if certified.is_empty() {
            findings.add(Finding::new(FindingCode::ExportTrust, format!("no certificate of station {id}")));
        }
        let station = Station::new(trust.tenant, id, &certified);
        ranges.sort_by_key(|range| (range.epoch, range.branch, range.first));
        check_station(package, &station, &ranges, &mut chains, findings);
    }
    chains
}

fn check_station(
    package: &Package,
    station: &Station,
    ranges: &[&Range],
    chains: &mut Chains,
    findings: &mut Findings,
) {
    let mut previous: Option<&Range> = None;
    for range in ranges {
        if range.branch > 0 && range.first == first_of_branch(ranges, range) {
            let detail = format!("branch {} begins here", range.branch);
            findings.add(Finding::new(FindingCode::EntryFork, detail).at(
                station.id,
                range.epoch,
                range.first,
            ));
        }
        note_gap(package, station, previous, range, findings);
        previous = Some(range);
    }
    let mut heads: HashMap<(u64, u64), Head> = HashMap::new();
    for range in ranges {
        check_range(package, station, range, &mut heads, chains, findings);
    }
    let ends = heads.iter().map(|((epoch, _), head)| (station.id, *epoch, head.seq, head.hash));
    chains.ends.extend(ends);
    chains.ends.sort();
}

fn first_of_branch(ranges: &[&Range], range: &Range) -> u64 {
    let same = ranges.iter().filter(|other| (other.epoch, other.branch) == (range.epoch, range.branch));
    same.map(|other| other.first).min().unwrap_or(range.first)
}

/// What is missing before a range, as far as the manifest itself tells.
fn note_gap(
    package: &Package,
    station: &Station,
    previous: Option<&Range>,
    range: &Range,
    findings: &mut Findings,
) {
    let begins = (range.epoch, range.first);
    let here = |code| Finding::new(code, "").at(station.id, range.epoch, range.first);
    match previous {
        None if begins != (1, 1) => {
            let pruned = package.manifest.kind != ExportKind::Cloud;
            let code = if pruned { FindingCode::EntryPruned } else { FindingCode::EntryGap };
            findings.add(here(code));
        }
        Some(before)
            if (before.epoch, before.branch) == (range.epoch, range.branch)
                && before.last.checked_add(1) != Some(range.first) =>
        {
            findings.add(here(FindingCode::EntryGap));
        }
        Some(before) if before.epoch != range.epoch && range.first != 1 => {
            findings.add(here(FindingCode::EntryGap));
        }
        _ => {}
    }
}

fn check_range(
    package: &Package,
    station: &Station,
    range: &Range,
    heads: &mut HashMap<(u64, u64), Head>,
    chains: &mut Chains,
    findings: &mut Findings,
) {
    let mut seq = range.first;
    while seq <= range.last {
        let path = export::entries_path(station.id, range.epoch, range.branch, seq);
        if !package.has(&path) {
            let finding = Finding::new(FindingCode::EntryGap, "no file begins here");
            return findings.add(finding.at(station.id, range.epoch, seq).in_file(&path));
        }
        let Some(bytes) = package.read(&path, findings) else { return };
        let frames = package.frames(&path, &bytes, findings);
        let checked = entries::check(&frames, station);
        let count = u64::try_from(checked.len()).unwrap_or(u64::MAX);
        for (at, entry) in (seq..).zip(checked) {
            check_entry(station, range, at, entry, heads, chains, findings);
        }
        if count == 0 {
            let finding = Finding::new(FindingCode::EntryGap, "no entries");
            return findings.add(finding.at(station.id, range.epoch, seq).in_file(&path));
        }
        seq = seq.saturating_add(count);
    }
    if seq != range.last.saturating_add(1) {
        let finding = Finding::new(FindingCode::EntryGap, "more entries than the manifest says");
        findings.add(finding.at(station.id, range.epoch, range.last));
    }
}

fn check_entry(
    station: &Station,
    range: &Range,
    at: u64,
    checked: Checked,
    heads: &mut HashMap<(u64, u64), Head>,
    chains: &mut Chains,
    findings: &mut Findings,
) {
    let here = |code, detail: String| Finding::new(code, detail).at(station.id, range.epoch, at);
    chains.hashes.entry(checked.hash).or_default();
    let count = chains.counts.entry(station.id).or_default();
    *count = count.saturating_add(1);
    let seen = match checked.entry {
        Ok(seen) => seen,
        Err(wrong) => {
            let code = match wrong {
                Wrong::Signature => FindingCode::EntrySignature,
                Wrong::Form => FindingCode::EntryForm,
            };
            heads.remove(&(range.epoch, range.branch));
            return findings.add(here(code, String::new()));
        }
    };
    let (epoch, seq) = entries::place(&seen.header);
    if (epoch.n, seq) != (range.epoch, at) {
        let detail = format!("it says epoch {}, operation {seq}", epoch.n);
        findings.add(here(FindingCode::EntryGap, detail));
    }
    if let Err(detail) = follow(station, range, &seen, heads, chains) {
        findings.add(here(FindingCode::EntryChain, detail));
    }
    chains.places.entry((station.id, epoch, seq)).or_default().push(seen.hash);
    if let Some(log) = seen.log {
        chains.quoted_logs.entry(log).or_insert((station.id, epoch.n, seq));
    }
    if let Some((cursor, hash)) = seen.data {
        chains.quoted_data.entry((station.id, cursor, hash)).or_insert((epoch.n, seq));
    }
    if let Some(label) = seen.label {
        chains.labels.entry(label).or_insert((station.id, epoch.n, seq));
    }
    if seen.unconfirmed {
        findings.add(here(FindingCode::EpochUnconfirmed, String::new()));
    }
    if seen.unknown {
        findings.add(here(FindingCode::OperationUnknown, seen.header.body.kind.clone()));
    }
    let head = Head { epoch: Some(epoch), seq, hash: seen.hash };
    heads.insert((range.epoch, range.branch), head);
}

/// Whether an entry follows the one before it: of its own branch, or where a branch begins of any earlier one.
fn follow(
    station: &Station,
    range: &Range,
    seen: &Seen,
    heads: &HashMap<(u64, u64), Head>,
    chains: &Chains,
) -> Result<(), String> {
    let header = &seen.header;
    let key = station.keys.iter().find(|key| key.id == header.key);
    let certificate = key.map_or(Hash::ZERO, |key| key.certificate);
    let before = match heads.get(&(range.epoch, range.branch)) {
        Some(head) => *head,
        None if header.seq == 1 => Head::genesis(certificate),
        // The first that is kept, the first of a branch, or the one after an entry that was no good.
        None => {
            let place = (station.id, header.epoch, header.seq.saturating_sub(1));
            let known = chains.places.get(&place);
            if known.is_some_and(|hashes| !hashes.contains(&header.prev)) {
                return Err("it names another entry before it".to_owned());
            }
            return Ok(());
        }
    };
    before.follow(certificate, header, seen.hash).map(|_| ()).map_err(|error| error.to_string())
}
