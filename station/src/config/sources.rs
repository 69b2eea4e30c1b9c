//! Where the sources of the configuration lie, and reading each of them.

use super::document::Document;
use super::error::{ConfigError, ConfigErrorCode};
use super::layer::{At, Layer, Origin, Values};
use super::value;
use std::ffi::OsString;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

/// Every variable of the program begins so.
const PREFIX: &str = "LOTGATE_";
/// Names the configuration file; `--config` goes before it.
const CONFIG: &str = "LOTGATE_CONFIG";

/// What the command line says of the configuration.
#[derive(Debug, Clone, Default)]
pub struct Flags {
    /// `--config`.
    pub config: Option<PathBuf>,
    /// `--data-dir`.
    pub data_dir: Option<PathBuf>,
    /// `--secure-dir`.
    pub secure_dir: Option<PathBuf>,
    /// `--server`.
    pub server: Option<String>,
}

/// Where everything is looked for.
#[derive(Debug, Clone)]
pub struct Sources {
    /// Its files `*.toml` go over everything else; of two that set the same key, the one with the later name.
    pub policy_dir: PathBuf,
    /// What the installer left; need not exist.
    pub installer_file: PathBuf,
    /// The configuration file if none is named; need not exist.
    pub default_file: PathBuf,
    /// The command line.
    pub flags: Flags,
    /// The environment; what does not begin with `LOTGATE_` is passed over.
    pub environment: Vec<(OsString, OsString)>,
}

impl Sources {
    /// The sources of this machine. Policies in the registry of Windows are not read yet.
    #[must_use]
    pub fn of_this_machine(flags: Flags) -> Self {
        let (policy_dir, installer_file, default_file) = if cfg!(windows) {
            (
                r"C:\ProgramData\Lotgate\policy.d",
                r"C:\ProgramData\Lotgate\installer.toml",
                r"C:\ProgramData\Lotgate\lotgate.toml",
            )
        } else {
            ("/etc/lotgate/policy.d", "/usr/share/lotgate/installer.toml", "/etc/lotgate/lotgate.toml")
        };
        Self {
            policy_dir: policy_dir.into(),
            installer_file: installer_file.into(),
            default_file: default_file.into(),
            flags,
            environment: std::env::vars_os().collect(),
        }
    }

    /// Reads all of them, each whole: a mistake in one is told even where another one goes over it.
    pub(super) fn read(&self) -> Result<Values, ConfigError> {
        let mut values = Values::default();
        for file in self.policies()?.iter().rev() {
            values = values.over(read_file(Layer::Policy, file, false)?);
        }
        values = values.over(self.read_flags()?);
        values = values.over(self.read_environment()?);
        values = values.over(match self.named_file() {
            Some(file) => read_file(Layer::File, &file, false)?,
            None => read_file(Layer::File, &self.default_file, true)?,
        });
        Ok(values.over(read_file(Layer::Installer, &self.installer_file, true)?))
    }

    /// By name.
    fn policies(&self) -> Result<Vec<PathBuf>, ConfigError> {
        let failed = |error: std::io::Error| unreadable(&self.policy_dir, &error);
        let entries = match std::fs::read_dir(&self.policy_dir) {
            Ok(entries) => entries,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(failed(error)),
        };
        let mut files = Vec::new();
        for entry in entries {
            let path = entry.map_err(failed)?.path();
            if path.extension().is_some_and(|extension| extension == "toml") {
                files.push(path);
            }
        }
        files.sort();
        Ok(files)
    }

    fn named_file(&self) -> Option<PathBuf> {
        let variable = || self.environment.iter().find(|(name, _)| name == CONFIG);
        self.flags.config.clone().or_else(|| variable().map(|(_, value)| PathBuf::from(value)))
    }

    fn read_flags(&self) -> Result<Values, ConfigError> {
        let origin = |flag: &str| Origin { layer: Layer::Flag, place: flag.to_owned(), line: 0 };
        let path = |path: &Option<PathBuf>, flag| {
            path.as_ref().map(|path| At { value: path.clone(), origin: origin(flag) })
        };
        let server =
            self.flags.server.clone().map(|server| checked(server, value::server, origin("--server")));
        Ok(Values {
            server: server.transpose()?,
            data: path(&self.flags.data_dir, "--data-dir"),
            secure: path(&self.flags.secure_dir, "--secure-dir"),
            ..Values::default()
        })
    }

    fn read_environment(&self) -> Result<Values, ConfigError> {
        let mut values = Values::default();
        for (name, value) in &self.environment {
            let name = name.to_string_lossy();
            if !name.starts_with(PREFIX) {
                continue;
            }
            let origin = Origin { layer: Layer::Environment, place: name.clone().into_owned(), line: 0 };
            let path = || Some(At { value: PathBuf::from(value), origin: origin.clone() });
            let text = || text(value, &origin);
            match &*name {
                CONFIG => {}
                "LOTGATE_DATA_DIR" => values.data = path(),
                "LOTGATE_SECURE_DIR" => values.secure = path(),
                "LOTGATE_CA_FILE" => values.ca_file = path(),
                "LOTGATE_SERVER" => values.server = Some(checked(text()?, value::server, origin)?),
                "LOTGATE_PROXY" => values.proxy = Some(checked(text()?, value::proxy, origin)?),
                "LOTGATE_STATION_NAME" => values.name = Some(At { value: text()?, origin }),
                "LOTGATE_LANGUAGE" => values.language = Some(checked(text()?, value::language, origin)?),
                "LOTGATE_KEY_STORE" => values.key_store = Some(checked(text()?, value::key_store, origin)?),
                "LOTGATE_LOG" => values.log = Some(checked(text()?, value::log, origin)?),
                "LOTGATE_LOT_PREFIX" => {
                    let prefixes = text()?.split(',').map(str::to_owned).collect();
                    values.lot_prefix = Some(checked(prefixes, value::lot_prefix, origin)?);
                }
                _ => {
                    let message = "no such variable";
                    return Err(refused(&origin, ConfigErrorCode::ConfigUnknownKey, message));
                }
            }
        }
        Ok(values)
    }
}

fn checked<T, U>(
    given: T,
    check: fn(T) -> Result<U, &'static str>,
    origin: Origin,
) -> Result<At<U>, ConfigError> {
    match check(given) {
        Ok(value) => Ok(At { value, origin }),
        Err(expected) => Err(refused(&origin, ConfigErrorCode::ConfigInvalidValue, expected)),
    }
}

fn text(value: &OsString, origin: &Origin) -> Result<String, ConfigError> {
    let text = value.to_str().map(str::to_owned);
    text.ok_or_else(|| refused(origin, ConfigErrorCode::ConfigMalformed, "expected UTF-8"))
}

/// The error of a flag or variable, which is its own key.
fn refused(origin: &Origin, code: ConfigErrorCode, message: &str) -> ConfigError {
    let file = if origin.layer == Layer::Flag { "command line" } else { "environment" };
    ConfigError { file: file.into(), ..ConfigError::at(origin, code, &origin.place, message) }
}

fn read_file(layer: Layer, file: &Path, may_be_absent: bool) -> Result<Values, ConfigError> {
    match std::fs::read_to_string(file) {
        Ok(text) => Document::new(layer, file, &text).read(),
        Err(error) if may_be_absent && error.kind() == ErrorKind::NotFound => Ok(Values::default()),
        Err(error) => Err(unreadable(file, &error)),
    }
}

fn unreadable(file: &Path, error: &std::io::Error) -> ConfigError {
    ConfigError {
        code: ConfigErrorCode::ConfigUnreadable,
        file: file.to_owned(),
        line: 0,
        key: String::new(),
        message: error.to_string(),
    }
}
