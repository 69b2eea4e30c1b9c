//! What a device tells the station, and the way it is handed over.

use std::sync::mpsc::{SyncSender, TrySendError};
use std::time::Instant;

use serde::Serialize;

/// The job that the configuration gives to a device.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// Reads barcodes.
    Scanner,
    /// Prints labels.
    Printer,
}

/// How the device is connected.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Transport {
    /// A serial port: RS-232, USB CDC, or a pseudo-terminal.
    Serial,
    /// A TCP connection, as to a label printer on port 9100.
    Tcp,
}

/// Names a device in operations; serialises to the `device` member of a scan's body (PROTOCOL §9.6).
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize)]
pub struct DeviceInfo {
    /// The configured role.
    pub role: Role,
    /// The configured transport.
    pub transport: Transport,
    /// `usb:VVVV:PPPP:SERIAL` (hexadecimal vendor and product) where the port is a USB device with a serial
    /// number, `usb:VVVV:PPPP` where it is bound by USB without one, else the configured path.
    pub id: String,
    /// True for a pseudo-terminal. Known from the first opening of the port on; every scan comes after it.
    pub simulated: bool,
}

/// One report of one device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeviceEvent {
    /// The device.
    pub device: DeviceInfo,
    /// When the reader thread saw it, before any waiting for the consumer.
    pub at_mono: Instant,
    /// What happened.
    pub kind: DeviceEventKind,
}

/// What a device can report.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DeviceEventKind {
    /// One whole scan, as sent, without its terminator: never empty, at most [`FRAME_MAX`](crate::frame::FRAME_MAX) bytes.
    Scanned(Vec<u8>),
    /// The device's state changed.
    State(DeviceState),
    /// Something was discarded or held up, and a person should know.
    Fault(DeviceFault),
    /// A printer says how it stands, or what became of a job.
    Printer(PrinterEvent),
}

/// What a label printer reports.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PrinterEvent {
    /// How it stands; told once at each change.
    State(PrinterState),
    /// It is ready for the job that it was asked for, and its connection is open. No byte of the job has left.
    Prepared(Job),
    /// What left of the job's bytes.
    Written(Job, Written),
    /// The printer showed by its status that it printed the job.
    Confirmed(Job),
    /// Whether the job was printed cannot be known from the printer any more.
    Doubtful(Job, JobDoubt),
}

/// Names a print job between station and printer: the 128 bits of its operation's id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Job(pub u128);

/// How much of a job's bytes left the station.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Written {
    /// None: it may be tried again.
    Nothing,
    /// Some, perhaps all: it must not be sent again by itself.
    Partial,
    /// All of them were handed to the connection.
    All,
}

/// Why nobody knows whether a job was printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum JobDoubt {
    /// The connection broke after the first byte and before the printer showed anything.
    ConnectionLost,
    /// The printer gave no answer in time.
    PrinterSilent,
}

impl JobDoubt {
    /// Every doubt.
    pub const ALL: [Self; 2] = [Self::ConnectionLost, Self::PrinterSilent];

    /// The closed code, as serialised: the cause that is recorded with the job.
    #[must_use]
    pub fn code(self) -> &'static str {
        match self {
            Self::ConnectionLost => "connection_lost",
            Self::PrinterSilent => "printer_silent",
        }
    }

    /// The key of its text in the catalogue, where the codes alone mean the cloud's connection and a printer's state.
    #[must_use]
    pub fn text_code(self) -> &'static str {
        match self {
            Self::ConnectionLost => "job_unknown_connection_lost",
            Self::PrinterSilent => "job_unknown_printer_silent",
        }
    }
}

/// How a printer stands. Codes are keys of the message catalogue.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum PrinterState {
    /// Not asked yet.
    #[serde(rename = "printer_opening")]
    Opening,
    /// Ready to print.
    #[serde(rename = "printer_ready")]
    Ready,
    /// Nothing listens at its address.
    #[serde(rename = "printer_unreachable")]
    Unreachable,
    /// It is connected and says nothing: by its manual that is what it does with paper or ribbon out or its head open.
    #[serde(rename = "printer_silent")]
    Silent,
    /// It is out of labels.
    #[serde(rename = "printer_paper_out")]
    PaperOut,
    /// It is out of ribbon.
    #[serde(rename = "printer_ribbon_out")]
    RibbonOut,
    /// Its head is open.
    #[serde(rename = "printer_head_open")]
    HeadOpen,
    /// It is paused.
    #[serde(rename = "printer_paused")]
    Paused,
    /// Its head is too hot or too cold.
    #[serde(rename = "printer_temperature")]
    Temperature,
    /// It takes nothing more for the moment.
    #[serde(rename = "printer_busy")]
    Busy,
    /// Its answers are not those of a label printer that speaks ZPL.
    #[serde(rename = "printer_not_zpl")]
    NotZpl,
}

impl PrinterState {
    /// Every state.
    pub const ALL: [Self; 11] = [
        Self::Opening,
        Self::Ready,
        Self::Unreachable,
        Self::Silent,
        Self::PaperOut,
        Self::RibbonOut,
        Self::HeadOpen,
        Self::Paused,
        Self::Temperature,
        Self::Busy,
        Self::NotZpl,
    ];

    /// The closed code, as serialised: the key of its text in the catalogue.
    #[must_use]
    pub fn code(self) -> &'static str {
        match self {
            Self::Opening => "printer_opening",
            Self::Ready => "printer_ready",
            Self::Unreachable => "printer_unreachable",
            Self::Silent => "printer_silent",
            Self::PaperOut => "printer_paper_out",
            Self::RibbonOut => "printer_ribbon_out",
            Self::HeadOpen => "printer_head_open",
            Self::Paused => "printer_paused",
            Self::Temperature => "printer_temperature",
            Self::Busy => "printer_busy",
            Self::NotZpl => "printer_not_zpl",
        }
    }
}

/// The state of a configured device. Each change is reported once, however often opening is retried.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum DeviceState {
    /// First attempt under way. The state before any report, never reported itself.
    Opening,
    /// Open, listening, and sure that the next byte starts a scan.
    Ready,
    /// It was ready and has gone away.
    Unplugged,
    /// Nothing is there, since the start or since another state than `Ready`.
    Missing,
    /// The operating system denies access.
    Denied,
    /// In use by another program.
    #[serde(rename = "busy_device")]
    Busy,
    /// Several ports fit the configured USB identity: the configuration must name a serial number.
    #[serde(rename = "ambiguous_device")]
    Ambiguous,
    /// Something is there that cannot be opened as a serial port with the configured settings.
    Unusable,
}

impl DeviceState {
    /// The closed code of this state, as serialised: the key of its text in the catalogue.
    #[must_use]
    pub fn code(self) -> &'static str {
        match self {
            Self::Opening => "opening",
            Self::Ready => "ready",
            Self::Unplugged => "unplugged",
            Self::Missing => "missing",
            Self::Denied => "denied",
            Self::Busy => "busy_device",
            Self::Ambiguous => "ambiguous_device",
            Self::Unusable => "unusable",
        }
    }
}

/// A device failed to deliver something; what was discarded was discarded whole and is not in any scan.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(tag = "code", rename_all = "snake_case")]
pub enum DeviceFault {
    /// The line went silent before the terminator.
    ScanUnterminated {
        /// How many bytes were discarded.
        bytes: usize,
    },
    /// More bytes than any barcode holds came without a terminator. All up to the next terminator or silence
    /// is discarded.
    ScanTooLong,
    /// The device was unplugged, or reading stopped, within a scan.
    ScanInterrupted {
        /// How many bytes were discarded.
        bytes: usize,
    },
    /// The end of a scan whose start was sent before the port was opened.
    ScanWithoutStart {
        /// How many bytes were discarded.
        bytes: usize,
    },
    /// The station is not taking events as fast as they come. They wait; none is lost, and reading pauses.
    Overrun {
        /// How many events were waiting when the queue was full.
        waiting: usize,
    },
}

impl DeviceFault {
    /// The closed code of this fault, as serialised: the key of its text in the catalogue.
    #[must_use]
    pub fn code(self) -> &'static str {
        match self {
            Self::ScanUnterminated { .. } => "scan_unterminated",
            Self::ScanTooLong => "scan_too_long",
            Self::ScanInterrupted { .. } => "scan_interrupted",
            Self::ScanWithoutStart { .. } => "scan_without_start",
            Self::Overrun { .. } => "overrun",
        }
    }
}

/// What became of an offered event.
#[derive(Debug)]
pub enum Delivery {
    /// The consumer has it.
    Taken,
    /// No room at the moment: the event comes back and is offered again.
    Full(Box<DeviceEvent>),
    /// The consumer is gone: the reader ends.
    Closed,
}

/// Where a reader thread hands its events over, in order.
///
/// Implemented by [`SyncSender`] for a plain thread and by any `FnMut(DeviceEvent) -> Delivery`, so that the
/// `try_send` of an asynchronous channel fits too. It must not block: while it does, the device is not read.
pub trait EventSink: Send + 'static {
    /// Takes the event if there is room for it now.
    fn offer(&mut self, event: DeviceEvent) -> Delivery;
}

impl EventSink for SyncSender<DeviceEvent> {
    fn offer(&mut self, event: DeviceEvent) -> Delivery {
        match self.try_send(event) {
            Ok(()) => Delivery::Taken,
            Err(TrySendError::Full(event)) => Delivery::Full(Box::new(event)),
            Err(TrySendError::Disconnected(_)) => Delivery::Closed,
        }
    }
}

impl<F> EventSink for F
where
    F: FnMut(DeviceEvent) -> Delivery + Send + 'static,
{
    fn offer(&mut self, event: DeviceEvent) -> Delivery {
        self(event)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_of_printers_are_what_is_serialised() {
        for state in PrinterState::ALL {
            assert_eq!(serde_json::to_value(state).expect("a state is JSON"), state.code(), "{state:?}");
        }
        for doubt in JobDoubt::ALL {
            assert_eq!(serde_json::to_value(doubt).expect("a doubt is JSON"), doubt.code(), "{doubt:?}");
        }
    }

    #[test]
    fn codes_are_what_is_serialised() {
        use DeviceState::{Ambiguous, Busy, Denied, Missing, Opening, Ready, Unplugged, Unusable};
        for state in [Opening, Ready, Unplugged, Missing, Denied, Busy, Ambiguous, Unusable] {
            let json = serde_json::to_value(state).expect("a state is JSON");
            assert_eq!(json, state.code(), "{state:?}");
        }
        let faults = [
            DeviceFault::ScanUnterminated { bytes: 1 },
            DeviceFault::ScanTooLong,
            DeviceFault::ScanInterrupted { bytes: 1 },
            DeviceFault::ScanWithoutStart { bytes: 1 },
            DeviceFault::Overrun { waiting: 1 },
        ];
        for fault in faults {
            let json = serde_json::to_value(fault).expect("a fault is JSON");
            assert_eq!(json["code"], fault.code(), "{fault:?}");
        }
    }
}
