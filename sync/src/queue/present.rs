//! Who the station is now: identity and keys, which a new key changes while the queue is open.

use super::check::Keyring;
use super::identity::Identity;
use crate::secure::StationKeys;
use std::sync::{Arc, Mutex, PoisonError};

/// Identity, present keys, and all keys ready for checking.
pub(super) struct Own {
    pub(super) identity: Arc<Identity>,
    pub(super) keys: StationKeys,
    pub(super) keyring: Keyring,
}

/// Shared by writer, reader and handle; the writer alone changes it.
#[derive(Clone)]
pub(super) struct Present(Arc<Mutex<Arc<Own>>>);

impl Present {
    pub(super) fn new(own: Own) -> Self {
        Self(Arc::new(Mutex::new(Arc::new(own))))
    }

    pub(super) fn get(&self) -> Arc<Own> {
        Arc::clone(&self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    pub(super) fn set(&self, own: Own) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Arc::new(own);
    }
}
