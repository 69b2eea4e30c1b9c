//! The message catalogue: every code that a person can see has its sentence in every language (DESIGN §3, §7).

use std::collections::BTreeMap;
use std::sync::LazyLock;

/// A language of the catalogue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Language {
    /// English.
    En,
    /// German.
    De,
}

type Catalogue = BTreeMap<String, String>;

static EN: LazyLock<Catalogue> = LazyLock::new(|| parse(include_str!("../text/en.json")));
static DE: LazyLock<Catalogue> = LazyLock::new(|| parse(include_str!("../text/de.json")));

/// The files are part of the program and a test reads them; a broken one shows codes instead of words.
fn parse(json: &str) -> Catalogue {
    serde_json::from_str(json).unwrap_or_default()
}

impl Language {
    /// Every language.
    pub const ALL: [Self; 2] = [Self::En, Self::De];

    fn catalogue(self) -> &'static Catalogue {
        match self {
            Self::En => &EN,
            Self::De => &DE,
        }
    }

    /// The sentence for `code`; the code itself if there is none.
    #[must_use]
    pub fn text(self, code: &str) -> &str {
        self.catalogue().get(code).map_or(code, String::as_str)
    }

    /// Every code that has a sentence.
    pub fn codes(self) -> impl Iterator<Item = &'static str> {
        self.catalogue().keys().map(String::as_str)
    }
}
