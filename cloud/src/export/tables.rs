//! Each kind of row, streamed into its file.

use super::directory::{Directory, Output};
use crate::certificates;
use crate::database::{DatabaseError, count};
use crate::error::Rejection;
use crate::feed;
use crate::gate::Passage;
use lotgate_domain::certificate::KeyUse;
use lotgate_domain::entry::Frame;
use lotgate_domain::export::{
    CERTIFICATES, CHECKPOINTS, ENTRIES_A_FILE, EVIDENCE, FEED, LOG, LeafKind, RECEIPTS, Range, STATEMENTS,
    VERDICTS, entries_path,
};
use lotgate_domain::ids::{Hash, SiteId, StationId};
use lotgate_domain::merkle::checkpoint::Checkpoint;
use lotgate_domain::merkle::proof::TreeHead;
use lotgate_domain::signature::KeyPair;
use std::collections::{BTreeMap, BTreeSet};
use tokio_postgres::Row;
use tokio_postgres::types::ToSql;

/// Where bytes lie that are named by their hash.
const BLOBS: &str = "blobs";

/// Rows that are in memory at once: of 32 KiB at most each.
const AT_ONCE: i32 = 500;

/// Hands each row of a query to `take`, a few at a time.
async fn each(
    passage: &Passage<'_>,
    query: &str,
    parameters: &[&(dyn ToSql + Sync)],
    mut take: impl FnMut(&Row) -> Result<(), Rejection> + Send,
) -> Result<(), Rejection> {
    let portal = passage.transaction.bind(query, parameters).await?;
    loop {
        let rows = passage.transaction.query_portal(&portal, AT_ONCE).await?;
        if rows.is_empty() {
            return Ok(());
        }
        rows.iter().try_for_each(&mut take)?;
    }
}

/// The leaves of the log; how many there are.
pub(super) async fn log(passage: &Passage<'_>, to: &mut Directory) -> Result<u64, Rejection> {
    let mut output = to.output(LOG);
    let mut leaves = 0_u64;
    each(passage, "SELECT index, kind, hash FROM leaf ORDER BY tenant_id, index", &[], |row| {
        if count(row.try_get("index")?, "leaf.index")? != leaves {
            return Err(Rejection::Missing("leaf for each index of the log"));
        }
        let kind = match row.try_get("kind")? {
            "certificate" => LeafKind::Certificate,
            "operation" => LeafKind::Operation,
            "verdict" => LeafKind::Verdicts,
            "statement" => LeafKind::Statement,
            _ => return Err(DatabaseError::Column("leaf.kind").into()),
        };
        leaves = leaves.saturating_add(1);
        to.write(&mut output, &[kind.as_byte()])?;
        Ok(to.write(&mut output, row.try_get("hash")?)?)
    })
    .await?;
    to.finish(output)?;
    Ok(leaves)
}

/// A stretch of entries that is being written.
struct Stretch {
    range: Range,
    output: Output,
    /// Entries of the file that is open.
    in_file: u64,
}

/// The numbered operations, in files of at most [`ENTRIES_A_FILE`].
pub(super) async fn entries(passage: &Passage<'_>, to: &mut Directory) -> Result<Vec<Range>, Rejection> {
    let waiting = waiting(passage).await?;
    let mut ranges = Vec::new();
    let mut open: Option<Stretch> = None;
    let query = "SELECT station_id, epoch_n, branch, seq, bytes FROM entry
        ORDER BY tenant_id, station_id, epoch_n, branch, seq";
    each(passage, query, &[], |row| {
        let station = StationId(row.try_get("station_id")?);
        let epoch = count(row.try_get("epoch_n")?, "entry.epoch_n")?;
        let branch = count(row.try_get("branch")?, "entry.branch")?;
        let seq = count(row.try_get("seq")?, "entry.seq")?;
        if waiting.get(&(station, epoch, branch)).is_some_and(|first| seq >= *first) {
            return Ok(());
        }
        let follows = open.as_ref().is_some_and(|stretch| {
            let Range { station: of, epoch: n, branch: b, last, .. } = &stretch.range;
            (*of, *n, *b, last.saturating_add(1)) == (station, epoch, branch, seq)
        });
        let mut stretch = match open.take() {
            Some(stretch) if follows => stretch,
            ended => {
                end(to, ended, &mut ranges)?;
                let output = to.output(entries_path(station, epoch, branch, seq));
                Stretch { range: Range { station, epoch, branch, first: seq, last: seq }, output, in_file: 0 }
            }
        };
        if stretch.in_file == ENTRIES_A_FILE {
            let next = to.output(entries_path(station, epoch, branch, seq));
            to.finish(std::mem::replace(&mut stretch.output, next))?;
            stretch.in_file = 0;
        }
        stretch.range.last = seq;
        stretch.in_file = stretch.in_file.saturating_add(1);
        to.write(&mut stretch.output, row.try_get("bytes")?)?;
        open = Some(stretch);
        Ok(())
    })
    .await?;
    end(to, open, &mut ranges)?;
    Ok(ranges)
}

fn end(to: &mut Directory, stretch: Option<Stretch>, ranges: &mut Vec<Range>) -> Result<(), Rejection> {
    if let Some(Stretch { range, output, .. }) = stretch {
        to.finish(output)?;
        ranges.push(range);
    }
    Ok(())
}

/// The first seq of each branch that has no place in the log yet: it arrived while the export began.
async fn waiting(passage: &Passage<'_>) -> Result<BTreeMap<(StationId, u64, u64), u64>, Rejection> {
    let query = "SELECT station_id, epoch_n, branch, min(first_seq) AS first_seq FROM waiting
        GROUP BY station_id, epoch_n, branch";
    let rows = passage.transaction.query(query, &[]).await?;
    let place = |row: &Row| -> Result<_, DatabaseError> {
        let epoch = count(row.try_get("epoch_n")?, "waiting.epoch_n")?;
        let branch = count(row.try_get("branch")?, "waiting.branch")?;
        let first = count(row.try_get("first_seq")?, "waiting.first_seq")?;
        Ok(((StationId(row.try_get("station_id")?), epoch, branch), first))
    };
    Ok(rows.iter().map(place).collect::<Result<_, _>>()?)
}

/// Certificates, verdicts, other statements, and receipts.
pub(super) async fn frames(passage: &Passage<'_>, to: &mut Directory) -> Result<(), Rejection> {
    let certificates = "SELECT c.bytes FROM leaf l
        JOIN certificate c ON c.tenant_id = l.tenant_id AND c.serial = l.certificate_serial
        WHERE l.kind = 'certificate' ORDER BY l.tenant_id, l.index";
    let of_kind = "SELECT bytes FROM leaf WHERE kind = $1 ORDER BY tenant_id, index";
    let receipts = "SELECT bytes FROM receipt ORDER BY tenant_id, station_id, number";
    for (path, query, kind) in [
        (CERTIFICATES, certificates, None),
        (VERDICTS, of_kind, Some("verdict")),
        (STATEMENTS, of_kind, Some("statement")),
        (RECEIPTS, receipts, None),
    ] {
        let mut output = to.output(path);
        let kind = kind.as_ref().map(|kind| kind as &(dyn ToSql + Sync));
        each(passage, query, kind.as_slice(), |row| Ok(to.write(&mut output, row.try_get("bytes")?)?))
            .await?;
        to.finish(output)?;
    }
    Ok(())
}

/// A checkpoint for each state of the log that one was ever signed for.
pub(super) async fn checkpoints(passage: &Passage<'_>, to: &mut Directory) -> Result<(), Rejection> {
    let keys = certificates::tenant_key(passage, KeyUse::Log).await?;
    let mut output = to.output(CHECKPOINTS);
    let mut first = true;
    let query = "SELECT generation, size, root FROM tree ORDER BY tenant_id, size";
    each(passage, query, &[], |row| {
        let root = Hash::from_slice(row.try_get("root")?).map_err(|_| DatabaseError::Column("tree.root"))?;
        let checkpoint = Checkpoint {
            tenant: passage.tenant,
            generation: count(row.try_get("generation")?, "tree.generation")?,
            head: TreeHead { size: count(row.try_get("size")?, "tree.size")?, root },
        };
        if !std::mem::take(&mut first) {
            to.write(&mut output, b"\n")?;
        }
        Ok(to.write(&mut output, checkpoint.sign(&keys).as_bytes())?)
    })
    .await?;
    Ok(to.finish(output)?)
}

/// Every page of every site, each with its point, signed now.
pub(super) async fn feed(passage: &Passage<'_>, to: &mut Directory, keys: &KeyPair) -> Result<(), Rejection> {
    let mut output = to.output(FEED);
    let query = "SELECT site_id, cursor, hash, page FROM feed_page ORDER BY tenant_id, site_id, cursor";
    each(passage, query, &[], |row| {
        let statement =
            feed::sign_point(passage, keys, SiteId(row.try_get("site_id")?), feed::read_point(row)?)?;
        for part in [statement.as_slice(), row.try_get("page")?] {
            let length = u32::try_from(part.len()).map_err(|_| DatabaseError::Column("feed_page.page"))?;
            to.write(&mut output, &length.to_be_bytes())?;
            to.write(&mut output, part)?;
        }
        Ok(())
    })
    .await?;
    Ok(to.finish(output)?)
}

/// Evidence: frames back to back; what is no frame lies in a file of its own, named by its hash.
pub(super) async fn evidence(passage: &Passage<'_>, to: &mut Directory) -> Result<(), Rejection> {
    let mut output = to.output(EVIDENCE);
    let mut loose = BTreeSet::new();
    let query = "SELECT bytes FROM evidence ORDER BY tenant_id, station_id, hash";
    each(passage, query, &[], |row| {
        let bytes: &[u8] = row.try_get("bytes")?;
        if Frame::read(bytes).is_ok() {
            return Ok(to.write(&mut output, bytes)?);
        }
        // The same bytes of two stations are one file.
        let hash = Hash::of(bytes);
        if loose.insert(hash) {
            let mut blob = to.output(format!("{BLOBS}/{hash}"));
            to.write(&mut blob, bytes)?;
            to.finish(blob)?;
        }
        Ok(())
    })
    .await?;
    Ok(to.finish(output)?)
}
