//! `lotgate-cloud reference import`: a site's reference data becomes the next page of its feed (PROTOCOL §9.18).

use crate::database::{self, DatabaseError, big, to_system_time};
use crate::enrol::read_site;
use crate::error::Rejection;
use crate::feed::{self, Point, StoredPage};
use crate::gate::audit::Change;
use crate::gate::{Access, Passage, Work};
use lotgate_domain::ids::{Hash, SiteId};
use lotgate_domain::reference::{Lot, LotStatus, ReferenceFile, feed_next, feed_start, render_page};
use serde_json::json;

/// Imports reference data.
#[derive(Debug)]
pub struct ImportReference {
    /// For which site.
    pub site: SiteId,
    /// All that its stations need to know of lots.
    pub file: ReferenceFile,
}

/// What an import gave.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Imported {
    /// The newest page now.
    pub cursor: u64,
    /// Hash of the feed up to it.
    pub hash: Hash,
    /// False if the newest page said the same already.
    pub changed: bool,
}

impl Work for ImportReference {
    type Reply = Imported;
    const ACTION: &'static str = "reference.imported";
    const ACCESS: Access = Access::Program;

    async fn run(self, passage: &Passage<'_>) -> Result<(Imported, Change), Rejection> {
        let site = read_site(passage, self.site).await?;
        check_names(&self.file)?;
        let page = render_page(&self.file, &site.zone)?;
        database::lock(passage.transaction, &format!("lotgate/feed/{}/{}", passage.tenant, self.site))
            .await?;
        let newest = match feed::newest_point(passage, self.site).await? {
            Some(point) => feed::page(passage, self.site, point.cursor).await?,
            None => None,
        };
        let before = newest.as_ref().map_or_else(|| feed_start(self.site), |newest| newest.point.hash);
        let detail = |cursor: u64| json!({"site": self.site, "cursor": cursor, "lots": self.file.lots.len()});
        if let Some(StoredPage { point, page: same }) = &newest
            && *same == page
        {
            let imported = Imported { cursor: point.cursor, hash: point.hash, changed: false };
            return Ok((imported, Change::none(Some(point.hash), detail(point.cursor))));
        }
        let point = Point {
            cursor: newest.map_or(1, |newest| newest.point.cursor.saturating_add(1)),
            hash: feed_next(before, &page),
        };
        insert_page(passage, self.site, point, &page).await?;
        replace_lots(passage, self.site, &self.file.lots).await?;
        let change = Change {
            enrolled: None,
            detail: detail(point.cursor),
            prior: Some(before),
            next: Some(point.hash),
        };
        Ok((Imported { cursor: point.cursor, hash: point.hash, changed: true }, change))
    }
}

/// The most bytes of a name or code: what is longer is a mistake in the file, and could stand in no index.
const LONGEST_NAME: usize = 128;

/// A name with a NUL could stand in no column.
fn check_names(file: &ReferenceFile) -> Result<(), Rejection> {
    let of_items = file.items.iter().map(|item| &item.item);
    let of_lots = file.lots.iter().flat_map(|lot| [&lot.lot, &lot.item]);
    if of_items.chain(of_lots).any(|name| name.is_empty() || name.chars().any(char::is_control)) {
        return Err(Rejection::BadRequest(
            "an item or a lot has a name that is empty or holds control characters",
        ));
    }
    let of_items = file.items.iter().map(|item| &item.item);
    let of_lots = file.lots.iter().flat_map(|lot| [&lot.lot, &lot.item].into_iter().chain(&lot.codes));
    if of_items.chain(of_lots).any(|name| name.len() > LONGEST_NAME) {
        return Err(Rejection::BadRequest("an item, a lot or a code is longer than 128 bytes"));
    }
    Ok(())
}

async fn insert_page(
    passage: &Passage<'_>,
    site: SiteId,
    point: Point,
    page: &[u8],
) -> Result<(), Rejection> {
    passage
        .transaction
        .execute(
            "INSERT INTO feed_page (tenant_id, site_id, cursor, hash, page, made_at)
             VALUES ($1, $2, $3, $4, $5, $6)",
            &[
                &passage.tenant.0,
                &site.0,
                &big(point.cursor),
                &point.hash.0.as_slice(),
                &page,
                &to_system_time(passage.now),
            ],
        )
        .await?;
    Ok(())
}

async fn replace_lots(passage: &Passage<'_>, site: SiteId, lots: &[Lot]) -> Result<(), DatabaseError> {
    passage.transaction.execute("DELETE FROM lot WHERE site_id = $1", &[&site.0]).await?;
    let items: Vec<&str> = lots.iter().map(|lot| lot.item.as_str()).collect();
    let numbers: Vec<&str> = lots.iter().map(|lot| lot.lot.as_str()).collect();
    let statuses: Vec<&str> = lots.iter().map(|lot| status_text(lot.status)).collect();
    passage
        .transaction
        .execute(
            "INSERT INTO lot (tenant_id, site_id, item, lot, status)
             SELECT $1, $2, new.item, new.lot, new.status
             FROM unnest($3::text[], $4::text[], $5::text[]) AS new(item, lot, status)",
            &[&passage.tenant.0, &site.0, &items, &numbers, &statuses],
        )
        .await?;
    Ok(())
}

const fn status_text(status: LotStatus) -> &'static str {
    match status {
        LotStatus::Released => "released",
        LotStatus::Quarantine => "quarantine",
        LotStatus::Hold => "hold",
        LotStatus::Rejected => "rejected",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use lotgate_domain::protocol::problem::ProblemCode;

    #[test]
    fn a_name_or_code_of_more_than_128_bytes_is_a_bad_request() {
        let file = |item: &str, lot: &str, code: &str| -> ReferenceFile {
            let lot = json!({"lot": lot, "item": item, "status": "released", "codes": [code]});
            serde_json::from_value(json!({"items": [{"item": item}], "lots": [lot]})).unwrap()
        };
        let (longest, longer) = ("x".repeat(128), format!("{}\u{e9}", "x".repeat(127)));
        assert!(check_names(&file(&longest, &longest, &longest)).is_ok(), "128 bytes");
        for (item, lot, code) in [(longer.as_str(), "l", "c"), ("i", &longer, "c"), ("i", "l", &longer)] {
            let problem = check_names(&file(item, lot, code)).unwrap_err().problem();
            assert_eq!(problem.code, ProblemCode::BadRequest, "128 characters, 129 bytes");
            assert!(problem.detail.is_some_and(|detail| detail.contains("128 bytes")), "{item} {lot} {code}");
        }
    }
}
