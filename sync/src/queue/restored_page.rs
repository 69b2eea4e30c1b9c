//! The page of reference data after a restore of the cloud: its feed may have gone back with its log.

use super::error::{KeepPageError, QueueError};
use super::writer::Writer;
use super::{PageMark, Queue, StopReason, settle};
use lotgate_domain::statement::{FeedPoint, Signed};

impl Queue {
    /// Whether a restore of the cloud's log was accepted since the page that is here was last confirmed.
    ///
    /// # Errors
    /// [`QueueError`].
    pub async fn page_outlived_restore(&self) -> Result<bool, QueueError> {
        self.write(|writer| writer.page_outlived_restore()).await.unwrap_or(Err(QueueError::Closed))
    }

    /// Puts another page in the place of the one that is here, whatever its number and time: the newest of a feed
    /// that was read from its start. Only after [`Queue::page_outlived_restore`].
    ///
    /// # Errors
    /// [`KeepPageError`]; the page that was here stays. `Inconsistent` if there was no such restore.
    pub async fn replace_page(&self, point: Signed<FeedPoint>, page: Vec<u8>) -> Result<(), KeepPageError> {
        let done = self.write(move |writer| writer.replace_page(&point, &page)).await;
        done.unwrap_or(Err(KeepPageError::Queue(QueueError::Closed)))
    }
}

impl Writer {
    fn page_outlived_restore(&self) -> Result<bool, QueueError> {
        let connection =
            self.connection.as_ref().ok_or(QueueError::Stopped(self.stopped.unwrap_or(StopReason::Io)))?;
        let query = "SELECT EXISTS (SELECT 1 FROM reference_page JOIN log_recovered \
                                    ON log_recovered.generation > reference_page.generation)";
        connection.query_row(query, [], |row| row.get(0)).map_err(|error| QueueError::Storage(error.into()))
    }

    fn replace_page(&mut self, point: &Signed<FeedPoint>, page: &[u8]) -> Result<(), KeepPageError> {
        let (identity, value) = (&self.composer.identity, &point.value);
        if value.site != identity.site.id || value.tenant != identity.tenant {
            return Err(KeepPageError::Foreign);
        }
        if !self.page_outlived_restore()? {
            return Err(KeepPageError::Inconsistent);
        }
        let confirmed = self.composer.clock.read();
        let mark = PageMark { cursor: value.cursor, hash: value.hash, time: value.time, confirmed };
        self.transact(|transaction, after| {
            settle::store_page(transaction, &mark, page)?;
            settle::confirm_page(transaction, &mark, after.log.known.generation, &point.bytes)?;
            after.page = Some(mark);
            after.clock.snapshot = Some(mark.time);
            Ok(())
        })?;
        Ok(())
    }
}
