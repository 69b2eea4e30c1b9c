//! One `[[device]]` entry: to the binding of a device that this version drives.

use super::document::Document;
use super::error::{ConfigError, ConfigErrorCode};
use lotgate_devices::binding::{
    DataBits, Parity, PortSelector, ScannerBinding, SerialSettings, StopBits, UsbIdentity,
};
use lotgate_devices::event::{Role, Transport};
use lotgate_devices::frame::Terminator;
use lotgate_devices::printer::PrinterBinding;
use serde::Deserialize;
use serde_json::{Value, json};
use std::ops::Range;
use std::path::PathBuf;
use toml::Spanned;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawDevice {
    role: Spanned<String>,
    transport: Spanned<String>,
    name: Option<Spanned<String>>,
    path: Option<PathBuf>,
    usb: Option<RawUsb>,
    address: Option<Spanned<String>>,
    baud: Option<Spanned<u32>>,
    data_bits: Option<Spanned<u8>>,
    parity: Option<Spanned<String>>,
    stop_bits: Option<Spanned<u8>>,
    terminator: Option<Spanned<String>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawUsb {
    vid: u16,
    pid: u16,
    serial: Option<String>,
}

/// A device that this version drives.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum DeviceBinding {
    Scanner(ScannerBinding),
    Printer(PrinterBinding),
}

/// All entries of one source: every one checked, and one printer at most.
pub(super) fn bindings(
    source: &Document<'_>,
    devices: Vec<Spanned<RawDevice>>,
) -> Result<Vec<DeviceBinding>, ConfigError> {
    let mut bindings = Vec::new();
    for device in devices {
        let role = device.get_ref().role.span();
        let binding = binding(source, device)?;
        let printer = |binding: &DeviceBinding| matches!(binding, DeviceBinding::Printer(_));
        if printer(&binding) && bindings.iter().any(printer) {
            let message = "a second printer is not in this version";
            return Err(source.error(ConfigErrorCode::NotInThisVersion, role, "device.role", message));
        }
        bindings.push(binding);
    }
    Ok(bindings)
}

/// By role and transport; what the other kinds need is not asked for, and refused where it is given.
fn binding(source: &Document<'_>, device: Spanned<RawDevice>) -> Result<DeviceBinding, ConfigError> {
    let span = device.span();
    let device = device.into_inner();
    let invalid = |value: Range<usize>, key: &str, expected: &str| {
        source.error(ConfigErrorCode::ConfigInvalidValue, value, key, format!("expected {expected}"))
    };
    let later = |value: &Spanned<String>, key: &str| {
        let message = format!("\"{}\" is not in this version", value.get_ref());
        source.error(ConfigErrorCode::NotInThisVersion, value.span(), key, message)
    };
    if let Some(name) = device.name.as_ref().filter(|name| !is_name(name.get_ref())) {
        return Err(invalid(name.span(), "device.name", "1 to 40 visible characters"));
    }
    let (role, transport) = (device.role.get_ref().as_str(), device.transport.get_ref().as_str());
    if !["scanner", "printer", "scale"].contains(&role) {
        return Err(invalid(device.role.span(), "device.role", "\"scanner\", \"printer\" or \"scale\""));
    }
    if !["serial", "hid", "tcp"].contains(&transport) {
        let expected = "\"serial\", \"hid\" or \"tcp\"";
        return Err(invalid(device.transport.span(), "device.transport", expected));
    }
    match (role, transport) {
        ("scanner", "serial") => scanner(source, span, device).map(DeviceBinding::Scanner),
        ("printer", "tcp") => printer(source, span, device).map(DeviceBinding::Printer),
        ("scale", _) => Err(later(&device.role, "device.role")),
        _ => Err(later(&device.transport, "device.transport")),
    }
}

/// Fits a line of the screen.
fn is_name(name: &str) -> bool {
    let length = name.chars().count();
    (1..=40).contains(&length) && name.trim() == name && !name.chars().any(char::is_control)
}

fn printer(
    source: &Document<'_>,
    span: Range<usize>,
    device: RawDevice,
) -> Result<PrinterBinding, ConfigError> {
    let serial_only = [
        ("device.path", device.path.is_some()),
        ("device.usb", device.usb.is_some()),
        ("device.baud", device.baud.is_some()),
        ("device.data_bits", device.data_bits.is_some()),
        ("device.parity", device.parity.is_some()),
        ("device.stop_bits", device.stop_bits.is_some()),
        ("device.terminator", device.terminator.is_some()),
    ];
    let code = ConfigErrorCode::ConfigInvalidValue;
    if let Some((key, _)) = serial_only.iter().find(|(_, given)| *given) {
        return Err(source.error(code, span, key, "expected only address with transport \"tcp\""));
    }
    let Some(address) = device.address else {
        let message = "a printer needs its address";
        return Err(source.error(ConfigErrorCode::ConfigMissingKey, span, "device.address", message));
    };
    match PrinterBinding::at_address(address.get_ref()) {
        Some(binding) => Ok(PrinterBinding { name: device.name.map(Spanned::into_inner), ..binding }),
        None => Err(source.error(code, address.span(), "device.address", "expected host or host:port")),
    }
}

fn scanner(
    source: &Document<'_>,
    span: Range<usize>,
    device: RawDevice,
) -> Result<ScannerBinding, ConfigError> {
    let invalid = |value: Range<usize>, key: &str, expected: &str| {
        source.error(ConfigErrorCode::ConfigInvalidValue, value, key, format!("expected {expected}"))
    };
    if let Some(address) = &device.address {
        return Err(invalid(address.span(), "device.address", "path or usb with transport \"serial\""));
    }
    let port = match (device.path, device.usb) {
        (Some(path), None) => PortSelector::Path(path),
        (None, Some(usb)) => {
            PortSelector::Usb(UsbIdentity { vid: usb.vid, pid: usb.pid, serial: usb.serial })
        }
        (Some(_), Some(_)) => return Err(invalid(span, "device.usb", "either path or usb, not both")),
        (None, None) => {
            let message = "a serial device needs either path or usb";
            return Err(source.error(ConfigErrorCode::ConfigMissingKey, span, "device.path", message));
        }
    };
    let default = SerialSettings::default();
    let baud = match device.baud {
        None => default.baud,
        Some(baud) if (300..=4_000_000).contains(baud.get_ref()) => baud.into_inner(),
        Some(baud) => return Err(invalid(baud.span(), "device.baud", "300 to 4000000")),
    };
    let data_bits = match device.data_bits.map(|v| (*v.get_ref(), v.span())) {
        None => default.data_bits,
        Some((7, _)) => DataBits::Seven,
        Some((8, _)) => DataBits::Eight,
        Some((_, at)) => return Err(invalid(at, "device.data_bits", "7 or 8")),
    };
    let parity = match device.parity.as_ref().map(|v| (v.get_ref().as_str(), v.span())) {
        None => default.parity,
        Some(("none", _)) => Parity::None,
        Some(("odd", _)) => Parity::Odd,
        Some(("even", _)) => Parity::Even,
        Some((_, at)) => return Err(invalid(at, "device.parity", "\"none\", \"odd\" or \"even\"")),
    };
    let stop_bits = match device.stop_bits.map(|v| (*v.get_ref(), v.span())) {
        None => default.stop_bits,
        Some((1, _)) => StopBits::One,
        Some((2, _)) => StopBits::Two,
        Some((_, at)) => return Err(invalid(at, "device.stop_bits", "1 or 2")),
    };
    let terminator = match device.terminator.as_ref().map(|v| (v.get_ref().as_str(), v.span())) {
        None => default.terminator,
        Some(("cr", _)) => Terminator::Cr,
        Some(("lf", _)) => Terminator::Lf,
        Some(("crlf", _)) => Terminator::CrLf,
        Some(("etx", _)) => Terminator::Etx,
        Some((_, at)) => return Err(invalid(at, "device.terminator", "\"cr\", \"lf\", \"crlf\" or \"etx\"")),
    };
    let settings = SerialSettings { baud, data_bits, parity, stop_bits, terminator };
    let name = device.name.map(Spanned::into_inner);
    Ok(ScannerBinding { name, role: Role::Scanner, transport: Transport::Serial, port, settings })
}

/// The entry with everything that was not written, as `config show` prints it.
pub(super) fn shown(binding: &DeviceBinding) -> Value {
    match binding {
        DeviceBinding::Scanner(binding) => shown_scanner(binding),
        DeviceBinding::Printer(binding) => json!({
            "role": "printer",
            "transport": "tcp",
            "name": binding.name,
            "address": binding.address(),
        }),
    }
}

fn shown_scanner(binding: &ScannerBinding) -> Value {
    let settings = &binding.settings;
    let mut shown = json!({
        "role": "scanner",
        "transport": "serial",
        "name": binding.name,
        "baud": settings.baud,
        "data_bits": match settings.data_bits {
            DataBits::Seven => 7,
            DataBits::Eight => 8,
        },
        "parity": match settings.parity {
            Parity::None => "none",
            Parity::Odd => "odd",
            Parity::Even => "even",
        },
        "stop_bits": match settings.stop_bits {
            StopBits::One => 1,
            StopBits::Two => 2,
        },
        "terminator": match settings.terminator {
            Terminator::Cr => "cr",
            Terminator::Lf => "lf",
            Terminator::CrLf => "crlf",
            Terminator::Etx => "etx",
        },
    });
    let port = match &binding.port {
        PortSelector::Path(path) => ("path", json!(path.display().to_string())),
        PortSelector::Usb(usb) => ("usb", json!({"vid": usb.vid, "pid": usb.pid, "serial": usb.serial})),
    };
    if let Some(members) = shown.as_object_mut() {
        members.insert(port.0.to_owned(), port.1);
    }
    shown
}
