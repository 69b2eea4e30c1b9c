//! The site's own codes: a prefix that the site has configured says what the rest of the code is.

use serde::{Deserialize, Serialize};

/// What a site's own code names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SiteMeaning {
    /// A lot.
    Lot,
    /// An item (material).
    Item,
    /// A container.
    Container,
    /// A place: a room, a rack, a workstation.
    Place,
}

impl SiteMeaning {
    /// The word in configuration, in `Element::ai` and in operations.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Lot => "lot",
            Self::Item => "item",
            Self::Container => "container",
            Self::Place => "place",
        }
    }
}

/// One kind of the site's own codes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SitePattern {
    /// How such a code begins, exactly; an empty prefix never fits.
    pub prefix: String,
    /// What the text after the prefix names.
    pub meaning: SiteMeaning,
}

/// The site's own codes; none by default.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct SitePatterns(pub Vec<SitePattern>);

impl SitePatterns {
    /// What the text names and the code after its prefix: the longest prefix that fits and leaves a code.
    #[must_use]
    pub fn read<'a>(&self, text: &'a str) -> Option<(SiteMeaning, &'a str)> {
        self.0
            .iter()
            .filter(|pattern| !pattern.prefix.is_empty())
            .filter_map(|pattern| Some((pattern, text.strip_prefix(pattern.prefix.as_str())?)))
            .filter(|(_, code)| !code.is_empty())
            .max_by_key(|(pattern, _)| pattern.prefix.len())
            .map(|(pattern, code)| (pattern.meaning, code))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_prefix_that_leaves_a_code_decides() {
        let pattern = |prefix: &str, meaning| SitePattern { prefix: prefix.into(), meaning };
        let site = SitePatterns(vec![
            pattern("", SiteMeaning::Place),
            pattern("L", SiteMeaning::Item),
            pattern("LOT:", SiteMeaning::Lot),
        ]);
        assert_eq!(site.read("LOT:A1"), Some((SiteMeaning::Lot, "A1")));
        assert_eq!(site.read("LOT:"), Some((SiteMeaning::Item, "OT:")));
        assert_eq!(site.read("L"), None, "no code is left");
        assert_eq!(site.read("X1"), None, "an empty prefix fits nothing");
    }
}
