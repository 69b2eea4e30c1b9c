//! The configuration file: TOML, parsed once; unknown keys and impossible values are errors with file, line
//! and key.
//!
//! ```toml
//! [cloud]
//! server = "https://cloud.example"   # plain http only for loopback
//! ca_file = "/etc/lotgate/plant-ca.pem"  # a private certificate authority, if the plant has one
//!
//! [paths]
//! data = "/var/lib/lotgate"          # the queue
//! secure = "/var/lib/lotgate.secure" # keys and rollback anchor; default: data with ".secure" added
//!
//! [station]
//! name = "Dispense 1"                # what people call it; used at enrolment
//!
//! [codes]
//! lot_prefix = ["LOT:"]              # the site's own lot codes; lots name them whole in `codes`
//!
//! [[device]]
//! role = "scanner"                   # "printer" and "scale" come in a later version
//! transport = "serial"               # "hid" and "tcp" come in a later version
//! path = "/dev/ttyACM0"              # or: usb = { vid = 0x0c2e, pid = 0x0b6a, serial = "1234" }
//! baud = 9600
//! data_bits = 8
//! parity = "none"                    # "odd", "even"
//! stop_bits = 1
//! terminator = "cr"                  # "lf", "crlf", "etx"
//! ```

use lotgate_devices::binding::{
    DataBits, Parity, PortSelector, ScannerBinding, SerialSettings, StopBits, UsbIdentity,
};
use lotgate_devices::event::{Role, Transport};
use lotgate_devices::frame::Terminator;
use lotgate_domain::barcode::{SiteMeaning, SitePattern, SitePatterns};
use lotgate_domain::ids::Hash;
use serde::Deserialize;
use std::ops::Range;
use std::path::{Path, PathBuf};
use toml::Spanned;

/// The configuration in force.
#[derive(Debug, Clone)]
pub struct Config {
    /// `[cloud] server`.
    pub server: Option<String>,
    /// `[cloud] ca_file`.
    pub ca_file: Option<PathBuf>,
    /// `[paths] data`.
    pub data_dir: PathBuf,
    /// `[paths] secure`.
    pub secure_dir: PathBuf,
    /// `[station] name`.
    pub station_name: String,
    /// `[codes]`.
    pub site_codes: SitePatterns,
    /// `[[device]]` entries that this version drives.
    pub scanners: Vec<ScannerBinding>,
    /// SHA-256 of the file as it was read; of nothing if there was none.
    pub sha256: Hash,
}

/// What is wrong with a configuration.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ConfigErrorCode {
    /// The file cannot be read.
    ConfigUnreadable,
    /// Not TOML, or a value of the wrong type.
    ConfigMalformed,
    /// A key that is not known.
    ConfigUnknownKey,
    /// A value that is not possible here.
    ConfigInvalidValue,
    /// A key that must be there is not.
    ConfigMissingKey,
    /// Right, but this version cannot drive it.
    NotInThisVersion,
}

impl ConfigErrorCode {
    /// Every code.
    pub const ALL: [Self; 6] = [
        Self::ConfigUnreadable,
        Self::ConfigMalformed,
        Self::ConfigUnknownKey,
        Self::ConfigInvalidValue,
        Self::ConfigMissingKey,
        Self::NotInThisVersion,
    ];

    /// The code as written.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::ConfigUnreadable => "config_unreadable",
            Self::ConfigMalformed => "config_malformed",
            Self::ConfigUnknownKey => "config_unknown_key",
            Self::ConfigInvalidValue => "config_invalid_value",
            Self::ConfigMissingKey => "config_missing_key",
            Self::NotInThisVersion => "not_in_this_version",
        }
    }
}

/// A configuration that cannot be used: which file, line, key, and what is expected.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}:{line}: {key}: {message}", file.display())]
pub struct ConfigError {
    /// What is wrong.
    pub code: ConfigErrorCode,
    /// The file.
    pub file: PathBuf,
    /// Line in it, from 1; 0 if the whole file is meant.
    pub line: usize,
    /// The key, as `table.key`; empty if none is meant.
    pub key: String,
    /// What is expected, in words.
    pub message: String,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields)]
struct RawConfig {
    #[serde(default)]
    cloud: RawCloud,
    #[serde(default)]
    paths: RawPaths,
    #[serde(default)]
    station: RawStation,
    #[serde(default)]
    codes: RawCodes,
    #[serde(default)]
    device: Vec<Spanned<RawDevice>>,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields)]
struct RawCloud {
    server: Option<Spanned<String>>,
    ca_file: Option<PathBuf>,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields)]
struct RawPaths {
    data: Option<PathBuf>,
    secure: Option<PathBuf>,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields)]
struct RawStation {
    name: Option<String>,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields)]
struct RawCodes {
    #[serde(default)]
    lot_prefix: Vec<Spanned<String>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawDevice {
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

struct Source<'a> {
    file: &'a Path,
    text: &'a str,
}

impl Source<'_> {
    fn error(
        &self,
        code: ConfigErrorCode,
        at: Range<usize>,
        key: &str,
        message: impl Into<String>,
    ) -> ConfigError {
        let before = self.text.get(..at.start).unwrap_or(self.text);
        ConfigError {
            code,
            file: self.file.to_owned(),
            line: before.bytes().filter(|b| *b == b'\n').count() + 1,
            key: key.to_owned(),
            message: message.into(),
        }
    }

    fn toml_error(&self, error: &toml::de::Error) -> ConfigError {
        let at = error.span().unwrap_or(0..0);
        let message = error.message();
        let named = |prefix: &str| message.strip_prefix(prefix)?.split('`').next();
        let (code, key) = if let Some(key) = named("unknown field `") {
            (ConfigErrorCode::ConfigUnknownKey, key)
        } else if let Some(key) = named("missing field `") {
            (ConfigErrorCode::ConfigMissingKey, key)
        } else {
            (ConfigErrorCode::ConfigMalformed, self.key_at(at.start))
        };
        let key = match self.table_at(at.start) {
            "" => key.to_owned(),
            table if table == key => key.to_owned(),
            table => format!("{table}.{key}"),
        };
        self.error(code, at, &key, message)
    }

    /// The table that holds byte `at`, by the last header above it or on its line.
    fn table_at(&self, at: usize) -> &str {
        let end = self.text.get(at..).and_then(|rest| rest.find('\n')).map_or(self.text.len(), |n| at + n);
        let above = self.text.get(..end).unwrap_or_default();
        let header = above.lines().rev().map(str::trim).find(|line| line.starts_with('['));
        header.map_or("", |line| line.trim_matches(['[', ']']))
    }

    /// The key on the line that holds byte `at`.
    fn key_at(&self, at: usize) -> &str {
        let start = self.text.get(..at).and_then(|t| t.rfind('\n')).map_or(0, |n| n + 1);
        let line = self.text.get(start..).and_then(|rest| rest.lines().next()).unwrap_or_default();
        line.split_once('=').map_or("", |(key, _)| key.trim())
    }
}

/// Where configuration is looked for when no file is named.
#[must_use]
pub fn default_file() -> &'static Path {
    if cfg!(windows) {
        Path::new(r"C:\ProgramData\Lotgate\lotgate.toml")
    } else {
        Path::new("/etc/lotgate/lotgate.toml")
    }
}

fn default_data_dir() -> PathBuf {
    PathBuf::from(if cfg!(windows) { r"C:\ProgramData\Lotgate\data" } else { "/var/lib/lotgate" })
}

impl Config {
    /// Reads `file`, or the default file if that is `None` (which need not exist).
    ///
    /// # Errors
    /// [`ConfigError`].
    pub fn load(file: Option<&Path>) -> Result<Self, ConfigError> {
        let path = file.unwrap_or(default_file());
        let text = match std::fs::read_to_string(path) {
            Ok(text) => text,
            Err(error) if file.is_none() && error.kind() == std::io::ErrorKind::NotFound => String::new(),
            Err(error) => {
                return Err(ConfigError {
                    code: ConfigErrorCode::ConfigUnreadable,
                    file: path.to_owned(),
                    line: 0,
                    key: String::new(),
                    message: error.to_string(),
                });
            }
        };
        Self::parse(path, &text)
    }

    /// Parses the text of `file`.
    ///
    /// # Errors
    /// [`ConfigError`].
    pub fn parse(file: &Path, text: &str) -> Result<Self, ConfigError> {
        let source = Source { file, text };
        let raw: RawConfig = toml::from_str(text).map_err(|error| source.toml_error(&error))?;
        if let Some(server) = &raw.cloud.server {
            check_server(server.get_ref()).map_err(|message| {
                source.error(ConfigErrorCode::ConfigInvalidValue, server.span(), "cloud.server", message)
            })?;
        }
        let scanners: Vec<ScannerBinding> =
            raw.device.into_iter().map(|device| scanner(&source, device)).collect::<Result<_, _>>()?;
        let data_dir = raw.paths.data.unwrap_or_else(default_data_dir);
        Ok(Self {
            server: raw.cloud.server.map(Spanned::into_inner),
            ca_file: raw.cloud.ca_file,
            secure_dir: raw.paths.secure.unwrap_or_else(|| secure_beside(&data_dir)),
            data_dir,
            station_name: raw.station.name.unwrap_or_else(|| "Station".to_owned()),
            site_codes: site_patterns(&source, raw.codes.lot_prefix)?,
            scanners,
            sha256: Hash::of(text.as_bytes()),
        })
    }

    /// The same with directories from the command line, both made absolute; another data directory moves the
    /// secure one along unless that is named too. `None` if one of them lies within the other: a copy of the
    /// data directory would take the keys along and never be noticed (PROTOCOL §2).
    #[must_use]
    pub fn with_directories(mut self, data: Option<PathBuf>, secure: Option<PathBuf>) -> Option<Self> {
        if let Some(data) = data {
            self.secure_dir = secure_beside(&data);
            self.data_dir = data;
        }
        if let Some(secure) = secure {
            self.secure_dir = secure;
        }
        self.data_dir = plain_absolute(&self.data_dir)?;
        self.secure_dir = plain_absolute(&self.secure_dir)?;
        let apart =
            !self.data_dir.starts_with(&self.secure_dir) && !self.secure_dir.starts_with(&self.data_dir);
        apart.then_some(self)
    }
}

/// The path from the root, without a slash at its end and without `.`; `None` for an empty one.
fn plain_absolute(path: &Path) -> Option<PathBuf> {
    std::path::absolute(path).ok().map(|path| path.components().collect())
}

/// `<data>.secure` beside the data directory: copying that alone must be noticed.
fn secure_beside(data: &Path) -> PathBuf {
    let data = plain_absolute(data).unwrap_or_else(|| data.to_owned());
    let mut name = data.into_os_string();
    name.push(".secure");
    PathBuf::from(name)
}

/// Whether `server` may be used: https anywhere, plain http for loopback only.
///
/// # Errors
/// What is expected, in words.
pub fn check_server(server: &str) -> Result<(), &'static str> {
    let expected = "expected https://host[:port]; plain http only for loopback";
    if let Some(rest) = server.strip_prefix("https://") {
        let host = rest.strip_suffix('/').unwrap_or(rest);
        return if host.is_empty() || host.contains(['/', '?', '#', '@', ' ']) {
            Err(expected)
        } else {
            Ok(())
        };
    }
    let authority = server.strip_prefix("http://").ok_or(expected)?.split('/').next().unwrap_or_default();
    let host = match authority.strip_prefix('[') {
        Some(v6) => v6.split(']').next().unwrap_or_default(),
        None => authority.split(':').next().unwrap_or_default(),
    };
    let loopback = host == "localhost" || host.parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback());
    if loopback { Ok(()) } else { Err(expected) }
}

fn site_patterns(source: &Source<'_>, prefixes: Vec<Spanned<String>>) -> Result<SitePatterns, ConfigError> {
    let patterns = prefixes
        .into_iter()
        .map(|prefix| {
            if prefix.get_ref().is_empty() {
                let code = ConfigErrorCode::ConfigInvalidValue;
                Err(source.error(code, prefix.span(), "codes.lot_prefix", "a prefix must not be empty"))
            } else {
                Ok(SitePattern { prefix: prefix.into_inner(), meaning: SiteMeaning::Lot })
            }
        })
        .collect::<Result<Vec<_>, _>>()?;
    Ok(SitePatterns(patterns))
}

fn scanner(source: &Source<'_>, device: Spanned<RawDevice>) -> Result<ScannerBinding, ConfigError> {
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

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Config, ConfigError> {
        Config::parse(Path::new("lotgate.toml"), text)
    }

    fn refused(text: &str) -> (ConfigErrorCode, usize, String) {
        let error = parse(text).expect_err(text);
        (error.code, error.line, error.key)
    }

    #[test]
    fn a_whole_file_is_read() {
        let config = parse(
            "[cloud]\nserver = \"https://cloud.example\"\n[paths]\ndata = \"/d\"\n[station]\nname = \"D1\"\n\
             [[device]]\nrole = \"scanner\"\ntransport = \"serial\"\npath = \"/dev/ttyACM0\"\nbaud = 115200\n",
        )
        .unwrap();
        assert_eq!(config.server.as_deref(), Some("https://cloud.example"));
        assert_eq!(config.secure_dir, Path::new("/d.secure"));
        assert_eq!(config.scanners.len(), 1);
        assert_eq!(config.scanners[0].settings.baud, 115_200);
    }

    #[test]
    fn an_error_names_line_and_key() {
        use ConfigErrorCode as C;
        assert_eq!(refused("[cloud]\nservre = \"x\"\n"), (C::ConfigUnknownKey, 2, "cloud.servre".to_owned()));
        assert_eq!(refused("\n[clowd]\n"), (C::ConfigUnknownKey, 2, "clowd".to_owned()));
        assert_eq!(refused("[cloud]\nserver = 1\n").0, C::ConfigMalformed);
        assert_eq!(refused("[cloud]\nserver = 1\n").1, 2);
        assert_eq!(refused("[cloud\n").0, C::ConfigMalformed);
        let device = "[[device]]\nrole = \"scanner\"\ntransport = \"serial\"\n";
        assert_eq!(refused(device), (C::ConfigMissingKey, 1, "device.path".to_owned()));
        let baud = format!("{device}path = \"/x\"\nbaud = 1\n");
        assert_eq!(refused(&baud), (C::ConfigInvalidValue, 5, "device.baud".to_owned()));
    }

    #[test]
    fn what_this_version_cannot_drive_is_said_so() {
        use ConfigErrorCode as C;
        let device = "[[device]]\nrole = \"printer\"\ntransport = \"tcp\"\naddress = \"10.0.0.1:9100\"\n";
        assert_eq!(refused(device), (C::NotInThisVersion, 2, "device.role".to_owned()));
        let hid = "[[device]]\nrole = \"scanner\"\ntransport = \"hid\"\n";
        assert_eq!(refused(hid), (C::NotInThisVersion, 3, "device.transport".to_owned()));
    }

    #[test]
    fn the_secure_directory_is_never_within_the_data_directory() {
        let with = |data: &str, secure: Option<&str>| {
            parse("").unwrap().with_directories(Some(data.into()), secure.map(PathBuf::from))
        };
        let beside = with("/x/sl/", None).unwrap();
        assert_eq!((beside.data_dir, beside.secure_dir), ("/x/sl".into(), "/x/sl.secure".into()));
        for (data, secure) in [("/x/d", "/x/d"), ("/x/d", "/x/d/secure"), ("/x/s/d", "/x/s"), ("", "/x")] {
            assert!(with(data, Some(secure)).is_none(), "{data} {secure}");
        }
    }

    #[test]
    fn plain_http_is_for_loopback_only() {
        for good in ["https://a", "http://127.0.0.1:8080", "http://localhost", "http://[::1]:1"] {
            assert_eq!(check_server(good), Ok(()), "{good}");
        }
        for bad in [
            "https://a/path",
            "https://u@a",
            "http://a",
            "http://127.0.0.1.evil.example",
            "ftp://a",
            "https://",
            "127.0.0.1",
        ] {
            assert!(check_server(bad).is_err(), "{bad}");
        }
    }
}
