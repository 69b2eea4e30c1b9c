//! The locks that the database takes: five levels on its file, eight places in its shared memory.

use rusqlite::ffi;
use std::collections::{BTreeMap, BTreeSet};
use std::os::raw::c_int;

/// One opened file.
pub(super) type HandleId = u64;

/// The locks on one database file.
#[derive(Debug, Default)]
pub(super) struct FileLocks(BTreeMap<HandleId, c_int>);

impl FileLocks {
    fn others(&self, id: HandleId) -> c_int {
        self.0.iter().filter(|(other, _)| **other != id).map(|(_, level)| *level).max().unwrap_or(0)
    }

    pub(super) fn lock(&mut self, id: HandleId, wanted: c_int) -> bool {
        let held = self.0.get(&id).copied().unwrap_or(ffi::SQLITE_LOCK_NONE);
        if held >= wanted {
            return true;
        }
        let others = self.others(id);
        let free = match wanted {
            ffi::SQLITE_LOCK_SHARED => others < ffi::SQLITE_LOCK_PENDING,
            ffi::SQLITE_LOCK_RESERVED => others < ffi::SQLITE_LOCK_RESERVED,
            _ if others < ffi::SQLITE_LOCK_RESERVED => {
                self.0.insert(id, ffi::SQLITE_LOCK_PENDING);
                others < ffi::SQLITE_LOCK_SHARED
            }
            _ => false,
        };
        if free {
            self.0.insert(id, wanted);
        }
        free
    }

    pub(super) fn unlock(&mut self, id: HandleId, level: c_int) {
        if level == ffi::SQLITE_LOCK_NONE {
            self.0.remove(&id);
        } else {
            self.0.insert(id, level);
        }
    }

    pub(super) fn reserved(&self) -> bool {
        self.0.values().any(|level| *level >= ffi::SQLITE_LOCK_RESERVED)
    }
}

/// The locks in one shared memory.
#[derive(Debug, Default)]
pub(super) struct MemoryLocks(BTreeMap<c_int, Place>);

#[derive(Debug, Default)]
struct Place {
    shared: BTreeSet<HandleId>,
    exclusive: Option<HandleId>,
}

impl MemoryLocks {
    /// Locks or unlocks `count` places from `first` on.
    pub(super) fn change(&mut self, id: HandleId, first: c_int, count: c_int, flags: c_int) -> bool {
        let places = first..first.saturating_add(count);
        let exclusive = flags & ffi::SQLITE_SHM_EXCLUSIVE != 0;
        if flags & ffi::SQLITE_SHM_UNLOCK != 0 {
            places.for_each(|place| self.release(id, place));
            return true;
        }
        let free = places.clone().all(|place| {
            self.0.get(&place).is_none_or(|place| {
                let alone = place.shared.iter().all(|holder| *holder == id);
                place.exclusive.is_none_or(|holder| holder == id) && (!exclusive || alone)
            })
        });
        if free {
            for place in places {
                let place = self.0.entry(place).or_default();
                if exclusive {
                    place.exclusive = Some(id);
                } else {
                    place.shared.insert(id);
                }
            }
        }
        free
    }

    fn release(&mut self, id: HandleId, place: c_int) {
        if let Some(place) = self.0.get_mut(&place) {
            place.shared.remove(&id);
            if place.exclusive == Some(id) {
                place.exclusive = None;
            }
        }
    }

    pub(super) fn release_all(&mut self, id: HandleId) {
        let places: Vec<c_int> = self.0.keys().copied().collect();
        places.into_iter().for_each(|place| self.release(id, place));
    }
}
