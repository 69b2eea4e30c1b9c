//! Turns a draft into the bytes of the next entry: the one place that gives epoch, seq, prev, `at` and the
//! signature.

use super::error::AppendError;
use super::identity::Identity;
use super::{Appended, Draft};
use crate::clock::{Clock, ClockMemory};
use crate::secure::{Random, StationKeys};
use lotgate_domain::chain::Head;
use lotgate_domain::entry;
use lotgate_domain::ids::{Epoch, OperationId};
use lotgate_domain::operation::{ALG, Operation, Program};
use std::sync::Arc;

/// Everything that goes into an entry beside the draft and the chain.
pub(super) struct Composer {
    pub(super) identity: Arc<Identity>,
    pub(super) keys: StationKeys,
    pub(super) program: Program,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) random: Arc<dyn Random>,
}

/// An entry that is ready to be written.
pub(super) struct Composed {
    pub(super) appended: Appended,
    pub(super) entry: Vec<u8>,
}

impl Composer {
    /// The same with another key.
    pub(super) fn with(&self, identity: Arc<Identity>, keys: StationKeys) -> Self {
        let (clock, random) = (Arc::clone(&self.clock), Arc::clone(&self.random));
        Self { identity, keys, program: self.program.clone(), clock, random }
    }

    /// Writes and signs the entry of `epoch` that follows `head` and will lie at `position`.
    pub(super) fn compose(
        &self,
        draft: Draft,
        epoch: Epoch,
        head: &Head,
        position: u64,
        memory: &ClockMemory,
    ) -> Result<Composed, AppendError> {
        let reading = self.clock.read();
        let id = match draft.id {
            Some(id) => id,
            None => self.new_id(reading.wall.unix_ms())?,
        };
        let same_epoch = head.epoch == Some(epoch);
        let (last, prev) =
            if same_epoch { (head.seq, head.hash) } else { (0, self.identity.certificate.hash) };
        let operation = Operation {
            v: 1,
            alg: ALG.to_owned(),
            key: self.identity.public_key().key_id(),
            id,
            tenant: self.identity.tenant,
            site: self.identity.site.id,
            station: self.identity.station,
            epoch,
            seq: last.saturating_add(1),
            prev,
            at: memory.at(&reading),
            actor: draft.actor,
            role: draft.role,
            reason: draft.reason,
            knew: draft.knew,
            state: draft.state,
            program: self.program.clone(),
            body: draft.body,
        };
        let entry =
            operation.write(&self.keys.signing).map_err(|error| AppendError::Invalid(Arc::new(error)))?;
        let appended = Appended {
            position,
            epoch,
            seq: operation.seq,
            id,
            kind: operation.body.kind(),
            hash: entry::hash(&entry),
            raw_hex: operation.body.raw_hex().map(str::to_owned),
            at: operation.at,
        };
        Ok(Composed { appended, entry })
    }

    /// Random bytes for the id of an epoch.
    pub(super) fn random_id(&self) -> Result<[u8; 16], AppendError> {
        let mut id = [0; 16];
        self.random.fill(&mut id)?;
        Ok(id)
    }

    fn new_id(&self, wall_ms: i64) -> Result<OperationId, AppendError> {
        let mut random = [0; 10];
        self.random.fill(&mut random)?;
        Ok(OperationId::from_parts(u64::try_from(wall_ms).unwrap_or(0), &random))
    }
}
