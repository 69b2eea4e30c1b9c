//! A bad page costs what lies on it, and nothing else: not what is evidence, not an export, not the day's work.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

#[path = "queue/rig.rs"]
mod rig;

use lotgate_domain::chain::Head;
use lotgate_domain::export;
use lotgate_domain::ids::Hash;
use lotgate_domain::time::Timestamp;
use lotgate_sync::queue::{Appended, Draft, FaultCode, Queue, RecoveredQueue, StopReason};
use lotgate_sync::secure::recovery::{self, HolderKey};
use rig::{NOON, Rig, scan, scan_of};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

const PAGE: usize = 4_096;
const DAY: i64 = 86_400_000;

/// Some entries take more than one page.
async fn append(queue: &Queue, count: u64) -> Vec<Appended> {
    let mut appended = Vec::new();
    for n in 0..count {
        let draft = if n % 7 == 3 { scan_of("9".repeat(3_000 + 40 * n as usize % 4_000)) } else { scan(n) };
        appended.push(queue.append(draft).await.unwrap());
    }
    appended
}

fn head_of(appended: &Appended) -> Head {
    Head { epoch: Some(appended.epoch), seq: appended.seq, hash: appended.hash }
}

/// What the pages of a queue's file hold.
struct Pages {
    /// Positions of the entries that cannot be read without a page; `None` for those of the schema, without which
    /// nothing can.
    lost: BTreeMap<usize, Option<BTreeSet<u64>>>,
    /// Pages of each table.
    of: BTreeMap<String, Vec<usize>>,
}

impl Pages {
    fn of(rig: &Rig) -> Self {
        let connection = rig.connection();
        let mut statement =
            connection.prepare("SELECT pageno, name, path, ncell FROM dbstat ORDER BY path").unwrap();
        let rows =
            statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?))).unwrap();
        let rows: Vec<(usize, String, String, u64)> = rows.map(Result::unwrap).collect();
        let (mut lost, mut of) = (BTreeMap::new(), BTreeMap::<String, Vec<usize>>::new());
        for (page, name, ..) in &rows {
            lost.insert(*page, (name != "sqlite_schema").then(BTreeSet::new));
            of.entry(name.clone()).or_default().push(*page);
        }
        let operations: Vec<_> = rows.iter().filter(|(_, name, ..)| name == "operation").collect();
        let is_leaf = |path: &str| {
            !path.contains('+')
                && !operations.iter().any(|(_, _, below, _)| {
                    below.len() > path.len() && below.starts_with(path) && !below[path.len()..].contains('+')
                })
        };
        let mut first = 1;
        for (page, _, path, cells) in operations.iter().filter(|(_, _, path, _)| is_leaf(path)) {
            let on_it: BTreeSet<u64> = (first..first + cells).collect();
            for (above, _, other, _) in &operations {
                let takes = match other.strip_prefix(path.as_str()) {
                    // An overflow page: the number of its cell stands in its path.
                    Some(rest) if rest.contains('+') => {
                        let cell = u64::from_str_radix(rest.split('+').next().unwrap(), 16).unwrap();
                        BTreeSet::from([first + cell])
                    }
                    _ if above == page || path.starts_with(other.as_str()) => on_it.clone(),
                    _ => continue,
                };
                lost.get_mut(above).unwrap().as_mut().unwrap().extend(takes);
            }
            first += cells;
        }
        Self { lost, of }
    }

    /// Every page, but of those alike only some.
    fn telling(&self) -> impl Iterator<Item = (&usize, &Option<BTreeSet<u64>>)> {
        let last = self.lost.values().flatten().flatten().max().copied().unwrap_or(0);
        self.lost.iter().filter(move |(page, lost)| {
            let of_the_middle = |lost: &BTreeSet<u64>| (1..10).contains(&lost.len()) && !lost.contains(&last);
            !lost.as_ref().is_some_and(of_the_middle) || *page % 5 == 0
        })
    }
}

fn flipped(whole: &[u8], page: usize) -> Vec<u8> {
    let mut bytes = whole.to_vec();
    bytes[(page - 1) * PAGE + 2_000] ^= 1;
    bytes
}

fn entries(rig: &Rig) -> BTreeMap<u64, Vec<u8>> {
    let connection = rig.connection();
    let mut statement = connection.prepare("SELECT position, entry FROM operation").unwrap();
    let rows = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?))).unwrap();
    rows.map(Result::unwrap).collect()
}

fn without(entries: &BTreeMap<u64, Vec<u8>>, lost: &BTreeSet<u64>) -> BTreeSet<Vec<u8>> {
    entries.iter().filter(|(position, _)| !lost.contains(position)).map(|(_, entry)| entry.clone()).collect()
}

async fn evidence(queue: &Queue) -> BTreeSet<Vec<u8>> {
    let mut found = BTreeSet::new();
    while let Some(batch) = queue.evidence(64 * 1024).await.unwrap() {
        found.extend(batch.entries);
        queue.evidence_kept(batch.token).await.unwrap();
    }
    found
}

#[tokio::test]
async fn every_entry_that_lies_on_whole_pages_of_a_file_that_was_set_aside_is_evidence() {
    const NAME: &str = "queue-20270101T000000000Z.set-aside";
    let rig = Rig::new();
    let queue = rig.create();
    let appended = append(&queue, 199).await;
    queue.settle(rig.settlement(&queue, head_of(&appended[18])).await).await.unwrap();
    queue.close().await.unwrap();
    let (whole, all, pages) = (std::fs::read(rig.queue_file()).unwrap(), entries(&rig), Pages::of(&rig));
    assert_eq!(all.len(), 200);
    assert!(pages.lost.values().flatten().filter(|lost| lost.len() == 1).count() > 10, "overflow pages");
    let unsettled: BTreeMap<u64, Vec<u8>> = all.clone().into_iter().skip(20).collect();

    // The same station, with the same key, goes on in another file.
    let queue = rig.open();
    let aside = rig.data().join(NAME);
    for (page, lost) in pages.telling() {
        std::fs::write(&aside, flipped(&whole, *page)).unwrap();
        let again = format!(
            "INSERT INTO set_aside (number, reason, code, file) VALUES (1, 'queue_damaged', 'damaged', '{NAME}') \
             ON CONFLICT (number) DO UPDATE SET kept_through = 0, kept_at = NULL"
        );
        rig.connection().execute_batch(&again).unwrap();
        let found = evidence(&queue).await;
        match lost {
            None => assert_eq!(found.len(), 0, "page {page}: without the schema nothing is known of it"),
            Some(lost) => {
                let missing = without(&unsettled, lost).difference(&found).count();
                assert_eq!(missing, 0, "page {page}: entries that lie on whole pages are missing");
                assert!(
                    found.is_subset(&without(&all, lost)),
                    "page {page}: something that never was an entry"
                );
            }
        }
    }
}

#[tokio::test]
async fn an_export_of_a_file_with_a_bad_page_holds_everything_else_and_names_the_gap() {
    let mut rig = Rig::new();
    let holders = [HolderKey::from_bytes([71; 32]), HolderKey::from_bytes([72; 32])];
    rig.tenant.holders = Some([holders[0].public(), holders[1].public()]);
    let queue = rig.create();
    append(&queue, 79).await;
    queue.close().await.unwrap();
    let sealed = std::fs::read(rig.data().join(recovery::SEALED)).unwrap();
    let recovered = recovery::recover(&sealed, &holders[0], &holders[1]).unwrap();
    let (whole, all, pages) = (std::fs::read(rig.queue_file()).unwrap(), entries(&rig), Pages::of(&rig));
    for (page, lost) in pages.telling() {
        let (file, dir) = (rig.directory().join("damaged.db"), rig.directory().join(format!("out-{page}")));
        std::fs::write(&file, flipped(&whole, *page)).unwrap();
        let opened = RecoveredQueue::open(&rig.places(), &file, &recovered);
        let Some(lost) = lost else { continue };
        let report = opened.unwrap().export(&dir).unwrap();
        let exported = std::fs::read_dir(dir.join(export::ENTRIES).join(rig.station.to_string()))
            .into_iter()
            .flatten()
            .map(|file| std::fs::read(file.unwrap().path()).unwrap())
            .flat_map(|bytes| frames(&bytes))
            .collect::<BTreeSet<_>>();
        assert!(exported == without(&all, lost), "page {page}");
        let named: BTreeSet<u64> = report.skipped.iter().map(|fault| fault.position).collect();
        assert!(report.skipped.iter().all(|fault| fault.code == FaultCode::File), "page {page}");
        let last_is_lost = lost.contains(&80);
        let expected = if last_is_lost { lost.iter().take(1).copied().collect() } else { lost.clone() };
        let named: BTreeSet<u64> = named.into_iter().filter(|position| *position > 0).collect();
        assert!(named == expected || (last_is_lost && named == *lost), "page {page}: {named:?} of {lost:?}");
    }
}

fn frames(bytes: &[u8]) -> Vec<Vec<u8>> {
    let (mut rest, mut frames) = (bytes, Vec::new());
    while !rest.is_empty() {
        let (frame, after) = lotgate_domain::entry::Frame::split_first(rest).unwrap();
        frames.push(frame.bytes().to_vec());
        rest = after;
    }
    frames
}

fn damage(path: &Path, page: usize) {
    let bytes = std::fs::read(path).unwrap();
    std::fs::write(path, flipped(&bytes, page)).unwrap();
}

#[tokio::test]
async fn what_lies_before_a_bad_page_is_sent() {
    let rig = Rig::new();
    let queue = rig.create();
    append(&queue, 59).await;
    queue.close().await.unwrap();
    let pages = Pages::of(&rig);
    let queue = rig.open();
    let lost = |lost: &Option<BTreeSet<u64>>| {
        lost.clone().filter(|lost| lost.contains(&40) && (2..10).contains(&lost.len()))
    };
    let (page, lost) = pages.lost.iter().find_map(|(page, on)| Some((*page, lost(on)?))).unwrap();
    let first = *lost.first().unwrap();
    damage(&rig.queue_file(), page);
    let start = Head::genesis(queue.identity().certificate.hash);
    let batch = queue.batch(start, 1_000, 1 << 20).await.unwrap().unwrap();
    assert_eq!(batch.count, first - 1);
    let after = Head { epoch: Some(batch.epoch), seq: batch.last.seq, hash: batch.last.hash };
    queue.batch(after, 1_000, 1 << 20).await.expect_err("nothing is left out");
    damage(&rig.queue_file(), page);
    let rest = queue.batch(after, 1_000, 1 << 20).await.unwrap().unwrap();
    assert_eq!((rest.after.seq, rest.count), (first - 1, 60 - (first - 1)), "a page that can be read again");
}

#[tokio::test]
async fn a_bad_page_of_a_label_makes_no_entry_look_damaged() {
    let rig = Rig::new();
    let queue = rig.create();
    let label = vec![7; 9_000];
    queue.append(Draft { blobs: vec![label.clone()], ..scan(1) }).await.unwrap();
    append(&queue, 59).await;
    queue.close().await.unwrap();
    let pages = Pages::of(&rig);
    let queue = rig.open();
    damage(&rig.queue_file(), *pages.of["blob"].last().unwrap());
    assert_eq!(queue.blob(Hash::of(&label)).await.unwrap(), None);
    let start = Head::genesis(queue.identity().certificate.hash);
    let batch = queue.batch(start, 1_000, 1 << 20).await.unwrap().unwrap();
    assert_eq!((batch.count, queue.state().borrow().alarms.len()), (61, 0));
}

#[tokio::test]
async fn a_bad_page_among_old_entries_stops_pruning_and_not_the_work() {
    let rig = Rig::new();
    let queue = rig.create();
    let appended = append(&queue, 1_400).await;
    queue.settle(rig.settlement(&queue, head_of(&appended[1_398])).await).await.unwrap();
    rig.clock.advance(60 * DAY);
    queue.settle(rig.settlement(&queue, head_of(&appended[1_399])).await).await.unwrap();
    queue.close().await.unwrap();
    let pages = Pages::of(&rig);
    let is_old =
        |lost: &Option<BTreeSet<u64>>| lost.as_ref().is_some_and(|lost| lost.contains(&9) && lost.len() < 9);
    let page = *pages.lost.iter().find(|(_, lost)| is_old(lost)).unwrap().0;
    damage(&rig.queue_file(), page);
    for _ in 0..2 {
        let queue = rig.open();
        let now = Timestamp::from_unix_ms(NOON + 60 * DAY);
        let error = queue.prune(now, 0, 0).await.expect_err("what lies there cannot be looked at");
        assert_eq!(error.code(), StopReason::Damaged.code());
        assert_eq!(queue.state().borrow().stopped, None);
        queue.append(scan(1)).await.unwrap();
        queue.close().await.unwrap();
    }
}
