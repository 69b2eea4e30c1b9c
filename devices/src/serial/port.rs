//! Finding and opening the port, and the words for why that fails.

use std::path::Path;
use std::time::Duration;

use serialport::{ErrorKind, SerialPortInfo, SerialPortType, UsbPortInfo};

use crate::binding::{DataBits, Parity, PortSelector, ScannerBinding, SerialSettings, StopBits, UsbIdentity};
use crate::event::{DeviceInfo, DeviceState};

#[cfg(unix)]
pub(super) type Port = serialport::TTYPort;
#[cfg(windows)]
pub(super) type Port = serialport::COMPort;

/// An open port and the device that it turned out to be.
pub(super) struct Opened {
    pub(super) port: Port,
    pub(super) device: DeviceInfo,
}

pub(crate) fn device_before_opening(binding: &ScannerBinding) -> DeviceInfo {
    let id = match &binding.port {
        PortSelector::Path(path) => path.to_string_lossy().into_owned(),
        PortSelector::Usb(usb) => usb_id(usb.vid, usb.pid, usb.serial.as_deref()),
    };
    DeviceInfo { role: binding.role, transport: binding.transport, id, simulated: false }
}

/// Resolves the binding to a node and opens that very node, so that a link moved meanwhile cannot exchange a
/// simulated device for a real one.
///
/// # Errors
/// The state that the failure puts the device in.
pub(super) fn open(binding: &ScannerBinding, read_wait: Duration) -> Result<Opened, DeviceState> {
    let mut device = device_before_opening(binding);
    let (name, listed) = match &binding.port {
        PortSelector::Path(path) => {
            let name = resolve(path)?;
            let listed = serialport::available_ports().unwrap_or_default();
            if let Some(usb) = usb_info(&listed, &name).filter(|usb| usb.serial_number.is_some()) {
                device.id = usb_id(usb.vid, usb.pid, usb.serial_number.as_deref());
            }
            (name, listed)
        }
        PortSelector::Usb(usb) => {
            let listed = serialport::available_ports().unwrap_or_default();
            (find(&listed, usb)?, listed)
        }
    };
    device.simulated = is_pseudo_terminal(&name);
    let port = open_exclusively(&name, &binding.settings, read_wait, device.simulated)
        .map_err(|error| state_after(&error, listed.iter().any(|port| port.port_name == name)))?;
    Ok(Opened { port, device })
}

/// Opens the binding's port and closes it again; a port that a reader has is `Busy` and not disturbed.
///
/// # Errors
/// The state that the device is in instead of ready.
pub fn try_port(binding: &ScannerBinding) -> Result<DeviceInfo, DeviceState> {
    open(binding, Duration::ZERO).map(|opened| opened.device)
}

fn open_exclusively(
    name: &str,
    settings: &SerialSettings,
    read_wait: Duration,
    simulated: bool,
) -> serialport::Result<Port> {
    let builder = serialport::new(name, settings.baud)
        .data_bits(match settings.data_bits {
            DataBits::Seven => serialport::DataBits::Seven,
            DataBits::Eight => serialport::DataBits::Eight,
        })
        .parity(match settings.parity {
            Parity::None => serialport::Parity::None,
            Parity::Odd => serialport::Parity::Odd,
            Parity::Even => serialport::Parity::Even,
        })
        .stop_bits(match settings.stop_bits {
            StopBits::One => serialport::StopBits::One,
            StopBits::Two => serialport::StopBits::Two,
        })
        .timeout(read_wait);
    #[cfg_attr(windows, expect(unused_mut, reason = "only a pseudo-terminal is changed after opening"))]
    let mut port = builder.open_native()?;
    #[cfg(unix)]
    if simulated {
        // A pseudo-terminal keeps TIOCEXCL after a killed reader and would shut out the next one. The shared
        // flock that stays still keeps out whoever asks for an exclusive one, and goes with its process.
        port.set_exclusive(false)?;
    }
    #[cfg(windows)]
    let _ = simulated;
    Ok(port)
}

/// Windows reports "access denied" (the port is open elsewhere) and "not found" alike as `NoDevice`; only the
/// list tells them apart. On Unix `NoDevice` is EBUSY or a lock held by another program.
fn state_after(error: &serialport::Error, listed: bool) -> DeviceState {
    match error.kind() {
        ErrorKind::NoDevice if cfg!(windows) && !listed => DeviceState::Missing,
        ErrorKind::NoDevice => DeviceState::Busy,
        ErrorKind::Io(std::io::ErrorKind::PermissionDenied) => DeviceState::Denied,
        ErrorKind::Io(std::io::ErrorKind::NotFound) => DeviceState::Missing,
        ErrorKind::InvalidInput | ErrorKind::Unknown | ErrorKind::Io(_) => {
            tracing::debug!(reason = error.description, "port cannot be used");
            DeviceState::Unusable
        }
    }
}

fn usb_info<'a>(listed: &'a [SerialPortInfo], name: &str) -> Option<&'a UsbPortInfo> {
    listed.iter().find(|port| port.port_name == name).and_then(|port| match &port.port_type {
        SerialPortType::UsbPort(usb) => Some(usb),
        _ => None,
    })
}

fn find(listed: &[SerialPortInfo], wanted: &UsbIdentity) -> Result<String, DeviceState> {
    let mut fitting = listed.iter().filter(|port| match &port.port_type {
        SerialPortType::UsbPort(usb) => {
            usb.vid == wanted.vid
                && usb.pid == wanted.pid
                && (wanted.serial.is_none() || usb.serial_number == wanted.serial)
        }
        _ => false,
    });
    match (fitting.next(), fitting.next()) {
        (Some(port), None) => Ok(port.port_name.clone()),
        (Some(_), Some(_)) => Err(DeviceState::Ambiguous),
        (None, _) => Err(DeviceState::Missing),
    }
}

fn usb_id(vid: u16, pid: u16, serial: Option<&str>) -> String {
    match serial {
        Some(serial) => format!("usb:{vid:04x}:{pid:04x}:{serial}"),
        None => format!("usb:{vid:04x}:{pid:04x}"),
    }
}

#[cfg(unix)]
fn resolve(path: &Path) -> Result<String, DeviceState> {
    let node = std::fs::canonicalize(path).map_err(|error| match error.kind() {
        std::io::ErrorKind::PermissionDenied => DeviceState::Denied,
        std::io::ErrorKind::NotFound => DeviceState::Missing,
        _ => DeviceState::Unusable,
    })?;
    node.into_os_string().into_string().map_err(|_| DeviceState::Unusable)
}

/// The name as the system lists it.
#[cfg(windows)]
fn resolve(path: &Path) -> Result<String, DeviceState> {
    let name = path.to_str().ok_or(DeviceState::Unusable)?;
    Ok(name.strip_prefix(r"\\.\").unwrap_or(name).to_ascii_uppercase())
}

/// By place, and by device number, so that a node made elsewhere does not hide what it is.
#[cfg(unix)]
fn is_pseudo_terminal(node: &str) -> bool {
    use std::os::unix::fs::{FileTypeExt, MetadataExt};
    const BSD_SLAVES: u32 = 3;
    const UNIX98_SLAVES: std::ops::RangeInclusive<u32> = 136..=143;
    let by_number = || {
        std::fs::metadata(node).is_ok_and(|node| {
            let major = rustix::fs::major(node.rdev());
            node.file_type().is_char_device() && (major == BSD_SLAVES || UNIX98_SLAVES.contains(&major))
        })
    };
    node.starts_with("/dev/pts/") || by_number()
}

#[cfg(windows)]
fn is_pseudo_terminal(_node: &str) -> bool {
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    fn usb_port(name: &str, serial: Option<&str>) -> SerialPortInfo {
        SerialPortInfo {
            port_name: name.to_owned(),
            port_type: SerialPortType::UsbPort(UsbPortInfo {
                vid: 0x0c2e,
                pid: 0x090a,
                serial_number: serial.map(str::to_owned),
                manufacturer: None,
                product: None,
            }),
        }
    }

    fn wanted(serial: Option<&str>) -> UsbIdentity {
        UsbIdentity { vid: 0x0c2e, pid: 0x090a, serial: serial.map(str::to_owned) }
    }

    #[test]
    fn a_usb_scanner_is_found_by_what_it_is_and_not_by_its_port() {
        let other = SerialPortInfo { port_name: "/dev/ttyS0".to_owned(), port_type: SerialPortType::Unknown };
        let listed = [other, usb_port("/dev/ttyACM1", Some("A")), usb_port("/dev/ttyACM0", Some("B"))];
        let at = |port: &str| Ok(port.to_owned());
        assert_eq!(find(&listed, &wanted(Some("A"))), at("/dev/ttyACM1"), "the one with the serial number");
        assert_eq!(find(&listed, &wanted(Some("C"))), Err(DeviceState::Missing), "never another one");
        assert_eq!(find(&listed, &wanted(None)), Err(DeviceState::Ambiguous), "two fit: none is guessed");
        assert_eq!(find(&listed[..2], &wanted(None)), at("/dev/ttyACM1"), "one fits");
    }

    #[test]
    fn a_usb_port_opened_by_path_is_known_by_its_identity() {
        let listed = [usb_port("/dev/ttyACM0", Some("A"))];
        let usb = usb_info(&listed, "/dev/ttyACM0").expect("it is listed");
        assert_eq!(
            usb_id(usb.vid, usb.pid, usb.serial_number.as_deref()),
            "usb:0c2e:090a:A",
            "stable over ports"
        );
        assert_eq!(usb_info(&listed, "/dev/ttyACM1"), None, "another port is another device");
    }

    #[test]
    #[cfg(unix)]
    fn each_reason_for_not_opening_has_its_own_state() {
        let io = |kind| serialport::Error::new(ErrorKind::Io(kind), "");
        let cases = [
            (io(std::io::ErrorKind::PermissionDenied), DeviceState::Denied),
            (io(std::io::ErrorKind::NotFound), DeviceState::Missing),
            (serialport::Error::new(ErrorKind::NoDevice, "Device or resource busy"), DeviceState::Busy),
            (serialport::Error::new(ErrorKind::Unknown, "Not a typewriter"), DeviceState::Unusable),
        ];
        for (error, state) in cases {
            assert_eq!(state_after(&error, false), state, "{error:?}");
        }
    }

    #[test]
    #[cfg(unix)]
    fn only_a_pseudo_terminal_is_simulated() {
        assert!(is_pseudo_terminal("/dev/pts/0"), "by its place");
        assert!(!is_pseudo_terminal("/dev/null"), "another character device");
        assert!(!is_pseudo_terminal("/dev/ttyUSB0"), "a real port, here or not");
    }
}
