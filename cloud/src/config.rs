//! The configuration file: TOML, every key listed here, an unknown one is an error with file, line and key.
//!
//! | key | meaning | default |
//! |---|---|---|
//! | `[listen] address` | address and port; port 0 takes a free one | `127.0.0.1:8443` |
//! | `[tls] certificate`, `key` | PEM files; without the table plain HTTP is spoken, on a loopback address only | none |
//! | `[tls] terminated_elsewhere` | a proxy speaks TLS, so plain HTTP is spoken on any address | `false` |
//! | `[database] url` | Postgres as the app role, which owns nothing; by a socket or on loopback, since connections are not encrypted | required |
//! | `[database] owner_url` | Postgres as the owner role, for `migrate` alone; local, too | none |
//! | `[database] connections` | most connections of one process | `16` |
//! | `[keys] master_key_file` | 64 hexadecimal digits, 0600; seals the tenants' private keys, and is never changed | required |
//! | `[keys] nonce_key_file` | the same form; makes challenge nonces, the same at every worker | required |
//! | `[keys] previous_nonce_key_file` | the key before it, for the ten minutes after a change | none |
//! | `[stations] restore_window_days` | how far back the database may be restored; stations keep that much | `7` |
//!
//! Relative paths are relative to the file. `lotgate-cloud keys create` makes the key files that are missing.

use crate::crypto::MasterKey;
use crate::keys::{self, KeyFileError};
use crate::nonce::NonceKeys;
use crate::{Settings, system_clock};
use serde::Deserialize;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

/// A configuration file, as it is written.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// `[listen]`.
    #[serde(default)]
    pub listen: Listen,
    /// `[tls]`.
    pub tls: Option<Tls>,
    /// `[database]`.
    pub database: Database,
    /// `[keys]`.
    pub keys: Keys,
    /// `[stations]`.
    #[serde(default)]
    pub stations: Stations,
}

/// Where to listen.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Listen {
    /// Address and port.
    pub address: SocketAddr,
}

/// How connections are protected.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tls {
    /// PEM file of the certificate chain.
    pub certificate: Option<PathBuf>,
    /// PEM file of the private key.
    pub key: Option<PathBuf>,
    /// A proxy speaks TLS.
    #[serde(default)]
    pub terminated_elsewhere: bool,
}

/// The database.
#[derive(Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Database {
    /// As the app role.
    pub url: String,
    /// As the owner role.
    pub owner_url: Option<String>,
    /// Most connections of one process.
    #[serde(default = "default_connections")]
    pub connections: usize,
}

/// The key files.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Keys {
    /// Seals the tenants' private keys.
    pub master_key_file: PathBuf,
    /// Makes nonces.
    pub nonce_key_file: PathBuf,
    /// Made nonces until a moment ago.
    pub previous_nonce_key_file: Option<PathBuf>,
}

/// What stations are told.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Stations {
    /// How far back the database may be restored.
    pub restore_window_days: u64,
}

/// The configuration cannot be used. Its text begins with the code.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("config_unreadable: {path}")]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// Not TOML, an unknown key, a missing key, a value of another kind.
    #[error("config_invalid: {path}:{line}: {message}")]
    Invalid {
        /// The file.
        path: PathBuf,
        /// Where, from 1.
        line: usize,
        /// What, with the key.
        message: String,
    },
    /// The values do not go together.
    #[error("config_invalid: {path}: {message}")]
    Meaning {
        /// The file.
        path: PathBuf,
        /// What, with the key.
        message: &'static str,
    },
    /// A key file cannot be used.
    #[error(transparent)]
    KeyFile(#[from] KeyFileError),
}

impl Config {
    /// Reads a file.
    ///
    /// # Errors
    /// [`ConfigError`].
    pub fn read(path: &Path) -> Result<Self, ConfigError> {
        let text = std::fs::read_to_string(path)
            .map_err(|source| ConfigError::Read { path: path.to_owned(), source })?;
        Self::parse(&text, path)
    }

    /// Reads the text of the file at `path`.
    ///
    /// # Errors
    /// [`ConfigError::Invalid`], [`ConfigError::Meaning`].
    pub fn parse(text: &str, path: &Path) -> Result<Self, ConfigError> {
        let mut config: Self = toml::from_str(text).map_err(|error| ConfigError::Invalid {
            path: path.to_owned(),
            line: line_at(text, error.span().map_or(0, |span| span.start)),
            message: error.message().to_owned(),
        })?;
        config.check().map_err(|message| ConfigError::Meaning { path: path.to_owned(), message })?;
        let directory = path.parent().unwrap_or_else(|| Path::new(""));
        for file in config.files() {
            *file = directory.join(&*file);
        }
        Ok(config)
    }

    /// What a cloud works with, its key files read.
    ///
    /// # Errors
    /// [`ConfigError::KeyFile`].
    pub fn settings(&self) -> Result<Settings, ConfigError> {
        let previous = self.keys.previous_nonce_key_file.as_deref().map(keys::read).transpose()?;
        let nonces = NonceKeys::new(*keys::read(&self.keys.nonce_key_file)?, previous.map(|key| *key));
        Ok(Settings {
            database_url: self.database.url.clone(),
            connections: self.database.connections,
            master: MasterKey::new(*keys::read(&self.keys.master_key_file)?),
            nonces,
            restore_window_s: self.stations.restore_window_days.saturating_mul(24 * 60 * 60),
            clock: system_clock(),
        })
    }

    fn check(&self) -> Result<(), &'static str> {
        let pair = self.tls.as_ref().map(|tls| (tls.certificate.is_some(), tls.key.is_some()));
        let elsewhere = self.tls.as_ref().is_some_and(|tls| tls.terminated_elsewhere);
        match pair {
            Some((true, false) | (false, true)) => Err("tls.certificate and tls.key are given together"),
            Some((true, true)) if elsewhere => Err("tls.terminated_elsewhere is given without a certificate"),
            None | Some((false, false)) if !elsewhere && !self.listen.address.ip().is_loopback() => {
                Err("listen.address is not loopback, so tls.certificate and tls.key are needed")
            }
            _ => Ok(()),
        }
    }

    fn files(&mut self) -> Vec<&mut PathBuf> {
        let mut files = vec![&mut self.keys.master_key_file, &mut self.keys.nonce_key_file];
        files.extend(&mut self.keys.previous_nonce_key_file);
        if let Some(tls) = &mut self.tls {
            files.extend(tls.certificate.iter_mut().chain(&mut tls.key));
        }
        files
    }
}

impl Default for Listen {
    fn default() -> Self {
        Self { address: SocketAddr::from(([127, 0, 0, 1], 8443)) }
    }
}

impl Default for Stations {
    fn default() -> Self {
        Self { restore_window_days: 7 }
    }
}

impl std::fmt::Debug for Database {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Database").field("connections", &self.connections).finish_non_exhaustive()
    }
}

const fn default_connections() -> usize {
    16
}

fn line_at(text: &str, offset: usize) -> usize {
    text.bytes().take(offset).filter(|byte| *byte == b'\n').count() + 1
}

#[cfg(test)]
mod tests {
    use super::*;

    const LEAST: &str = "[database]\nurl = \"postgresql://app@/d\"\n[keys]\nmaster_key_file = \"m\"\nnonce_key_file = \"/n\"\n";

    fn parse(text: &str) -> Result<Config, ConfigError> {
        Config::parse(text, Path::new("/etc/lotgate/cloud.toml"))
    }

    #[test]
    fn the_least_file_has_documented_defaults() {
        let config = parse(LEAST).unwrap();
        assert_eq!(config.listen.address.to_string(), "127.0.0.1:8443");
        assert_eq!(config.database.connections, 16);
        assert_eq!(config.stations.restore_window_days, 7);
        assert_eq!(config.keys.master_key_file, Path::new("/etc/lotgate/m"), "relative to the file");
        assert_eq!(config.keys.nonce_key_file, Path::new("/n"));
    }

    #[test]
    fn the_example_file_is_a_configuration() {
        let example = include_str!("../lotgate-cloud.example.toml");
        parse(example).expect("as shipped");
        let all: String = example
            .lines()
            .map(|line| line.strip_prefix("# ").filter(|rest| rest.contains(" = ") || rest.starts_with('[')))
            .zip(example.lines())
            .map(|(given, line)| format!("{}\n", given.unwrap_or(line)))
            .collect();
        parse(&all.replace("terminated_elsewhere = true", "terminated_elsewhere = false"))
            .expect("with every key that is commented out");
    }

    #[test]
    fn an_unknown_key_is_named_with_file_and_line() {
        for (text, line, key) in [
            (format!("{LEAST}colour = 1\n"), 6, "colour"),
            (format!("[liste]\n{LEAST}"), 1, "liste"),
            (format!("{LEAST}[stations]\nrestore_window_days = \"x\"\n"), 7, "string"),
            ("[database]\nurl = \"x\"\n".to_owned(), 1, "keys"),
        ] {
            let error = parse(&text).unwrap_err().to_string();
            assert!(
                error.starts_with(&format!("config_invalid: /etc/lotgate/cloud.toml:{line}: ")),
                "{error}"
            );
            assert!(error.contains(key), "{error}");
        }
    }

    #[test]
    fn plain_http_needs_loopback_or_a_proxy() {
        let open = format!("[listen]\naddress = \"0.0.0.0:80\"\n{LEAST}");
        assert!(matches!(parse(&open), Err(ConfigError::Meaning { .. })));
        assert!(parse(&format!("{open}[tls]\nterminated_elsewhere = true\n")).is_ok());
        assert!(parse(&format!("{open}[tls]\ncertificate = \"c\"\nkey = \"k\"\n")).is_ok());
        assert!(parse(&format!("{LEAST}[tls]\ncertificate = \"c\"\n")).is_err(), "no key");
    }

    #[test]
    fn the_debug_form_keeps_the_database_password() {
        let config = parse(&LEAST.replace("app@", "app:hush@")).unwrap();
        assert!(!format!("{config:?}").contains("hush"), "{config:?}");
    }
}
