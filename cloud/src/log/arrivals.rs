//! Entries of pushes in progress in this process, between the two halves of their push. Whoever has the tenant's
//! turn takes them from here instead of reading them again; what is not here is read.

use lotgate_domain::ids::TenantId;
use lotgate_domain::ledger::StoredEntry;
use lotgate_domain::ledger::number::Fresh;
use std::collections::HashMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Mutex, MutexGuard, PoisonError};
use tokio::sync::Notify;

type Batches = HashMap<(TenantId, u64), Vec<StoredEntry>>;

/// Batches by tenant and arrival; who waits for one to arrive is woken.
#[derive(Debug, Default)]
pub struct Arrivals {
    batches: Mutex<Batches>,
    arrived: Notify,
}

/// A batch that is here until it is taken or its push ends.
#[derive(Debug)]
pub struct Arrived<'a> {
    all: &'a Arrivals,
    batch: (TenantId, u64),
}

impl Arrivals {
    /// Puts the entries of a batch that was committed, and wakes who waits for what it brought.
    #[must_use]
    pub fn put(&self, tenant: TenantId, arrival: u64, entries: Vec<StoredEntry>) -> Arrived<'_> {
        let batch = (tenant, arrival);
        self.batches().insert(batch, entries);
        self.arrived.notify_waiters();
        Arrived { all: self, batch }
    }

    /// Takes those of the batches that are here.
    pub(super) fn take(&self, tenant: TenantId, arrivals: impl Iterator<Item = u64>) -> Fresh {
        let mut batches = self.batches();
        arrivals.filter_map(|arrival| Some((arrival, batches.remove(&(tenant, arrival))?))).collect()
    }

    /// The next arrival of anybody, from this call on.
    pub fn next(&self) -> Pin<Box<impl Future<Output = ()> + '_>> {
        let mut next = Box::pin(self.arrived.notified());
        next.as_mut().enable();
        next
    }

    fn batches(&self) -> MutexGuard<'_, Batches> {
        // It is changed in one step, so it is right even after a panic.
        self.batches.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Arrived<'_> {
    fn drop(&mut self) {
        self.all.batches().remove(&self.batch);
    }
}
