//! Reference data: from the cloud's pages to what the station decides on (PROTOCOL §5).
//!
//! After a restore of the cloud its feed may stand before what the station has, or go on from there in another
//! way. Where a restore was accepted and the feed contradicts the page that is here, the feed is read anew from
//! its start, in memory; only when its end is reached and confirmed, its newest page takes the place of the old
//! one, which is decided on until then.

use super::Reference;
use super::desk::{Desk, Unsettled, contradiction, expected, failed, lock};
use crate::engine::answer::{self, FeedState, FeedStep};
use crate::engine::failure::{Failure, InconsistencyCode, QueueCode};
use crate::engine::{Reach, Reply};
use crate::queue::{Identity, KeepPageError};
use lotgate_domain::ids::{Hash, SiteId};
use lotgate_domain::protocol::{CloudApi, FeedReply};
use lotgate_domain::reference::Snapshot;
use serde_json::json;
use std::fmt::Display;
use std::sync::Arc;

/// How far the feed was read.
#[derive(Debug)]
pub(super) struct Feed {
    /// What the next page follows.
    pub(super) known: FeedState,
    /// Set while it is read anew.
    anew: Option<Anew>,
}

/// What was found of a feed that is read anew.
#[derive(Debug, Default)]
struct Anew {
    newest: Option<(Vec<u8>, Arc<Snapshot>)>,
}

impl Feed {
    /// As far as the queue has it.
    pub(super) fn at(known: FeedState) -> Self {
        Self { known, anew: None }
    }

    fn start_anew(&mut self, site: SiteId) {
        *self = Self { known: FeedState::start(site), anew: Some(Anew::default()) };
    }
}

impl<C> Desk<C>
where
    C: CloudApi + Reach + Send + Sync,
    C::Error: Into<Failure> + Display + Send,
{
    /// Pulls the page after `after`.
    pub(super) async fn pull_feed(&self, after: u64) -> Result<Reply, Failure> {
        let (identity, known) = (self.queue.identity(), lock(&self.feed).known);
        if known.cursor != after {
            // It is read anew: the engine goes on from there.
            return Ok(Reply::Feed { cursor: known.cursor, more: true });
        }
        let generation = || self.queue.state().borrow().log.generation;
        let before = generation();
        let reply = self.cloud.feed(after).await.map_err(|error| failed("feed", error))?;
        if generation() != before {
            // It may be an answer from before a restore, and would count as one from after it.
            return Ok(Reply::Feed { cursor: after, more: true });
        }
        let told = json!({
            "statement": reply.statement.as_ref().map(hex::encode),
            "page_sha256": reply.page.as_ref().map(|page| Hash::of(page)),
        });
        match self.follow_feed(&identity, known, reply).await {
            Err(Unsettled::Failure(failure)) => Err(failure),
            Err(Unsettled::Inconsistent(code)) => {
                let ours = json!({ "cursor": known.cursor, "hash": known.hash });
                self.contradicted(contradiction(code, &told, &ours)).await;
                self.consider_reading_anew(&identity, code).await;
                Err(code.into())
            }
            Ok(more) => Ok(Reply::Feed { cursor: lock(&self.feed).known.cursor, more }),
        }
    }

    /// Begins anew with a feed that contradicts what is here, if that can come from an accepted restore.
    async fn consider_reading_anew(&self, identity: &Identity, code: InconsistencyCode) {
        if !matches!(code, InconsistencyCode::FeedWentBack | InconsistencyCode::FeedBroken) {
            return;
        }
        match self.queue.page_outlived_restore().await {
            Ok(true) => {
                tracing::warn!("the feed is read anew after a restore of the cloud");
                lock(&self.feed).start_anew(identity.site.id);
            }
            Ok(false) => {}
            Err(error) => tracing::error!(%error, "queue.unreadable"),
        }
    }

    async fn follow_feed(
        &self,
        identity: &Identity,
        known: FeedState,
        reply: FeedReply,
    ) -> Result<bool, Unsettled> {
        let (more, snapshot) = match answer::check_feed(expected(identity), known, reply)? {
            FeedStep::Nothing => (false, None),
            FeedStep::Confirmed(_) if known.cursor == 0 => (false, None),
            FeedStep::Confirmed(point) => {
                let newest = lock(&self.feed).anew.as_mut().and_then(|anew| anew.newest.take());
                match newest {
                    None => {
                        self.queue.keep_page(point, None).await.map_err(|error| unkept(&error))?;
                        (false, None)
                    }
                    Some((page, snapshot)) => {
                        if let Err(error) = self.queue.replace_page(point, page).await {
                            lock(&self.feed).start_anew(identity.site.id);
                            return Err(unkept(&error));
                        }
                        lock(&self.feed).anew = None;
                        tracing::warn!(cursor = known.cursor, "reference.page_replaced");
                        (false, Some(snapshot))
                    }
                }
            }
            FeedStep::Page { point, page, snapshot } => {
                let next = FeedState { cursor: point.value.cursor, hash: point.value.hash };
                let snapshot: Arc<Snapshot> = Arc::from(snapshot);
                if lock(&self.feed).anew.is_some() {
                    let newest = Some((page, snapshot));
                    *lock(&self.feed) = Feed { known: next, anew: Some(Anew { newest }) };
                    return Ok(true);
                }
                self.queue.keep_page(point, Some(page)).await.map_err(|error| unkept(&error))?;
                lock(&self.feed).known = next;
                tracing::info!(cursor = next.cursor, lots = snapshot.lot_count(), "reference.page");
                (true, Some(snapshot))
            }
        };
        if let Some(mark) = self.queue.state().borrow().page {
            self.reference.send_modify(|known| {
                let snapshot = snapshot.or_else(|| known.take().map(|known| known.snapshot));
                *known = snapshot.map(|snapshot| Reference { snapshot, mark });
            });
        }
        Ok(more)
    }
}

fn unkept(error: &KeepPageError) -> Unsettled {
    tracing::error!(%error, "queue.page_not_kept");
    match error {
        KeepPageError::Inconsistent => InconsistencyCode::FeedWentBack.into(),
        KeepPageError::Foreign => InconsistencyCode::FeedInvalid.into(),
        KeepPageError::PageMissing => InconsistencyCode::FeedBroken.into(),
        KeepPageError::Queue(_) => Failure::from(QueueCode::QueueUnwritable).into(),
    }
}
