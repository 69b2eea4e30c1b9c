//! Queue and devices.

use super::site::{Values, ago};
use super::{Scene, scene};
use lotgate_devices::event::{DeviceState, PrinterState};
use lotgate_domain::operation::Clock;
use lotgate_station::screen::{Known, Page};
use lotgate_sync::engine::failure::{FailureCode, InconsistencyCode};
use lotgate_sync::engine::status::Link;
use lotgate_sync::queue::QueueAlarm;

pub(super) fn scenes(values: &Values) -> Vec<Scene> {
    let page = |mut known: Known| {
        known.page = Page::Devices;
        known
    };
    let offline = values.known_with(|works| values.offline(works, Link::Offline));
    let trouble = values.known_with(|works| {
        values.offline(works, Link::ServerInconsistent);
        works.sync.engine.failure = Some(FailureCode::Inconsistent(InconsistencyCode::LogRewritten));
        works.clock = Clock::RolledBack;
        works.devices = (1..=3).map(|number| values.scanner(number)).collect();
        for (device, state) in works.devices.iter_mut().zip([
            DeviceState::Unplugged,
            DeviceState::Denied,
            DeviceState::Ambiguous,
        ]) {
            device.state = state;
            device.heard = None;
        }
        works.printer.iter_mut().for_each(|printer| printer.state = PrinterState::Silent);
        works.queue.alarms = [QueueAlarm::QueueSetAside, QueueAlarm::ServerInconsistent].into();
        works.queue.unconfirmed = true;
        works.sync.alarms = works.queue.alarms.iter().map(|alarm| alarm.as_str().to_owned()).collect();
    });
    let every_alarm = values.known_with(|works| {
        works.queue.alarms = QueueAlarm::ALL.into();
        works.sync.alarms = QueueAlarm::ALL.iter().map(|alarm| alarm.as_str().to_owned()).collect();
    });
    let no_printer = values.known_with(|works| {
        works.printer = None;
        works.devices.clear();
        works.reference = None;
        works.clock = Clock::Unsynced;
        works.queue = values.queue(0, ago(0));
    });
    let days_ago = values.known_with(|works| {
        values.offline(works, Link::Offline);
        let at = Some(ago(3 * 24 * 3600));
        works.devices.iter_mut().for_each(|device| device.heard = at);
        works.printer.iter_mut().for_each(|printer| {
            (printer.state, printer.heard) = (PrinterState::Unreachable, at);
        });
        (works.sync.last_contact_at, works.away_since) = (at, at);
    });
    let scenes = [
        ("devices", page(values.known())),
        ("devices-offline", page(offline)),
        ("devices-trouble", page(trouble)),
        ("devices-every-alarm", page(every_alarm)),
        ("devices-none", page(no_printer)),
        ("devices-days-ago", page(days_ago)),
    ];
    scenes.iter().map(|(name, known)| scene(name, values.suffix, known)).collect()
}
