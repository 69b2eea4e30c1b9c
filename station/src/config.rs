//! The configuration: five sources, one over the other (DESIGN §8), every one checked whole. Unknown keys and
//! impossible values are errors with file, line and key, or with the variable or flag.
//!
//! policy (`/etc/lotgate/policy.d/*.toml`) > command line > `LOTGATE_` variables > the configuration file > what the
//! installer left (`/usr/share/lotgate/installer.toml`) > built in. All files are TOML of this form:
//!
//! ```toml
//! [cloud]
//! server = "https://cloud.example"   # plain http only for loopback; LOTGATE_SERVER, --server
//! ca_file = "/etc/lotgate/plant-ca.pem"  # a private certificate authority, if the plant has one; LOTGATE_CA_FILE
//! proxy = "system"                   # "none", or http://host:port; LOTGATE_PROXY
//!
//! [paths]
//! data = "/var/lib/lotgate"          # the queue; LOTGATE_DATA_DIR, --data-dir
//! secure = "/var/lib/lotgate.secure" # keys and rollback anchor; default: data with ".secure" added;
//!                                    # LOTGATE_SECURE_DIR, --secure-dir
//! [station]
//! name = "Dispense 1"                # what people call it; used at enrolment; LOTGATE_STATION_NAME
//! language = "en"                    # "de": what the screen begins in, and the labels; LOTGATE_LANGUAGE
//!
//! [keys]
//! store = "automatic"                # at enrolment: the system's credential if there is one, else the system's own
//!                                    # key store (Windows) or a private file; "secret_service" instead of the file;
//!                                    # LOTGATE_KEY_STORE
//! [log]
//! filter = "info"                    # LOTGATE_LOG
//!
//! [codes]
//! lot_prefix = ["LOT:"]              # the site's own lot codes; lots name them whole in `codes`; LOTGATE_LOT_PREFIX,
//!                                    # with commas between
//! [[device]]                         # the uppermost source with any names them all
//! role = "scanner"                   # "scale" comes in a later version
//! transport = "serial"               # "hid" comes in a later version
//! name = "Hand scanner"              # what people call it; may be left out
//! path = "/dev/ttyACM0"              # or: usb = { vid = 0x0c2e, pid = 0x0b6a, serial = "1234" }
//! baud = 9600
//! data_bits = 8
//! parity = "none"                    # "odd", "even"
//! stop_bits = 1
//! terminator = "cr"                  # "lf", "crlf", "etx"
//!
//! [[device]]
//! role = "printer"                   # a label printer that speaks ZPL; one in this version
//! transport = "tcp"
//! name = "Container labels"
//! address = "10.0.7.20:9100"         # host or host:port; the port is 9100 if none is given
//! ```

mod device;
mod document;
mod error;
mod layer;
mod sources;
mod value;

pub use error::{ConfigError, ConfigErrorCode};
pub use layer::{Layer, Origin};
pub use sources::{Flags, Sources};

use device::DeviceBinding;
use layer::{At, Values};
use lotgate_devices::binding::ScannerBinding;
use lotgate_devices::printer::PrinterBinding;
use lotgate_domain::barcode::{SiteMeaning, SitePattern, SitePatterns};
use lotgate_domain::ids::Hash;
use lotgate_domain::text::Language;
use serde::Serialize;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// `[cloud] proxy`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum WayOut {
    /// As the system says.
    #[default]
    System,
    /// Directly.
    Direct,
    /// By this proxy.
    Proxy(String),
}

/// `[keys] store`: where the device secret is put at enrolment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum KeyStore {
    /// What fits the machine without being asked for.
    #[default]
    Automatic,
    /// The Secret Service of the user's session, unless the system hands over a credential.
    SecretService,
}

/// A key in force, as people may see it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Effective {
    /// `table.key`.
    pub key: &'static str,
    /// Its value, without secrets; null if it is not set.
    pub value: Value,
    /// Where it comes from.
    pub origin: Origin,
}

/// The configuration in force.
#[derive(Debug, Clone)]
pub struct Config {
    /// `[cloud] server`.
    pub server: Option<String>,
    /// `[cloud] ca_file`.
    pub ca_file: Option<PathBuf>,
    /// `[cloud] proxy`.
    pub proxy: WayOut,
    /// `[paths] data`, from the root.
    pub data_dir: PathBuf,
    /// `[paths] secure`, from the root; never within the data directory, nor the other way round.
    pub secure_dir: PathBuf,
    /// `[station] name`.
    pub station_name: String,
    /// `[station] language`.
    pub language: Language,
    /// `[keys] store`.
    pub key_store: KeyStore,
    /// `[log] filter`.
    pub log_filter: String,
    /// `[codes]`.
    pub site_codes: SitePatterns,
    /// `[[device]]` entries with role `scanner`.
    pub scanners: Vec<ScannerBinding>,
    /// `[[device]]` entries with role `printer`: one at most.
    pub printers: Vec<PrinterBinding>,
    /// Every key, in the order of the file above.
    pub effective: Vec<Effective>,
    /// SHA-256 over the JSON object of all keys and shown values, keys in order, without spaces.
    pub sha256: Hash,
}

impl Config {
    /// Reads all sources.
    ///
    /// # Errors
    /// [`ConfigError`].
    pub fn load(sources: &Sources) -> Result<Self, ConfigError> {
        Self::of(sources.read()?)
    }

    fn of(values: Values) -> Result<Self, ConfigError> {
        let data_dir = values.data.unwrap_or_else(|| built_in(default_data_dir()));
        // Whoever names another data directory means its own secure one: the keys of one station must not meet the
        // queue of another.
        let secure = values.secure.filter(|secure| secure.origin.layer <= data_dir.origin.layer);
        let secure_dir = secure.unwrap_or_else(|| built_in(secure_beside(&data_dir.value)));
        let (data_dir, secure_dir) = apart(data_dir, secure_dir)?;
        let name = values.name.unwrap_or_else(|| built_in("Station".to_owned()));
        let language = values.language.unwrap_or_else(|| built_in(Language::En));
        let proxy = values.proxy.unwrap_or_else(|| built_in(WayOut::default()));
        let key_store = values.key_store.unwrap_or_else(|| built_in(KeyStore::default()));
        let log = values.log.unwrap_or_else(|| built_in("info".to_owned()));
        let prefixes = values.lot_prefix.unwrap_or_else(|| built_in(Vec::new()));
        let devices = values.devices.unwrap_or_else(|| built_in(Vec::new()));

        let row = |key, value, origin: &Origin| Effective { key, value, origin: origin.clone() };
        let optional = |key, value: Option<(Value, &Origin)>| match value {
            Some((value, origin)) => row(key, value, origin),
            None => row(key, Value::Null, &Origin::built_in()),
        };
        let path = |path: &Path| json!(path.display().to_string());
        let effective = vec![
            optional("cloud.server", values.server.as_ref().map(|at| (json!(at.value), &at.origin))),
            optional("cloud.ca_file", values.ca_file.as_ref().map(|at| (path(&at.value), &at.origin))),
            row("cloud.proxy", shown_proxy(&proxy.value), &proxy.origin),
            row("paths.data", path(&data_dir.value), &data_dir.origin),
            row("paths.secure", path(&secure_dir.value), &secure_dir.origin),
            row("station.name", json!(name.value), &name.origin),
            row("station.language", json!(shown_language(language.value)), &language.origin),
            row("keys.store", json!(key_store.value.as_str()), &key_store.origin),
            row("log.filter", json!(log.value), &log.origin),
            row("codes.lot_prefix", json!(prefixes.value), &prefixes.origin),
            row("device", devices.value.iter().map(device::shown).collect(), &devices.origin),
        ];
        let (mut scanners, mut printers) = (Vec::new(), Vec::new());
        for device in devices.value {
            match device {
                DeviceBinding::Scanner(binding) => scanners.push(binding),
                DeviceBinding::Printer(binding) => printers.push(binding),
            }
        }
        let lot = |prefix| SitePattern { prefix, meaning: SiteMeaning::Lot };
        Ok(Self {
            server: values.server.map(|at| at.value),
            ca_file: values.ca_file.map(|at| at.value),
            proxy: proxy.value,
            data_dir: data_dir.value,
            secure_dir: secure_dir.value,
            station_name: name.value,
            language: language.value,
            key_store: key_store.value,
            log_filter: log.value,
            site_codes: SitePatterns(prefixes.value.into_iter().map(lot).collect()),
            scanners,
            printers,
            sha256: fingerprint(&effective),
            effective,
        })
    }
}

impl KeyStore {
    /// As written.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Automatic => "automatic",
            Self::SecretService => "secret_service",
        }
    }
}

const fn built_in<T>(value: T) -> At<T> {
    At { value, origin: Origin::built_in() }
}

fn default_data_dir() -> PathBuf {
    PathBuf::from(if cfg!(windows) { r"C:\ProgramData\Lotgate\data" } else { "/var/lib/lotgate" })
}

/// A proxy's user and password are nobody's business who looks at the configuration.
fn shown_proxy(proxy: &WayOut) -> Value {
    match proxy {
        WayOut::System => json!("system"),
        WayOut::Direct => json!("none"),
        WayOut::Proxy(url) => {
            let (scheme, rest) = url.split_once("://").unwrap_or(("", url));
            match rest.rsplit_once('@') {
                Some((_, host)) => json!(format!("{scheme}://***@{host}")),
                None => json!(url),
            }
        }
    }
}

const fn shown_language(language: Language) -> &'static str {
    match language {
        Language::En => "en",
        Language::De => "de",
    }
}

fn fingerprint(effective: &[Effective]) -> Hash {
    let values: BTreeMap<_, _> = effective.iter().map(|row| (row.key, &row.value)).collect();
    // Writing plain JSON values to memory cannot fail.
    Hash::of(&serde_json::to_vec(&values).unwrap_or_default())
}

/// Both directories from the root, and neither within the other.
fn apart(data: At<PathBuf>, secure: At<PathBuf>) -> Result<(At<PathBuf>, At<PathBuf>), ConfigError> {
    let whole = |at: At<PathBuf>, key: &str| match plain_absolute(&at.value) {
        Some(value) => Ok(At { value, ..at }),
        None => {
            let code = ConfigErrorCode::ConfigInvalidValue;
            Err(ConfigError::at(&at.origin, code, key, "expected a directory"))
        }
    };
    let (data, secure) = (whole(data, "paths.data")?, whole(secure, "paths.secure")?);
    if data.value.starts_with(&secure.value) || secure.value.starts_with(&data.value) {
        let message = format!("{} and {}", data.value.display(), secure.value.display());
        let code = ConfigErrorCode::DirectoriesNotApart;
        return Err(ConfigError::at(&secure.origin, code, "paths.secure", message));
    }
    Ok((data, secure))
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

#[cfg(test)]
mod tests;
