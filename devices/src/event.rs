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
}

/// How the device is connected.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Transport {
    /// A serial port: RS-232, USB CDC, or a pseudo-terminal.
    Serial,
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
