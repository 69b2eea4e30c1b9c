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

/// A name with a NUL could stand in no column.
fn check_names(file: &ReferenceFile) -> Result<(), Rejection> {
    let of_items = file.items.iter().map(|item| &item.item);
    let of_lots = file.lots.iter().flat_map(|lot| [&lot.lot, &lot.item]);
    if of_items.chain(of_lots).any(|name| name.is_empty() || name.chars().any(char::is_control)) {
        return Err(Rejection::BadRequest(
            "an item or a lot has a name that is empty or holds control characters",
        ));
    }
    Ok(())
}

async fn insert_page(
    passage: &Passage<'_>,
    site: SiteId,
    point: Point,
    page: &[u8],
) -> Result<(), Rejection> {
    let statement = feed::sign_point(passage, site, point).await?;
    passage
        .transaction
        .execute(
            "INSERT INTO feed_page (tenant_id, site_id, cursor, hash, page, statement, made_at)
             VALUES ($1, $2, $3, $4, $5, $6, $7)",
            &[
                &passage.tenant.0,
                &site.0,
                &big(point.cursor),
                &point.hash.0.as_slice(),
                &page,
                &statement,
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
    let expiries: Vec<Option<String>> =
        lots.iter().map(|lot| lot.expiry.map(|date| date.to_string())).collect();
    passage
        .transaction
        .execute(
            "INSERT INTO lot (tenant_id, site_id, item, lot, status, expiry)
             SELECT $1, $2, new.item, new.lot, new.status, new.expiry::date
             FROM unnest($3::text[], $4::text[], $5::text[], $6::text[]) AS new(item, lot, status, expiry)",
            &[&passage.tenant.0, &site.0, &items, &numbers, &statuses, &expiries],
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
