//! The sources of the configuration, one over the other, and the values that one of them gives.

use super::device::DeviceBinding;
use super::{KeyStore, WayOut};
use lotgate_domain::text::Language;
use serde::Serialize;
use std::path::PathBuf;

/// The sources; earlier ones win (DESIGN §8).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Layer {
    /// A file of the policy directory.
    Policy,
    /// The command line.
    Flag,
    /// A `LOTGATE_` variable.
    Environment,
    /// The configuration file.
    File,
    /// What the installer left.
    Installer,
    /// What enrolment left in the data directory.
    Enrolment,
    /// The program itself.
    BuiltIn,
}

impl Layer {
    /// As written.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Policy => "policy",
            Self::Flag => "flag",
            Self::Environment => "environment",
            Self::File => "file",
            Self::Installer => "installer",
            Self::Enrolment => "enrolment",
            Self::BuiltIn => "built_in",
        }
    }
}

/// Where a value stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Origin {
    /// In which source.
    pub layer: Layer,
    /// The file, variable or flag; empty if built in.
    pub place: String,
    /// Line in the file, from 1; 0 where there are no lines.
    pub line: usize,
}

impl Origin {
    /// The program's own choice.
    #[must_use]
    pub const fn built_in() -> Self {
        Self { layer: Layer::BuiltIn, place: String::new(), line: 0 }
    }
}

impl std::fmt::Display for Origin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.layer.as_str())?;
        if !self.place.is_empty() {
            write!(f, " {}", self.place)?;
        }
        if self.line > 0 {
            write!(f, ":{}", self.line)?;
        }
        Ok(())
    }
}

/// A value and where it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct At<T> {
    pub(super) value: T,
    pub(super) origin: Origin,
}

/// What one source says, or several, the upper over the lower.
#[derive(Debug, Default)]
pub(super) struct Values {
    pub(super) server: Option<At<String>>,
    pub(super) ca_file: Option<At<PathBuf>>,
    pub(super) proxy: Option<At<WayOut>>,
    pub(super) data: Option<At<PathBuf>>,
    pub(super) secure: Option<At<PathBuf>>,
    pub(super) name: Option<At<String>>,
    pub(super) language: Option<At<Language>>,
    pub(super) key_store: Option<At<KeyStore>>,
    pub(super) log: Option<At<String>>,
    pub(super) lot_prefix: Option<At<Vec<String>>>,
    pub(super) devices: Option<At<Vec<DeviceBinding>>>,
}

impl Values {
    /// These, and where they say nothing, `lower`.
    pub(super) fn over(self, lower: Self) -> Self {
        Self {
            server: self.server.or(lower.server),
            ca_file: self.ca_file.or(lower.ca_file),
            proxy: self.proxy.or(lower.proxy),
            data: self.data.or(lower.data),
            secure: self.secure.or(lower.secure),
            name: self.name.or(lower.name),
            language: self.language.or(lower.language),
            key_store: self.key_store.or(lower.key_store),
            log: self.log.or(lower.log),
            lot_prefix: self.lot_prefix.or(lower.lot_prefix),
            devices: self.devices.or(lower.devices),
        }
    }
}
