//! One TOML file of the configuration: parsed once, everything in it checked where it stands.

use super::error::{ConfigError, ConfigErrorCode};
use super::layer::{At, Layer, Origin, Values};
use super::{device, value};
use serde::Deserialize;
use std::ops::Range;
use std::path::{Path, PathBuf};
use toml::Spanned;

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
    keys: RawKeys,
    #[serde(default)]
    log: RawLog,
    #[serde(default)]
    codes: RawCodes,
    device: Option<Vec<Spanned<device::RawDevice>>>,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields)]
struct RawCloud {
    server: Option<Spanned<String>>,
    ca_file: Option<Spanned<PathBuf>>,
    proxy: Option<Spanned<String>>,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields)]
struct RawPaths {
    data: Option<Spanned<PathBuf>>,
    secure: Option<Spanned<PathBuf>>,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields)]
struct RawStation {
    name: Option<Spanned<String>>,
    language: Option<Spanned<String>>,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields)]
struct RawKeys {
    store: Option<Spanned<String>>,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields)]
struct RawLog {
    filter: Option<Spanned<String>>,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields)]
struct RawCodes {
    lot_prefix: Option<Spanned<Vec<String>>>,
}

/// The text of one file, to say where in it something is wrong.
pub(super) struct Document<'a> {
    layer: Layer,
    file: &'a Path,
    text: &'a str,
}

impl<'a> Document<'a> {
    pub(super) fn new(layer: Layer, file: &'a Path, text: &'a str) -> Self {
        Self { layer, file, text }
    }

    /// Reads and checks all of it.
    pub(super) fn read(&self) -> Result<Values, ConfigError> {
        let raw: RawConfig = toml::from_str(self.text).map_err(|error| self.toml_error(&error))?;
        let devices = raw.device.map(|devices| {
            let at = devices.first().map_or(0..0, Spanned::span);
            device::bindings(self, devices).map(|value| At { value, origin: self.origin(&at) })
        });
        Ok(Values {
            server: self.checked(raw.cloud.server, "cloud.server", value::server)?,
            ca_file: self.taken(raw.cloud.ca_file),
            proxy: self.checked(raw.cloud.proxy, "cloud.proxy", value::proxy)?,
            data: self.taken(raw.paths.data),
            secure: self.taken(raw.paths.secure),
            name: self.taken(raw.station.name),
            language: self.checked(raw.station.language, "station.language", value::language)?,
            key_store: self.checked(raw.keys.store, "keys.store", value::key_store)?,
            log: self.checked(raw.log.filter, "log.filter", value::log)?,
            lot_prefix: self.checked(raw.codes.lot_prefix, "codes.lot_prefix", value::lot_prefix)?,
            devices: devices.transpose()?,
        })
    }

    fn taken<T>(&self, spanned: Option<Spanned<T>>) -> Option<At<T>> {
        spanned.map(|spanned| At { origin: self.origin(&spanned.span()), value: spanned.into_inner() })
    }

    fn checked<T, U>(
        &self,
        spanned: Option<Spanned<T>>,
        key: &str,
        check: fn(T) -> Result<U, &'static str>,
    ) -> Result<Option<At<U>>, ConfigError> {
        let Some(At { value, origin }) = self.taken(spanned) else { return Ok(None) };
        match check(value) {
            Ok(value) => Ok(Some(At { value, origin })),
            Err(expected) => {
                Err(ConfigError::at(&origin, ConfigErrorCode::ConfigInvalidValue, key, expected))
            }
        }
    }

    fn origin(&self, at: &Range<usize>) -> Origin {
        let before = self.text.get(..at.start).unwrap_or(self.text);
        let line = before.bytes().filter(|b| *b == b'\n').count() + 1;
        Origin { layer: self.layer, place: self.file.display().to_string(), line }
    }

    pub(super) fn error(
        &self,
        code: ConfigErrorCode,
        at: Range<usize>,
        key: &str,
        message: impl Into<String>,
    ) -> ConfigError {
        ConfigError::at(&self.origin(&at), code, key, message)
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
