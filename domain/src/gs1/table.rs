//! The table of application identifiers: format, flags, partners, Digital Link role and title of each.
//!
//! Rows stand in the byte order of their identifiers and no identifier is the prefix of another, so one
//! binary search finds the identifier that begins any data.

mod identification;
mod logistics;
mod measures;
mod parties;
mod regulated;
mod special;

use std::cmp::Ordering;

use super::charset::CharSet;
use super::lint::Lint;

/// One part of a value: its characters, its length and the further checks on it.
#[derive(Debug, Clone, Copy)]
pub struct Component {
    /// Characters allowed.
    pub set: CharSet,
    /// Least length in characters.
    pub min: usize,
    /// Greatest length in characters; more than `min` only in the last component.
    pub max: usize,
    /// May be absent when the value ends before it.
    pub optional: bool,
    /// Checks after the character set, in order.
    pub lints: &'static [Lint],
}

impl Component {
    const fn of(set: CharSet, min: usize, max: usize) -> Self {
        Self { set, min, max, optional: false, lints: &[] }
    }

    const fn lint(mut self, lints: &'static [Lint]) -> Self {
        self.lints = lints;
        self
    }

    const fn optional(mut self) -> Self {
        self.optional = true;
        self
    }
}

/// Exactly `len` digits.
const fn digits(len: usize) -> Component {
    Component::of(CharSet::Digits, len, len)
}

/// One to `max` digits.
const fn digits_to(max: usize) -> Component {
    Component::of(CharSet::Digits, 1, max)
}

/// Exactly `len` characters of set 82.
const fn chars(len: usize) -> Component {
    Component::of(CharSet::Set82, len, len)
}

/// One to `max` characters of set 82.
const fn chars_to(max: usize) -> Component {
    Component::of(CharSet::Set82, 1, max)
}

/// A row of the table: one application identifier, or a run of them that differ in the last digit only.
#[derive(Debug, Clone, Copy)]
pub struct AiSpec {
    /// First identifier of the row.
    pub first: &'static str,
    /// Last identifier of the row; equal to `first` for a single one.
    pub last: &'static str,
    /// Data title; empty where GS1 gives none.
    pub title: &'static str,
    /// The value's parts in order.
    pub components: &'static [Component],
    /// Its length is predefined: no separator is needed after it.
    pub predefined: bool,
    /// May stand in the query of a Digital Link URI.
    pub attribute: bool,
    /// Partners of which one group must be present: groups apart by `,`, members of a group by `+`, `n` is
    /// any digit. Empty: none needed.
    pub requires: &'static str,
    /// Partners that must not be present, apart by `,`, `n` is any digit.
    pub excludes: &'static str,
    /// For a Digital Link primary key: its qualifiers in their order apart by `,`, alternatives by `|`.
    pub key: Option<&'static str>,
}

impl AiSpec {
    const fn predefined(mut self) -> Self {
        self.predefined = true;
        self
    }

    const fn attribute(mut self) -> Self {
        self.attribute = true;
        self
    }

    const fn requires(mut self, groups: &'static str) -> Self {
        self.requires = groups;
        self
    }

    const fn excludes(mut self, partners: &'static str) -> Self {
        self.excludes = partners;
        self
    }

    const fn key(mut self, qualifiers: &'static str) -> Self {
        self.key = Some(qualifiers);
        self
    }

    /// Least length of a value in characters.
    #[must_use]
    pub fn min_len(&self) -> usize {
        self.components.iter().filter(|part| !part.optional).map(|part| part.min).sum()
    }

    /// Greatest length of a value in characters.
    #[must_use]
    pub fn max_len(&self) -> usize {
        self.components.iter().map(|part| part.max).sum()
    }

    /// Whether some part of the value carries a GS1 check digit.
    #[must_use]
    pub fn has_check_digit(&self) -> bool {
        self.components.iter().any(|part| part.lints.contains(&Lint::CheckDigit))
    }

    /// Whether the value is one six-digit date (production, due, packaging, best before, sell by, expiry).
    #[must_use]
    pub fn is_date(&self) -> bool {
        self.predefined && matches!(self.components, [only] if only.lints.contains(&Lint::DayOrMonth))
    }

    /// Every identifier of the row.
    pub fn identifiers(&self) -> impl Iterator<Item = String> + use<> {
        let width = self.first.len();
        let first: u16 = self.first.parse().unwrap_or(0);
        let last: u16 = self.last.parse().unwrap_or(0);
        (first..=last).map(move |ai| format!("{ai:0width$}"))
    }
}

const fn ai(ai: &'static str, title: &'static str, components: &'static [Component]) -> AiSpec {
    ai_range(ai, ai, title, components)
}

const fn ai_range(
    first: &'static str,
    last: &'static str,
    title: &'static str,
    components: &'static [Component],
) -> AiSpec {
    AiSpec {
        first,
        last,
        title,
        components,
        predefined: false,
        attribute: false,
        requires: "",
        excludes: "",
        key: None,
    }
}

/// Every row, in the byte order of the identifiers.
pub fn rows() -> impl Iterator<Item = &'static AiSpec> {
    [identification::ROWS, measures::ROWS, parties::ROWS, logistics::ROWS, regulated::ROWS, special::ROWS]
        .into_iter()
        .flatten()
}

/// The row and length of the identifier that begins `data`.
#[must_use]
pub fn find_prefix(data: &[u8]) -> Option<(&'static AiSpec, usize)> {
    (2..=4).find_map(|len| Some((find(data.get(..len)?)?, len)))
}

/// The row of exactly this identifier.
#[must_use]
pub fn find(ai: &[u8]) -> Option<&'static AiSpec> {
    let rows = match ai {
        [b'0'..=b'2', ..] => identification::ROWS,
        [b'3', ..] => measures::ROWS,
        [b'4', b'3', ..] => logistics::ROWS,
        [b'4', ..] => parties::ROWS,
        [b'7', ..] => regulated::ROWS,
        [b'8' | b'9', ..] => special::ROWS,
        _ => return None,
    };
    if !ai.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let at = rows
        .binary_search_by(|row| {
            if row.last.as_bytes() < ai {
                Ordering::Less
            } else if row.first.as_bytes() > ai {
                Ordering::Greater
            } else {
                Ordering::Equal
            }
        })
        .ok()?;
    rows.get(at).filter(|row| row.first.len() == ai.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_sorted_and_no_identifier_is_the_prefix_of_another() {
        let all: Vec<String> = rows().flat_map(AiSpec::identifiers).collect();
        assert!(all.is_sorted(), "binary search needs the byte order");
        for pair in all.windows(2) {
            assert!(!pair[1].starts_with(&pair[0]), "{} would hide {}", pair[0], pair[1]);
        }
    }

    #[test]
    fn each_identifier_is_found_from_the_data_that_it_begins() {
        for ai in rows().flat_map(AiSpec::identifiers) {
            let (spec, len) = find_prefix(format!("{ai}99999").as_bytes()).expect("a row of the table");
            assert_eq!(len, ai.len());
            assert!(spec.identifiers().any(|known| known == ai));
        }
    }

    #[test]
    fn an_unassigned_identifier_is_not_found() {
        for data in ["04123", "3106", "3999", "42", "9", "", "1A", "0", "\u{1d}01"] {
            assert!(find_prefix(data.as_bytes()).is_none(), "{data:?}");
        }
    }

    #[test]
    fn only_the_last_component_varies_in_length_and_only_the_last_ones_are_optional() {
        for row in rows() {
            let fixed = row.components.iter().rev().skip(1).all(|part| part.min == part.max);
            let order = row.components.windows(2).all(|pair| !pair[0].optional || pair[1].optional);
            assert!(fixed && order, "{}", row.first);
            assert!(!row.predefined || row.min_len() == row.max_len(), "{}", row.first);
        }
    }
}
