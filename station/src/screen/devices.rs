//! The screen of queue and devices: what works, what waits, and how fresh the station's knowledge is.

use super::compose::{action, age, language_action, net_key, since_when, when};
use super::known::{DeviceNow, Known, PrinterNow, Works};
use super::{Action, DeviceRow, Devices, Fact, Main, Mark, Place, Request, Text};
use lotgate_devices::event::{DeviceState, PrinterState};
use lotgate_domain::operation::Clock;
use lotgate_sync::engine::status::Link;

/// Of which the screen speaks.
const MEGABYTE: u64 = 1_000_000;
/// Rows that the panel shows without scrolling; stations with more scanners show those that are not ready first.
const SHOWN: usize = 7;

pub(super) fn main(known: &Known, works: &Works) -> Main {
    let queue = &works.queue;
    let settled = queue.settled_through.map_or(0, |point| point.seq);
    let sent = queue.sent_through.map_or(0, |point| point.seq).saturating_sub(settled);
    Main::Devices(Devices {
        rows: rows(known, works),
        waiting: queue.queued,
        sent: sent.min(queue.queued),
        settled,
        network: network(known, works),
        facts: facts(works),
        alarms: works.alarms().into_iter().map(Text::of).collect(),
    })
}

pub(super) fn actions(known: &Known, works: &Works) -> Vec<Action> {
    let back = action(Place::Back, "chevron-left", "act_back", Some(Request::ShowScan));
    let last = match works.sync.engine.link {
        Link::Online => action(Place::Waits, "cloud", "act_online", None),
        _ => action(Place::Primary, "refresh-cw", "act_try_now", Some(Request::TryNow)),
    };
    vec![back, language_action(known), last]
}

fn network(known: &Known, works: &Works) -> Text {
    let engine = &works.sync.engine;
    match (engine.link, engine.failure, works.sync.last_contact_at) {
        (Link::Online, _, Some(at)) => Text::of("network_heard").with("time", since_when(known, at)),
        (_, Some(failure), _) => Text::of(failure.as_str()),
        (link, None, _) => Text::of(net_key(link)),
    }
}

fn rows(known: &Known, works: &Works) -> Vec<DeviceRow> {
    let mut devices: Vec<&DeviceNow> = works.devices.iter().collect();
    devices.sort_by_key(|device| device.state == DeviceState::Ready);
    let others = 3 + usize::from(works.printer.is_some());
    devices.truncate(SHOWN.saturating_sub(others));
    devices.sort_by_key(|device| device.number);
    let mut rows: Vec<DeviceRow> = devices.into_iter().map(|device| scanner(known, device)).collect();
    rows.extend(works.printer.as_ref().map(|printer| printer_row(known, printer)));
    rows.push(clock(known, works));
    rows.push(keys(works));
    rows.push(disk(works));
    rows
}

pub(super) fn device_name(device: &DeviceNow) -> Text {
    match &device.name {
        Some(name) => Text::plain(name),
        None => Text::of("dev_scanner").with("n", device.number),
    }
}

fn scanner(known: &Known, device: &DeviceNow) -> DeviceRow {
    let ready = device.state == DeviceState::Ready;
    DeviceRow {
        name: device_name(device),
        detail: detail(&device.id, device.simulated),
        heard: device.heard.map(|at| when(known, at)),
        state: Text::of(&format!("dev_state_{}", device.state.code())),
        mark: if ready { Mark::Ready } else { Mark::Fault },
    }
}

/// The last part of a long path, since the beginning of all of them is the same.
fn detail(id: &str, simulated: bool) -> Text {
    let short = id.rsplit('/').next().unwrap_or(id);
    let key = if simulated { "dev_simulated" } else { "plain" };
    Text::of(key).with("value", short)
}

fn printer_row(known: &Known, printer: &PrinterNow) -> DeviceRow {
    let state = printer.state;
    DeviceRow {
        name: printer.name.as_ref().map_or_else(|| Text::of("dev_printer"), Text::plain),
        detail: detail(printer.id.trim_start_matches("tcp:"), printer.simulated),
        heard: printer.heard.map(|at| when(known, at)),
        state: Text::of(&format!("dev_state_{}", state.code())),
        mark: match state {
            PrinterState::Ready | PrinterState::Opening | PrinterState::Busy => Mark::Ready,
            PrinterState::PaperOut
            | PrinterState::RibbonOut
            | PrinterState::HeadOpen
            | PrinterState::Paused => Mark::NeedsYou,
            PrinterState::Unreachable
            | PrinterState::Silent
            | PrinterState::Temperature
            | PrinterState::NotZpl => Mark::Fault,
        },
    }
}

fn clock(known: &Known, works: &Works) -> DeviceRow {
    let heard = works.sync.last_contact_at.map(|at| when(known, at));
    let (state, mark) = match works.clock {
        Clock::Ok => ("dev_clock_ok", Mark::Ready),
        Clock::Unsynced => ("dev_clock_unsynced", Mark::NeedsYou),
        Clock::RolledBack => ("dev_clock_wrong", Mark::Fault),
        Clock::Accepted => ("dev_clock_accepted", Mark::NeedsYou),
    };
    let detail = Text::of("dev_clock_detail");
    DeviceRow { name: Text::of("dev_clock"), detail, heard, state: Text::of(state), mark }
}

fn keys(works: &Works) -> DeviceRow {
    DeviceRow {
        name: Text::of("dev_keys"),
        detail: Text::of(&format!("dev_keys_{}", works.key_protection)),
        heard: None,
        state: Text::of("dev_state_ready"),
        mark: Mark::Ready,
    }
}

fn disk(works: &Works) -> DeviceRow {
    use lotgate_sync::queue::CapacityLevel::{Alarm, Full, Ok, Warn};
    let capacity = works.queue.capacity;
    let (state, mark) = match (works.queue.stopped, capacity.level) {
        (Some(_), _) => ("dev_disk_stopped", Mark::Fault),
        (None, Ok) => ("dev_state_ready", Mark::Ready),
        (None, Warn) => ("dev_disk_filling", Mark::NeedsYou),
        (None, Alarm) => ("dev_disk_nearly_full", Mark::NeedsYou),
        (None, Full) => ("dev_disk_full", Mark::Fault),
    };
    let detail = capacity.disk_free.map_or_else(
        || Text::of("dev_disk_unknown"),
        |free| Text::of("dev_disk_free").with("n", free / MEGABYTE),
    );
    DeviceRow { name: Text::of("dev_disk"), detail, heard: None, state: Text::of(state), mark }
}

fn facts(works: &Works) -> Vec<Fact> {
    let fact = |name: &str, value| Fact { name: Text::of(name), value };
    let log = works
        .queue
        .log
        .last
        .as_ref()
        .map_or_else(|| Text::of("fact_none"), |mark| Text::of("fact_log_is").with("n", mark.head.size));
    let lots = match &works.reference {
        Some(_) => age(works.reference_age_ms),
        None => Text::of("fact_none"),
    };
    vec![fact("fact_log", log), fact("fact_lots", lots), fact("fact_version", Text::plain(&works.version))]
}
