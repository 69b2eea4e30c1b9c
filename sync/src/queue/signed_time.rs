//! The cloud's signed time, kept where the operations find it.

use super::error::QueueError;
use super::writer::Writer;
use super::{Queue, standing};
use lotgate_domain::statement::Signed;
use lotgate_domain::statement::event::TimeStatement;

impl Queue {
    /// Keeps a verified answer to a question with a nonce: the trusted time from now on
    /// ([`crate::clock::ClockMemory::take_fresh`]).
    ///
    /// # Errors
    /// [`QueueError`]; what was known of time stays then.
    pub async fn keep_time(&self, signed: Signed<TimeStatement>) -> Result<(), QueueError> {
        self.write(move |writer| writer.keep_time(&signed)).await.ok_or(QueueError::Closed)?
    }
}

impl Writer {
    fn keep_time(&mut self, signed: &Signed<TimeStatement>) -> Result<(), QueueError> {
        let reading = self.composer.clock.read();
        self.transact(|transaction, after| {
            after.clock.take_fresh(signed.value.time, reading);
            after.mark_position = after.position;
            standing::store_clock(transaction, &after.clock, after.mark_position)
        })
    }
}
