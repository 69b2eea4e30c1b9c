//! What the agent makes of the station's reports: lines of `--events`, log lines with words, and what heartbeats
//! say of devices and refusals.

use super::super::language;
use crate::actor::Report;
use lotgate_devices::event::{DeviceInfo, DeviceState, PrinterEvent, PrinterState, Role};
use lotgate_domain::protocol::care::DeviceReport;
use lotgate_sync::queue::{AppendError, Appended};
use lotgate_sync::runner::{StationReport, SyncHandle};
use serde_json::json;
use std::collections::BTreeMap;
use std::io::Write as _;
use tokio::sync::mpsc;

/// Prints what the station reports. A line that cannot be written ends the printing, never the station's
/// promise: the operation is durable already.
pub(super) fn print(mut told: mpsc::Receiver<Report>, mut events: bool, sync: &SyncHandle) {
    let mut station = Told::default();
    while let Some(report) = told.blocking_recv() {
        if station.note(&report) {
            sync.report(station.report());
        }
        match report {
            Report::Committed { appended, .. } => {
                tracing::debug!(operation.id = %appended.id, operation.seq = appended.seq, "operation.committed");
                events = events && print_event(&appended);
            }
            Report::Device(device, DeviceState::Ready) => {
                tracing::info!(device.id = device.id, "device.ready");
            }
            Report::Device(device, state) => {
                let (code, text) = (state.code(), language().text(state.code()));
                tracing::warn!(device.id = device.id, code, text, "device.not_ready");
            }
            Report::Fault(device, fault) => {
                let (code, text) = (fault.code(), language().text(fault.code()));
                tracing::warn!(device.id = device.id, code, text, "device.fault");
            }
            Report::Printer(device, PrinterEvent::State(PrinterState::Ready)) => {
                tracing::info!(device.id = device.id, "device.ready");
            }
            Report::Printer(device, PrinterEvent::State(state)) => {
                let (code, text) = (state.code(), language().text(state.code()));
                tracing::warn!(device.id = device.id, code, text, "device.not_ready");
            }
            Report::Printer(device, PrinterEvent::Doubtful(_, doubt)) => {
                let (code, text) = (doubt.code(), language().text(doubt.text_code()));
                tracing::warn!(device.id = device.id, code, text, "print.doubtful");
            }
            Report::Printer(..) => {}
            Report::NotKept(error) => {
                let (code, text) = (error.code(), language().text(error.code()));
                tracing::error!(code, text, "operation.refused");
            }
            Report::NoLabel(code) => tracing::warn!(code, text = language().text(code), "label.refused"),
            Report::Repeated { .. } | Report::Jobs(_) | Report::Gone => {}
        }
    }
}

/// False once nobody reads any more.
fn print_event(appended: &Appended) -> bool {
    let mut out = std::io::stdout().lock();
    let printed = writeln!(out, "{}", event_line(appended)).and_then(|()| out.flush()).is_ok();
    if !printed {
        tracing::error!("nobody reads the events any more; the station goes on without printing them");
    }
    printed
}

fn event_line(appended: &Appended) -> String {
    let mut line = json!({
        "epoch": appended.epoch.n,
        "seq": appended.seq,
        "id": appended.id,
        "type": appended.kind,
        "hash": appended.hash,
    });
    if let (Some(raw), Some(members)) = (&appended.raw_hex, line.as_object_mut()) {
        members.insert("raw_hex".to_owned(), json!(raw));
    }
    line.to_string()
}

/// What was told so far, as heartbeats say it.
#[derive(Default)]
pub(crate) struct Told {
    /// By id, so that one role may have several.
    devices: BTreeMap<String, DeviceReport>,
    /// Why the last operation was not kept; `None` since one was.
    refusing: Option<&'static str>,
}

impl Told {
    /// Says whether anything changed.
    pub(crate) fn note(&mut self, report: &Report) -> bool {
        match report {
            Report::Device(device, DeviceState::Ready) => self.note_device(device, "open"),
            Report::Device(device, state) => self.note_device(device, state.code()),
            Report::Printer(device, PrinterEvent::State(PrinterState::Ready)) => {
                self.note_device(device, "open")
            }
            Report::Printer(device, PrinterEvent::State(state)) => self.note_device(device, state.code()),
            Report::Committed { .. } => self.refusing.take().is_some(),
            Report::NotKept(error) => {
                let code = refusal(error);
                code.is_some() && std::mem::replace(&mut self.refusing, code) != code
            }
            Report::Fault(..)
            | Report::Repeated { .. }
            | Report::Jobs(_)
            | Report::NoLabel(_)
            | Report::Gone
            | Report::Printer(..) => false,
        }
    }

    fn note_device(&mut self, device: &DeviceInfo, state: &'static str) -> bool {
        let role = match device.role {
            Role::Scanner => "scanner",
            Role::Printer => "printer",
        };
        let now = DeviceReport { role: role.to_owned(), state: state.to_owned() };
        self.devices.insert(device.id.clone(), now.clone()) != Some(now)
    }

    pub(crate) fn report(&self) -> StationReport {
        StationReport {
            devices: self.devices.values().cloned().collect(),
            disk_free: None,
            alarms: self.refusing.map(str::to_owned).into_iter().collect(),
        }
    }
}

/// Why nothing more is kept, where that is not about one operation alone.
fn refusal(error: &AppendError) -> Option<&'static str> {
    match error {
        AppendError::Stopped(reason) => Some(reason.code()),
        AppendError::Storage(error) => Some(error.stop_reason().code()),
        AppendError::QueueFull => Some("queue_full"),
        AppendError::DiskLow => Some("disk_very_low"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use lotgate_devices::event::Transport;
    use lotgate_sync::queue::StopReason;

    #[test]
    fn heartbeats_hear_of_a_device_and_of_refusals_only_when_they_change() {
        let device = DeviceInfo {
            role: Role::Scanner,
            transport: Transport::Serial,
            id: "a".to_owned(),
            simulated: true,
        };
        let mut told = Told::default();
        assert!(told.note(&Report::Device(device.clone(), DeviceState::Ready)));
        assert!(!told.note(&Report::Device(device.clone(), DeviceState::Ready)));
        assert!(told.note(&Report::Device(device, DeviceState::Unplugged)));
        assert_eq!(told.report().devices[0].state, "unplugged");
        let full = || Report::NotKept(AppendError::Stopped(StopReason::DiskFull));
        assert!(told.note(&full()) && !told.note(&full()));
        assert!(told.report().alarms.contains("disk_full"));
        assert!(!told.note(&Report::NotKept(AppendError::Closed)), "says nothing of the disk");
    }
}
