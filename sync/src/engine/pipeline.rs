//! The batches between the queue and the cloud's verified answers, in the order in which they were read.

use super::action::{ActionId, Place};
use super::failure::Failure;
use super::lane::{Position, UnderWay};
use lotgate_domain::chain::Head;
use lotgate_domain::protocol::HeadReply;
use std::collections::VecDeque;

/// One batch.
#[derive(Debug)]
pub(super) struct Parcel {
    /// Id of the action that read it.
    pub(super) batch: ActionId,
    /// What it comes after.
    pub(super) from: Position,
    /// Its last entry, once it was read.
    pub(super) last: Option<Head>,
    pub(super) stage: Stage,
}

#[derive(Debug)]
pub(super) enum Stage {
    Reading,
    Read,
    Sent(UnderWay),
    Answered,
    Taking(ActionId),
    /// Waits for its turn to be told.
    Mismatched(Box<HeadReply>, Place),
    /// Waits for its turn to be told, with the era in which it was sent.
    Failed(Failure, u64),
}

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Pipeline(VecDeque<Parcel>);

impl Pipeline {
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    /// Drops every batch, whatever becomes of those that were sent; says where the first one began.
    pub(super) fn clear(&mut self) -> Option<Position> {
        let from = self.0.front().map(|parcel| parcel.from);
        self.0.clear();
        from
    }

    pub(super) fn begin(&mut self, batch: ActionId, from: Position) {
        self.0.push_back(Parcel { batch, from, last: None, stage: Stage::Reading });
    }

    /// The batch that the action is about.
    pub(super) fn find(&mut self, id: ActionId) -> Option<&mut Parcel> {
        self.0.iter_mut().find(|parcel| match &parcel.stage {
            Stage::Reading => parcel.batch == id,
            Stage::Sent(under_way) => under_way.id == id,
            Stage::Taking(taking) => *taking == id,
            Stage::Read | Stage::Answered | Stage::Mismatched(..) | Stage::Failed(..) => false,
        })
    }

    /// Whether a batch, or an action about one, is not done with.
    pub(super) fn awaits(&self, id: ActionId) -> bool {
        self.0.iter().any(|parcel| {
            parcel.batch == id
                || match &parcel.stage {
                    Stage::Sent(under_way) => under_way.id == id,
                    Stage::Taking(taking) => *taking == id,
                    _ => false,
                }
        })
    }

    pub(super) fn front(&self) -> Option<&Parcel> {
        self.0.front()
    }

    pub(super) fn pop_front(&mut self) -> Option<Parcel> {
        self.0.pop_front()
    }

    pub(super) fn pop_back(&mut self) -> Option<Parcel> {
        self.0.pop_back()
    }

    /// Whether there are batches, and none of them was sent yet.
    pub(super) fn is_unsent(&self) -> bool {
        self.front().is_some_and(|parcel| matches!(parcel.stage, Stage::Read))
    }

    /// The next batch to send: the first that was read and not sent. One of a later epoch waits until nothing of
    /// the earlier one is left here, for only then the cloud has all of that (PROTOCOL §9.13).
    pub(super) fn next_unsent(&mut self) -> Option<&mut Parcel> {
        let epoch = |parcel: &Parcel| parcel.last.and_then(|last| last.epoch);
        let first = self.front().and_then(epoch);
        let next = self.0.iter_mut().find(|parcel| matches!(parcel.stage, Stage::Read));
        next.filter(|next| epoch(next) == first)
    }

    /// The first batch, if its answer is there.
    pub(super) fn next_answered(&mut self) -> Option<&mut Parcel> {
        self.0.front_mut().filter(|parcel| matches!(parcel.stage, Stage::Answered))
    }

    pub(super) fn is_reading(&self) -> bool {
        self.0.iter().any(|parcel| matches!(parcel.stage, Stage::Reading))
    }

    pub(super) fn is_sending(&self) -> bool {
        self.0.iter().any(|parcel| matches!(parcel.stage, Stage::Sent(_)))
    }

    /// Whether a batch is on its way that was sent in this era of the link, or is being read.
    pub(super) fn is_busy(&self, era: u64) -> bool {
        self.0.iter().any(|parcel| match &parcel.stage {
            Stage::Reading => true,
            Stage::Sent(under_way) => under_way.era == era,
            _ => false,
        })
    }

    /// Whether a batch is on its way that was sent in another era of the link.
    pub(super) fn is_stale(&self, era: u64) -> bool {
        self.0.iter().any(|parcel| matches!(&parcel.stage, Stage::Sent(under_way) if under_way.era != era))
    }
}
