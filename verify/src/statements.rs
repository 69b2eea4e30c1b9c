//! The statements of an export: certificates, verdicts, receipts, the rest, and the feed.

use crate::chain::Chains;
use crate::finding::{Finding, FindingCode, Findings};
use crate::package::Package;
use lotgate_domain::certificate::{Certificate, Trust};
use lotgate_domain::entry::Frame;
use lotgate_domain::export;
use lotgate_domain::ids::{Hash, PublicKey, SiteId, StationId};
use lotgate_domain::reference::{feed_next, feed_start};
use lotgate_domain::statement::event::{ForkFound, KeyRotated, LogRecovered, StationClosed};
use lotgate_domain::statement::{self, FeedPoint, Receipt, Signed, Statement, VerdictBatch};
use std::collections::{BTreeMap, HashSet};

/// Every statement whose signature holds.
#[derive(Debug, Default)]
pub struct Statements {
    /// Hashes of certificates.
    pub certificates: HashSet<Hash>,
    /// Verdict batches.
    pub verdicts: Vec<Signed<VerdictBatch>>,
    /// Receipts.
    pub receipts: Vec<Signed<Receipt>>,
    /// Restores of the cloud.
    pub recovered: Vec<Signed<LogRecovered>>,
    /// Hashes of every other statement.
    pub others: HashSet<Hash>,
}

/// Reads them all.
#[must_use]
pub fn read(
    package: &Package,
    trust: &Trust,
    certificates: &[Vec<u8>],
    findings: &mut Findings,
) -> Statements {
    let mut statements = Statements::default();
    for bytes in certificates {
        let signed = statement::read::<Certificate>(bytes, trust.tenant, &trust.issuer)
            .or_else(|_| statement::read::<Certificate>(bytes, trust.tenant, &trust.root));
        match signed {
            Ok(signed) => {
                statements.certificates.insert(signed.hash);
            }
            Err(error) => findings.add(wrong(export::CERTIFICATES, &error.to_string())),
        }
    }
    statements.verdicts = of_kind(package, export::VERDICTS, trust, &trust.statement, findings);
    statements.receipts = of_kind(package, export::RECEIPTS, trust, &trust.statement, findings);
    if package.has(export::STATEMENTS) {
        let bytes = package.read(export::STATEMENTS, findings).unwrap_or_default();
        for frame in package.frames(export::STATEMENTS, &bytes, findings) {
            read_other(&frame, trust, &mut statements, findings);
        }
    }
    statements
}

fn of_kind<T: Statement>(
    package: &Package,
    path: &str,
    trust: &Trust,
    key: &PublicKey,
    findings: &mut Findings,
) -> Vec<Signed<T>> {
    if !package.has(path) {
        return Vec::new();
    }
    let bytes = package.read(path, findings).unwrap_or_default();
    let mut read = Vec::new();
    for frame in package.frames(path, &bytes, findings) {
        match statement::read(frame.bytes(), trust.tenant, key) {
            Ok(signed) => read.push(signed),
            Err(error) => findings.add(wrong(path, &error.to_string())),
        }
    }
    read
}

fn read_other(frame: &Frame<'_>, trust: &Trust, statements: &mut Statements, findings: &mut Findings) {
    let (bytes, tenant) = (frame.bytes(), trust.tenant);
    if let Ok(signed) = statement::read::<LogRecovered>(bytes, tenant, &trust.root) {
        let detail = format!("to {} leaves: {}", signed.value.restored.size, signed.value.reason);
        findings.add(Finding::new(FindingCode::LogRecovered, detail));
        statements.others.insert(signed.hash);
        statements.recovered.push(signed);
    } else if let Ok(signed) = statement::read::<StationClosed>(bytes, tenant, &trust.statement) {
        let detail = format!("{:?} {}: {}", signed.value.closing, signed.value.station, signed.value.reason);
        let mut finding = Finding::new(FindingCode::StationClosed, detail.to_lowercase());
        finding.station = Some(signed.value.station);
        findings.add(finding);
        statements.others.insert(signed.hash);
    } else if statement::read::<ForkFound>(bytes, tenant, &trust.statement).is_ok()
        || statement::read::<KeyRotated>(bytes, tenant, &trust.statement).is_ok()
    {
        statements.others.insert(frame.hash());
    } else {
        findings.add(wrong(export::STATEMENTS, "no statement of a known kind that verifies"));
    }
}

/// Checks that no receipt names another entry than the one that is here. The receipts of a cloud must be whole as
/// well: each names the one before it, and together they cover every entry; a station may have missed some.
pub fn check_receipts(package: &Package, statements: &Statements, chains: &Chains, findings: &mut Findings) {
    let whole = package.manifest.kind == export::ExportKind::Cloud;
    let mut last: BTreeMap<StationId, Hash> = BTreeMap::new();
    let mut covered: HashSet<Hash> = HashSet::new();
    for signed in &statements.receipts {
        let receipt = &signed.value;
        let before = last.insert(receipt.station, signed.hash).unwrap_or(Hash::ZERO);
        if whole && receipt.previous != before {
            let finding = Finding::new(FindingCode::ReceiptContradicts, "it names another receipt before it");
            findings.add(finding.at(receipt.station, receipt.epoch.n, receipt.through.seq));
        }
        covered.insert(receipt.through.hash);
        let place = (receipt.station, receipt.epoch, receipt.through.seq);
        // An entry that is not kept any more cannot contradict.
        let contradicts =
            chains.places.get(&place).is_some_and(|hashes| !hashes.contains(&receipt.through.hash));
        if contradicts {
            let finding = Finding::new(FindingCode::ReceiptContradicts, signed.hash.to_string());
            findings.add(finding.at(receipt.station, receipt.epoch.n, receipt.through.seq));
        }
    }
    for (station, epoch, seq, hash) in chains.ends.iter().filter(|_| whole) {
        if !covered.contains(hash) {
            findings.add(Finding::new(FindingCode::ReceiptMissing, "").at(*station, *epoch, *seq));
        }
    }
}

/// Checks the feed, and what operations quote of it.
pub fn check_feed(
    package: &Package,
    trust: &Trust,
    sites: &BTreeMap<StationId, SiteId>,
    chains: &Chains,
    findings: &mut Findings,
) {
    let mut points: BTreeMap<(SiteId, u64), Hash> = BTreeMap::new();
    if package.has(export::FEED) {
        let bytes = package.read(export::FEED, findings).unwrap_or_default();
        let mut rest = bytes.as_slice();
        while let Some(((signed, page), after)) = page(rest) {
            rest = after;
            match statement::read::<FeedPoint>(signed, trust.tenant, &trust.statement) {
                Ok(point) => check_page(&point.value, page, &mut points, findings),
                Err(error) => findings.add(wrong(export::FEED, &error.to_string())),
            }
        }
        if !rest.is_empty() {
            findings.add(Finding::new(FindingCode::ExportFrame, "bytes left over").in_file(export::FEED));
        }
    }
    let whole = package.manifest.kind == export::ExportKind::Cloud;
    for ((station, cursor, hash), (epoch, seq)) in &chains.quoted_data {
        let signed = sites.get(station).and_then(|site| points.get(&(*site, *cursor)));
        if signed.map_or(whole, |signed| signed != hash) {
            let detail = format!("page {cursor}");
            findings.add(Finding::new(FindingCode::KnewOtherData, detail).at(*station, *epoch, *seq));
        }
    }
}

fn check_page(
    point: &FeedPoint,
    page: &[u8],
    points: &mut BTreeMap<(SiteId, u64), Hash>,
    findings: &mut Findings,
) {
    let before = match point.cursor.checked_sub(1) {
        Some(0) => Some(feed_start(point.site)),
        Some(cursor) => points.get(&(point.site, cursor)).copied(),
        None => None,
    };
    let follows = match before {
        Some(before) if !page.is_empty() => feed_next(before, page) == point.hash,
        _ => true,
    };
    let known = *points.entry((point.site, point.cursor)).or_insert(point.hash);
    if !follows || known != point.hash {
        let detail = format!("page {} of site {}", point.cursor, point.site);
        findings.add(Finding::new(FindingCode::FeedChain, detail).in_file(export::FEED));
    }
}

/// A framed statement and its page.
type Page<'a> = (&'a [u8], &'a [u8]);

/// The first statement and page of a feed file, and the rest.
fn page(bytes: &[u8]) -> Option<(Page<'_>, &[u8])> {
    let (signed, rest) = counted(bytes)?;
    let (page, rest) = counted(rest)?;
    Some(((signed, page), rest))
}

fn counted(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (len, rest) = bytes.split_first_chunk::<4>()?;
    rest.split_at_checked(usize::try_from(u32::from_be_bytes(*len)).ok()?)
}

fn wrong(path: &str, detail: &str) -> Finding {
    Finding::new(FindingCode::StatementSignature, detail).in_file(path)
}
