//! What is wrong with a configuration, and where.

use super::layer::Origin;
use std::path::PathBuf;

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
    /// One of the two directories lies within the other: a copy of the data directory would take the keys along
    /// and never be noticed (PROTOCOL §2).
    DirectoriesNotApart,
}

impl ConfigErrorCode {
    /// Every code.
    pub const ALL: [Self; 7] = [
        Self::ConfigUnreadable,
        Self::ConfigMalformed,
        Self::ConfigUnknownKey,
        Self::ConfigInvalidValue,
        Self::ConfigMissingKey,
        Self::NotInThisVersion,
        Self::DirectoriesNotApart,
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
            Self::DirectoriesNotApart => "directories_not_apart",
        }
    }
}

/// A configuration that cannot be used: which source, line, key, and what is expected.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}: {message}", location(file, *line, key))]
pub struct ConfigError {
    /// What is wrong.
    pub code: ConfigErrorCode,
    /// The file, or `environment` or `command line`.
    pub file: PathBuf,
    /// Line in it, from 1; 0 if the whole of it is meant.
    pub line: usize,
    /// The key, as `table.key`, or the variable or flag; empty if none is meant.
    pub key: String,
    /// What is expected, in words.
    pub message: String,
}

impl ConfigError {
    pub(super) fn at(origin: &Origin, code: ConfigErrorCode, key: &str, message: impl Into<String>) -> Self {
        Self {
            code,
            file: PathBuf::from(&origin.place),
            line: origin.line,
            key: key.to_owned(),
            message: message.into(),
        }
    }
}

fn location(file: &std::path::Path, line: usize, key: &str) -> String {
    let mut location = file.display().to_string();
    if line > 0 {
        location = format!("{location}:{line}");
    }
    if key.is_empty() { location } else { format!("{location}: {key}") }
}
