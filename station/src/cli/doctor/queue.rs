//! The queue: sound at its end, not rolled back, how full, recoverable, at one with the cloud's log.

use super::super::site::Site;
use super::super::status::running_sync;
use super::super::{Exit, Failure, language, system_clock, word};
use super::Check;
use lotgate_domain::operation::Clock as ClockState;
use lotgate_sync::clock::Clock as _;
use lotgate_sync::engine::status::Link;
use lotgate_sync::queue::{CapacityLevel, QueueAlarm, QueueState, QueueView, set_aside_files};
use lotgate_sync::secure::recovery::RecoveryState;

pub(super) fn check(site: &Site, view: &QueueView) -> Vec<Check> {
    let state = match view.state() {
        Ok(state) => state,
        Err(error) => return vec![Check::fail("queue", error.into())],
    };
    let mut checks = vec![
        match view.check_ends() {
            Ok(()) => Check::ok("queue", format!("encrypted, sound at both ends; {} waiting", state.queued)),
            Err(error) => Check::fail("queue", error.into()),
        },
        match view.check_anchor() {
            Ok(()) => Check::ok("rollback_anchor", "fits the queue"),
            Err(error) => Check::fail("rollback_anchor", error.into()),
        },
        Check::note("only_the_cloud", "only_the_cloud_finds"),
        check_epoch(&state),
        check_set_aside(site),
        check_capacity(&state),
        check_disk(&state),
        check_recovery(view),
        check_clock(&state),
        check_log(&state),
    ];
    let alarmed = |alarm| state.alarms.contains(&alarm);
    checks.push(if alarmed(QueueAlarm::ServerInconsistent) {
        Check::warn("contradictions", "server_inconsistent", "both sides are kept in the queue")
    } else {
        Check::ok("contradictions", "none that waits for a person")
    });
    checks.push(check_sync(site));
    checks
}

fn check_epoch(state: &QueueState) -> Check {
    let detail =
        format!("epoch {}, operation {}", state.head.epoch.map_or(0, |epoch| epoch.n), state.head.seq);
    if state.unconfirmed {
        Check::warn("epoch", QueueAlarm::EpochUnconfirmed.as_str(), detail)
    } else {
        Check::ok("epoch", detail)
    }
}

fn check_set_aside(site: &Site) -> Check {
    match set_aside_files(&site.places) {
        Ok(names) if names.is_empty() => Check::ok("set_aside", "nothing"),
        Ok(names) => Check::warn("set_aside", QueueAlarm::QueueSetAside.as_str(), names.join(", ")),
        Err(error) => Check::fail("set_aside", Failure::new(Exit::Queue, "disk_io", error.to_string())),
    }
}

fn check_capacity(state: &QueueState) -> Check {
    let detail = format!("{} of {} operations", state.capacity.queued, state.capacity.limit);
    let by_count = [QueueAlarm::QueueFilling, QueueAlarm::QueueNearlyFull, QueueAlarm::QueueFull];
    match by_count.into_iter().find(|alarm| state.alarms.contains(alarm)) {
        None => Check::ok("capacity", detail),
        Some(full @ QueueAlarm::QueueFull) => {
            Check::fail("capacity", Failure::new(Exit::Queue, full.as_str(), detail))
        }
        Some(alarm) => Check::warn("capacity", alarm.as_str(), detail),
    }
}

fn check_disk(state: &QueueState) -> Check {
    let free = state.capacity.disk_free;
    let detail = free.map_or("cannot be told".to_owned(), |free| format!("{} MiB free", free >> 20));
    if state.alarms.contains(&QueueAlarm::DiskVeryLow) && state.capacity.level == CapacityLevel::Full {
        Check::fail("disk", Failure::new(Exit::Queue, QueueAlarm::DiskVeryLow.as_str(), detail))
    } else if state.alarms.contains(&QueueAlarm::DiskLow) {
        Check::warn("disk", QueueAlarm::DiskLow.as_str(), detail)
    } else {
        Check::ok("disk", detail)
    }
}

fn check_recovery(view: &QueueView) -> Check {
    match view.recovery() {
        Ok(RecoveryState::Sealed) => Check::ok("recovery", "the queue's key is sealed to both holders"),
        Ok(RecoveryState::NoHolders) => Check::warn("recovery", "recovery_no_holders", ""),
        Ok(state @ (RecoveryState::Missing | RecoveryState::Stale)) => {
            Check::warn("recovery", "recovery_not_sealed", state.as_str())
        }
        Err(error) => Check::fail("recovery", error.into()),
    }
}

/// Against the time that the cloud signed.
fn check_clock(state: &QueueState) -> Check {
    let reading = system_clock().read();
    let offset = state.clock.trusted_now(&reading).map(|now| reading.wall.ms_since(now));
    let detail = offset.map_or("no signed time since the machine started".to_owned(), |offset| {
        format!("{offset} ms ahead of the time that the cloud signed")
    });
    match state.clock.state(&reading) {
        ClockState::Ok | ClockState::Accepted => Check::ok("clock", detail),
        ClockState::Unsynced if offset.is_none() => Check::warn("clock", "clock_unsynced", detail),
        ClockState::Unsynced | ClockState::RolledBack => {
            Check::fail("clock", Failure::new(Exit::Clock, "clock_differs", detail))
        }
    }
}

fn check_log(state: &QueueState) -> Check {
    let detail = match state.log.last {
        Some(mark) => {
            format!("generation {}, {} leaves, root {}", mark.generation, mark.head.size, mark.head.root)
        }
        None => "no checkpoint of the cloud's log yet".to_owned(),
    };
    if state.alarms.contains(&QueueAlarm::LogRecovered) {
        Check::warn("log", QueueAlarm::LogRecovered.as_str(), detail)
    } else {
        Check::ok("log", detail)
    }
}

/// What the running agent says of its way to the cloud.
fn check_sync(site: &Site) -> Check {
    let Some(shown) = running_sync(&site.places) else { return Check::ok("sync", "no agent runs") };
    let next = shown.retry_at.map_or(String::new(), |at| format!("; next try {at}"));
    let detail = format!("{}{next}", word(&shown.link));
    let known = shown.failure.as_deref().and_then(|code| language().codes().find(|known| *known == code));
    match (shown.link, known) {
        (Link::Online | Link::Connecting | Link::Paused, _) => Check::ok("sync", detail),
        (_, Some(code)) => Check::warn("sync", code, detail),
        (_, None) => Check::warn("sync", "unreachable", detail),
    }
}
