//! Which scanner, where, and how it talks.

use std::path::PathBuf;
use std::time::Duration;

use crate::event::{DeviceInfo, Role, Transport};
use crate::frame::{GAP, Terminator};

/// A scanner as configured.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ScannerBinding {
    /// What people call it, where they gave it a name.
    pub name: Option<String>,
    /// The role that its events carry.
    pub role: Role,
    /// The transport that its events carry.
    pub transport: Transport,
    /// Where it is.
    pub port: PortSelector,
    /// How it talks.
    pub settings: SerialSettings,
}

impl ScannerBinding {
    /// What operations name it by until its port is open.
    #[must_use]
    pub fn info(&self) -> DeviceInfo {
        crate::serial::device_before_opening(self)
    }

    /// A serial scanner at `path` with the default settings.
    #[must_use]
    pub fn at_path(path: impl Into<PathBuf>) -> Self {
        Self {
            name: None,
            role: Role::Scanner,
            transport: Transport::Serial,
            port: PortSelector::Path(path.into()),
            settings: SerialSettings::default(),
        }
    }
}

/// Finds the port, again at each opening: a name such as `ttyACM0` is not an identity.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PortSelector {
    /// A device node, a link to one, or `COM3`.
    Path(PathBuf),
    /// The port of this USB device.
    Usb(UsbIdentity),
}

/// A USB device, whatever port it is in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UsbIdentity {
    /// Vendor id.
    pub vid: u16,
    /// Product id.
    pub pid: u16,
    /// Serial number; without it, exactly one device with these ids may be plugged in.
    pub serial: Option<String>,
}

/// Line settings; the default is 9600 baud, 8N1, CR.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SerialSettings {
    /// Bits a second.
    pub baud: u32,
    /// Bits in a character.
    pub data_bits: DataBits,
    /// Parity bit.
    pub parity: Parity,
    /// Stop bits.
    pub stop_bits: StopBits,
    /// What ends a scan.
    pub terminator: Terminator,
}

impl Default for SerialSettings {
    fn default() -> Self {
        Self {
            baud: 9_600,
            data_bits: DataBits::Eight,
            parity: Parity::None,
            stop_bits: StopBits::One,
            terminator: Terminator::Cr,
        }
    }
}

/// Bits in a character.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DataBits {
    /// 7
    Seven,
    /// 8
    Eight,
}

/// Parity bit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Parity {
    /// No parity bit.
    None,
    /// Odd.
    Odd,
    /// Even.
    Even,
}

/// Stop bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StopBits {
    /// 1
    One,
    /// 2
    Two,
}

/// How patient the reader is. The default is for production; tests pass shorter times.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timing {
    /// Wait after the first failed opening; doubles with each further one.
    pub retry_first: Duration,
    /// The longest wait after a failed opening.
    pub retry_max: Duration,
    /// The longest wait while nothing is there, which is cheap to find out.
    pub missing_max: Duration,
    /// The longest silence within a scan, and the silence after opening that makes the device ready.
    pub gap: Duration,
    /// How long one read waits. Stopping and noticing silence take up to this much longer.
    pub read_wait: Duration,
    /// How many events wait for the consumer before reading pauses.
    pub queue: usize,
}

impl Default for Timing {
    fn default() -> Self {
        Self {
            retry_first: Duration::from_millis(250),
            retry_max: Duration::from_secs(5),
            missing_max: Duration::from_secs(1),
            gap: GAP,
            read_wait: Duration::from_millis(100),
            queue: 1_024,
        }
    }
}
