//! `GET /v1/feed?after=N`: reference data, page by page (PROTOCOL §5, §9.18).
//!
//! The statement is signed anew for each answer, so that its time says when the page was still the one to have.

use crate::certificates;
use crate::database::{DatabaseError, big, count};
use crate::error::Rejection;
use crate::gate::audit::Change;
use crate::gate::{Access, Passage, Work};
use lotgate_domain::certificate::KeyUse;
use lotgate_domain::ids::{Hash, SiteId};
use lotgate_domain::protocol::FeedReply;
use lotgate_domain::signature::KeyPair;
use lotgate_domain::statement::{self, FeedPoint, Statement as _};
use serde_json::json;

/// Gives the page after a cursor.
#[derive(Debug, Clone, Copy)]
pub struct PullFeed {
    /// The last page that the station has; 0 for none. `None` where the query did not say it.
    pub after: Option<u64>,
}

impl PullFeed {
    /// Reads the query `after=N`. One that is not as specified is for the gate to reject, after the caller.
    #[must_use]
    pub fn of_query(query: &str) -> Self {
        Self { after: query.strip_prefix("after=").and_then(|after| after.parse().ok()) }
    }
}

/// Where a feed stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Point {
    /// Number of the page, from 1.
    pub cursor: u64,
    /// Hash of the feed up to it.
    pub hash: Hash,
}

/// A page as it is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredPage {
    /// Where it lies.
    pub point: Point,
    /// Its bytes.
    pub page: Vec<u8>,
}

impl Work for PullFeed {
    type Reply = FeedReply;
    const ACTION: &'static str = "feed.pulled";
    const ACCESS: Access = Access::Station;
    const WHILE_OPEN: bool = true;

    async fn run(self, passage: &Passage<'_>) -> Result<(FeedReply, Change), Rejection> {
        let site = passage.station()?.site;
        let after = self.after.ok_or(Rejection::BadRequest("query is not after=N"))?;
        let (point, page) = match page(passage, site, after.saturating_add(1)).await? {
            Some(StoredPage { point, page }) => (Some(point), Some(page)),
            None => (newest_point(passage, site).await?, None),
        };
        let Some(point) = point else {
            let change = Change::none(None, json!({"after": after, "cursor": null}));
            return Ok((FeedReply { statement: None, page: None }, change));
        };
        let keys = certificates::tenant_key(passage, KeyUse::Statement).await?;
        let statement = sign_point(passage, &keys, site, point)?;
        let detail = json!({"after": after, "cursor": point.cursor, "page": page.is_some()});
        let change = Change::none(Some(point.hash), detail);
        Ok((FeedReply { statement: Some(statement), page }, change))
    }
}

/// Signs where a site's feed stands, with the tenant's statement key.
///
/// # Errors
/// [`Rejection::Statement`].
pub fn sign_point(
    passage: &Passage<'_>,
    keys: &KeyPair,
    site: SiteId,
    point: Point,
) -> Result<Vec<u8>, Rejection> {
    let statement = FeedPoint {
        v: 1,
        kind: FeedPoint::KIND.to_owned(),
        tenant: passage.tenant,
        key: keys.public().key_id(),
        site,
        cursor: point.cursor,
        hash: point.hash,
        time: passage.now,
    };
    Ok(statement::sign(&statement, keys)?)
}

/// Where a site's feed stands now; `None` before the first page.
///
/// # Errors
/// The database's.
pub async fn newest_point(passage: &Passage<'_>, site: SiteId) -> Result<Option<Point>, DatabaseError> {
    let query = "SELECT cursor, hash FROM feed_page WHERE site_id = $1 ORDER BY cursor DESC LIMIT 1";
    let query = passage.transaction.prepare_cached(query).await?;
    passage.transaction.query_opt(&query, &[&site.0]).await?.as_ref().map(read_point).transpose()
}

/// A page of a site, if there is one with this number.
///
/// # Errors
/// The database's.
pub async fn page(
    passage: &Passage<'_>,
    site: SiteId,
    cursor: u64,
) -> Result<Option<StoredPage>, DatabaseError> {
    let query = "SELECT cursor, hash, page FROM feed_page WHERE site_id = $1 AND cursor = $2";
    let query = passage.transaction.prepare_cached(query).await?;
    let Some(row) = passage.transaction.query_opt(&query, &[&site.0, &big(cursor)]).await? else {
        return Ok(None);
    };
    Ok(Some(StoredPage { point: read_point(&row)?, page: row.try_get("page")? }))
}

/// Where a page lies, from its row.
pub(crate) fn read_point(row: &tokio_postgres::Row) -> Result<Point, DatabaseError> {
    let hash = Hash::from_slice(row.try_get("hash")?).map_err(|_| DatabaseError::Column("feed_page.hash"))?;
    Ok(Point { cursor: count(row.try_get("cursor")?, "feed_page.cursor")?, hash })
}
