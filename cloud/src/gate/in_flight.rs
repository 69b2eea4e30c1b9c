//! How many passages of one station run at once, so that no station takes the connections of the others.

use lotgate_domain::ids::{StationId, TenantId};
use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::{Mutex, MutexGuard, PoisonError};

type Running = HashMap<(TenantId, StationId), u64>;

/// What is running now in this process, by station. Who has nothing running takes no space.
#[derive(Debug, Default)]
pub struct InFlight(Mutex<Running>);

/// One passage that runs, until it is dropped.
#[derive(Debug)]
pub struct Permit<'a> {
    all: &'a InFlight,
    station: (TenantId, StationId),
}

impl InFlight {
    /// A permit, unless `most` of the station's passages run already.
    #[must_use]
    pub fn begin(&self, tenant: TenantId, station: StationId, most: u64) -> Option<Permit<'_>> {
        let station = (tenant, station);
        let mut running = self.running();
        let count = running.get(&station).copied().unwrap_or_default();
        if count >= most {
            return None;
        }
        running.insert(station, count.saturating_add(1));
        Some(Permit { all: self, station })
    }

    fn running(&self) -> MutexGuard<'_, Running> {
        // A count is changed in one step, so it is right even after a panic.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Permit<'_> {
    fn drop(&mut self) {
        if let Entry::Occupied(mut count) = self.all.running().entry(self.station) {
            *count.get_mut() = count.get().saturating_sub(1);
            if *count.get() == 0 {
                count.remove();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_station_has_its_own_permits_and_gives_them_back() {
        let all = InFlight::default();
        let tenant = TenantId::from_parts(1, &[1; 10]);
        let [one, other] = [1, 2].map(|n| StationId::from_parts(n, &[1; 10]));
        let first = all.begin(tenant, one, 2);
        let second = all.begin(tenant, one, 2);
        assert!(first.is_some() && second.is_some());
        assert!(all.begin(tenant, one, 2).is_none(), "two are the most");
        assert!(all.begin(tenant, other, 2).is_some(), "another station has its own");
        drop(first);
        let third = all.begin(tenant, one, 2);
        assert!(third.is_some(), "given back");
        drop((second, third));
        assert!(all.running().is_empty(), "nothing is left of a station that has nothing running");
    }
}
