//! The tenant's log: leaves, verdicts, checkpoints, and what operations quote of it (PROTOCOL §4, §9.15–9.17).

use crate::chain::Chains;
use crate::finding::{Finding, FindingCode, Findings};
use crate::package::Package;
use crate::statements::Statements;
use lotgate_domain::certificate::Trust;
use lotgate_domain::export::{self, LeafKind};
use lotgate_domain::ids::Hash;
use lotgate_domain::merkle::Frontier;
use lotgate_domain::merkle::checkpoint::Checkpoint;
use lotgate_domain::merkle::proof::TreeHead;
use lotgate_domain::statement::{Signed, Verdict, VerdictBatch};
use std::collections::{BTreeMap, HashMap, HashSet};

/// One record of `log.bin`: kind and hash.
const RECORD: usize = 33;

/// What the log says.
#[derive(Debug, Default)]
pub struct Log {
    /// Size and root of the tree of the export; `None` for the export of a queue.
    pub head: Option<TreeHead>,
    /// Verified checkpoints.
    pub checkpoints: Vec<Checkpoint>,
    /// Operations that were flagged, and those that were quarantined.
    pub exceptions: (u64, u64),
}

/// Checks the log against entries and statements.
#[must_use]
pub fn check(
    package: &Package,
    trust: &Trust,
    chains: &mut Chains,
    statements: &Statements,
    findings: &mut Findings,
) -> Log {
    let mut log = Log { exceptions: exceptions(&statements.verdicts), ..Log::default() };
    log.checkpoints = checkpoints(package, trust, findings);
    check_splits(&log.checkpoints, findings);
    let restored = statements.recovered.iter().map(|signed| signed.value.restored.size).min();
    if package.has(export::LOG) {
        let leaves = package.read(export::LOG, findings).unwrap_or_default();
        let leaves = read_leaves(&leaves, findings);
        check_leaves(&leaves, chains, statements, findings);
        check_verdicts(&leaves, &statements.verdicts, findings);
        let head = check_roots(&leaves, &log, restored, chains, findings);
        if !log.checkpoints.iter().any(|checkpoint| checkpoint.head == head) {
            findings.add(Finding::new(FindingCode::CheckpointMissing, "").at_index(head.size));
        }
        log.head = Some(head);
    } else {
        check_quoted_by_checkpoints(&log.checkpoints, restored, chains, findings);
    }
    log
}

/// Flagged and quarantined: the newest verdict on an operation counts.
fn exceptions(verdicts: &[Signed<VerdictBatch>]) -> (u64, u64) {
    let mut newest: BTreeMap<u64, Verdict> = BTreeMap::new();
    let mut batches: Vec<_> = verdicts.iter().map(|signed| &signed.value).collect();
    batches.sort_by_key(|batch| batch.first.saturating_add(batch.count));
    for batch in batches {
        newest.extend(batch.supersedes.iter().map(|index| (*index, Verdict::Accepted)));
        newest.extend(batch.exceptions.iter().map(|exception| (exception.index, exception.verdict)));
    }
    let of =
        |wanted| newest.values().filter(|verdict| **verdict == wanted).fold(0u64, |n, _| n.saturating_add(1));
    (of(Verdict::Flagged), of(Verdict::Quarantined))
}

fn checkpoints(package: &Package, trust: &Trust, findings: &mut Findings) -> Vec<Checkpoint> {
    if !package.has(export::CHECKPOINTS) {
        return Vec::new();
    }
    let bytes = package.read(export::CHECKPOINTS, findings).unwrap_or_default();
    let Ok(text) = String::from_utf8(bytes) else {
        findings.add(Finding::new(FindingCode::CheckpointSignature, "").in_file(export::CHECKPOINTS));
        return Vec::new();
    };
    let mut checkpoints = Vec::new();
    // A note holds one empty line, and one empty line stands between two notes.
    let mut parts = text.split("\n\n");
    while let (Some(body), Some(signature)) = (parts.next(), parts.next()) {
        let note = format!("{body}\n\n{}\n", signature.trim_end_matches('\n'));
        match Checkpoint::read(&note, trust.tenant, &trust.log) {
            Ok(checkpoint) => checkpoints.push(checkpoint),
            Err(error) => {
                let finding = Finding::new(FindingCode::CheckpointSignature, error.to_string());
                findings.add(finding.in_file(export::CHECKPOINTS));
            }
        }
    }
    checkpoints
}

fn check_splits(checkpoints: &[Checkpoint], findings: &mut Findings) {
    let mut roots: HashMap<(u64, u64), Hash> = HashMap::new();
    for checkpoint in checkpoints {
        let TreeHead { size, root } = checkpoint.head;
        let known = *roots.entry((checkpoint.generation, size)).or_insert(root);
        if known != root {
            findings.add(Finding::new(FindingCode::CheckpointSplit, "").at_index(size));
        }
    }
}

fn read_leaves(bytes: &[u8], findings: &mut Findings) -> Vec<(LeafKind, Hash)> {
    let mut leaves = Vec::with_capacity(bytes.len() / RECORD);
    for record in bytes.chunks(RECORD) {
        let leaf = record
            .split_first()
            .and_then(|(kind, hash)| Some((LeafKind::from_byte(*kind)?, Hash::from_slice(hash).ok()?)));
        match leaf {
            Some(leaf) => leaves.push(leaf),
            None => {
                findings.add(Finding::new(FindingCode::ExportFrame, "record of a leaf").in_file(export::LOG));
                break;
            }
        }
    }
    leaves
}

/// Every leaf has its bytes in the export, and every entry has one leaf.
fn check_leaves(
    leaves: &[(LeafKind, Hash)],
    chains: &mut Chains,
    statements: &Statements,
    findings: &mut Findings,
) {
    let verdicts: HashSet<Hash> = statements.verdicts.iter().map(|signed| signed.hash).collect();
    for (index, (kind, hash)) in (0u64..).zip(leaves) {
        let known = match kind {
            LeafKind::Operation => match chains.hashes.get_mut(hash) {
                Some(count) => {
                    *count = count.saturating_add(1);
                    true
                }
                None => false,
            },
            LeafKind::Certificate => statements.certificates.contains(hash),
            LeafKind::Verdicts => verdicts.contains(hash),
            LeafKind::Statement => statements.others.contains(hash),
        };
        if !known {
            findings.add(Finding::new(FindingCode::LogLeafUnknown, hash.to_string()).at_index(index));
        }
    }
    for ((station, epoch, seq), hashes) in &chains.places {
        for hash in hashes {
            if chains.hashes.get(hash) != Some(&1) {
                findings.add(
                    Finding::new(FindingCode::LogEntryMissing, hash.to_string()).at(*station, epoch.n, *seq),
                );
            }
        }
    }
}

/// Each operation is covered by exactly one batch, which is the leaf directly after those that it covers.
fn check_verdicts(leaves: &[(LeafKind, Hash)], verdicts: &[Signed<VerdictBatch>], findings: &mut Findings) {
    let by_hash: HashMap<Hash, &VerdictBatch> =
        verdicts.iter().map(|signed| (signed.hash, &signed.value)).collect();
    let mut uncovered: Option<u64> = None;
    for (index, (kind, hash)) in (0u64..).zip(leaves) {
        match kind {
            LeafKind::Operation => uncovered = uncovered.or(Some(index)),
            LeafKind::Verdicts => {
                let Some(batch) = by_hash.get(hash) else { continue };
                let first = uncovered.take().unwrap_or(index);
                let counted = index.saturating_sub(first);
                let ordered = batch.exceptions.iter().map(|exception| exception.index);
                let inside =
                    ordered.clone().all(|at| (first..index).contains(&at) || batch.supersedes.contains(&at));
                if (batch.first, batch.count) != (first, counted) || !inside || !ordered.is_sorted() {
                    findings.add(Finding::new(FindingCode::VerdictCoverage, "").at_index(index));
                }
            }
            LeafKind::Certificate | LeafKind::Statement => {
                if let Some(first) = uncovered.take() {
                    findings.add(Finding::new(FindingCode::VerdictCoverage, "").at_index(first));
                }
            }
        }
    }
    if let Some(first) = uncovered {
        findings.add(Finding::new(FindingCode::VerdictCoverage, "").at_index(first));
    }
}

/// Grows the tree and compares it with every root that is claimed of it.
fn check_roots(
    leaves: &[(LeafKind, Hash)],
    log: &Log,
    restored: Option<u64>,
    chains: &Chains,
    findings: &mut Findings,
) -> TreeHead {
    let last = log.checkpoints.iter().map(|checkpoint| checkpoint.generation).max().unwrap_or(1);
    let mut wanted: BTreeMap<u64, Option<Hash>> = BTreeMap::new();
    wanted.extend(log.checkpoints.iter().map(|checkpoint| (checkpoint.head.size, None)));
    wanted.extend(chains.quoted_logs.keys().map(|head| (head.size, None)));
    let mut tree = Frontier::default();
    let mut note = |tree: &Frontier| {
        if let Some(root) = wanted.get_mut(&tree.size()) {
            *root = Some(tree.root());
        }
    };
    note(&tree);
    for (_, hash) in leaves {
        tree.append(*hash, |_, _| {});
        note(&tree);
    }
    let root_at = |size: u64| wanted.get(&size).copied().flatten();
    for checkpoint in &log.checkpoints {
        let before_restore =
            checkpoint.generation < last && restored.is_some_and(|size| checkpoint.head.size > size);
        if !before_restore && root_at(checkpoint.head.size) != Some(checkpoint.head.root) {
            findings.add(Finding::new(FindingCode::CheckpointContradicts, "").at_index(checkpoint.head.size));
        }
    }
    for (head, (station, epoch, seq)) in &chains.quoted_logs {
        if root_at(head.size) != Some(head.root) {
            findings.add(quoted(head, restored).at(*station, *epoch, *seq));
        }
    }
    TreeHead { size: tree.size(), root: tree.root() }
}

/// A quotation that the log does not bear out: harmless only if the cloud was restored to an earlier size.
fn quoted(head: &TreeHead, restored: Option<u64>) -> Finding {
    let before_restore = restored.is_some_and(|size| head.size > size);
    let code = if before_restore { FindingCode::KnewBeforeRestore } else { FindingCode::KnewOtherLog };
    Finding::new(code, format!("log of {} leaves", head.size))
}

/// Without the leaves a quotation can be held against the checkpoints of its size alone.
fn check_quoted_by_checkpoints(
    checkpoints: &[Checkpoint],
    restored: Option<u64>,
    chains: &Chains,
    findings: &mut Findings,
) {
    let mut roots: HashMap<u64, Vec<Hash>> = HashMap::new();
    for checkpoint in checkpoints {
        roots.entry(checkpoint.head.size).or_default().push(checkpoint.head.root);
    }
    for (head, (station, epoch, seq)) in &chains.quoted_logs {
        if roots.get(&head.size).is_some_and(|known| !known.contains(&head.root)) {
            findings.add(quoted(head, restored).at(*station, *epoch, *seq));
        }
    }
}
