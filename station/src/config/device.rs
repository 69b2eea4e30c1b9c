//! One `[[device]]` entry: to the binding of a device that this version drives.

use super::document::Document;
use super::error::{ConfigError, ConfigErrorCode};
use lotgate_devices::binding::{
    DataBits, Parity, PortSelector, ScannerBinding, SerialSettings, StopBits, UsbIdentity,
};
use lotgate_devices::event::{Role, Transport};
use lotgate_devices::frame::Terminator;
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

pub(super) fn scanner(
    source: &Document<'_>,
    device: Spanned<RawDevice>,
) -> Result<ScannerBinding, ConfigError> {
    let span = device.span();
    let device = device.into_inner();
    let invalid = |value: Range<usize>, key: &str, expected: &str| {
        source.error(ConfigErrorCode::ConfigInvalidValue, value, key, format!("expected {expected}"))
    };
    let later = |value: &Spanned<String>, key: &str| {
        let message = format!("\"{}\" is not in this version", value.get_ref());
        source.error(ConfigErrorCode::NotInThisVersion, value.span(), key, message)
    };
    let role = match device.role.get_ref().as_str() {
        "scanner" => Role::Scanner,
        "printer" | "scale" => return Err(later(&device.role, "device.role")),
        _ => return Err(invalid(device.role.span(), "device.role", "\"scanner\", \"printer\" or \"scale\"")),
    };
    let transport = match device.transport.get_ref().as_str() {
        "serial" => Transport::Serial,
        "hid" | "tcp" => return Err(later(&device.transport, "device.transport")),
        _ => {
            let expected = "\"serial\", \"hid\" or \"tcp\"";
            return Err(invalid(device.transport.span(), "device.transport", expected));
        }
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
    Ok(ScannerBinding { role, transport, port, settings })
}

/// The entry with everything that was not written, as `config show` prints it.
pub(super) fn shown(binding: &ScannerBinding) -> Value {
    let settings = &binding.settings;
    let mut shown = json!({
        "role": match binding.role {
            Role::Scanner => "scanner",
        },
        "transport": match binding.transport {
            Transport::Serial => "serial",
        },
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
