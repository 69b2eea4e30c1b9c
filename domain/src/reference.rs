//! Reference data: what the station pulls and decides on (PROTOCOL §5, §9.18).

use crate::ids::{Hash, SiteId};
use jiff::civil::Date;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Release status of a lot (21 CFR 211.84, 211.87, 211.89).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LotStatus {
    /// May be used.
    #[serde(alias = "approved")]
    Released,
    /// Not examined yet.
    #[serde(alias = "quarantined")]
    Quarantine,
    /// Put on hold after release.
    #[serde(alias = "held", alias = "on_hold")]
    Hold,
    /// Never to be used.
    Rejected,
}

/// A material.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Item {
    /// Its code at the site.
    pub item: String,
    /// What people call it; its code where there is no name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// GTIN-14, where it has one.
    #[serde(default)]
    pub gtin: Option<String>,
}

/// A lot of a material.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Lot {
    /// Lot number.
    pub lot: String,
    /// Of which item.
    pub item: String,
    /// Release status.
    pub status: LotStatus,
    /// Last day on which it may be used.
    #[serde(default)]
    pub expiry: Option<Date>,
    /// Codes other than GS1 that name this lot.
    #[serde(default)]
    pub codes: Vec<String>,
}

/// What `lotgate-cloud reference import` reads: everything a site's stations need to know of lots.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ReferenceFile {
    /// The materials.
    pub items: Vec<Item>,
    /// Their lots.
    pub lots: Vec<Lot>,
}

/// One line of a page.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case", deny_unknown_fields)]
pub enum Line {
    /// The first line of every page.
    Page {
        /// The page replaces all before it.
        replace: bool,
        /// IANA name of the site's time zone.
        zone: String,
    },
    /// A material.
    Item(Item),
    /// A lot.
    Lot(Lot),
}

/// Reference data is not usable.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReferenceError {
    /// A line is not as specified.
    #[error("line {0} is not as specified")]
    Line(usize),
    /// The page does not begin with its page line, or begins with one that does not replace.
    #[error("page does not begin with a replacing page line")]
    NoPageLine,
    /// The zone is not known.
    #[error("unknown time zone {0}")]
    Zone(String),
    /// Two entries have the same identity.
    #[error("{0} stands twice")]
    Duplicate(String),
    /// A lot names an item that is not there.
    #[error("lot {lot} names unknown item {item}")]
    UnknownItem {
        /// The lot.
        lot: String,
        /// The item.
        item: String,
    },
    /// A GTIN is not 14 digits with a right check digit.
    #[error("item {0} has a wrong GTIN")]
    Gtin(String),
}

/// The reference data of a site at one cursor.
#[derive(Debug, Clone)]
pub struct Snapshot {
    /// Number of the page.
    pub cursor: u64,
    /// Hash of the feed up to it.
    pub hash: Hash,
    /// The site's zone.
    pub zone: jiff::tz::TimeZone,
    items: BTreeMap<String, Item>,
    by_gtin: BTreeMap<String, String>,
    lots: Vec<Lot>,
    by_number: BTreeMap<String, Vec<usize>>,
    by_code: BTreeMap<String, usize>,
}

/// The hash of a site's feed before its first page.
#[must_use]
pub fn feed_start(site: SiteId) -> Hash {
    Hash::of_parts(&[b"lotgate/feed/v1", &[0], site.0.as_bytes()])
}

/// The hash of the feed after `page`.
#[must_use]
pub fn feed_next(before: Hash, page: &[u8]) -> Hash {
    Hash::of_parts(&[before.as_bytes(), Hash::of(page).as_bytes()])
}

/// Writes the one page that holds all of `file`.
///
/// # Errors
/// [`ReferenceError`], the same checks as reading it back.
pub fn render_page(file: &ReferenceFile, zone: &str) -> Result<Vec<u8>, ReferenceError> {
    let page_line = Line::Page { replace: true, zone: zone.to_owned() };
    let items = file.items.iter().cloned().map(Line::Item);
    let lots = file.lots.iter().cloned().map(Line::Lot);
    let mut page = Vec::new();
    for (number, line) in std::iter::once(page_line).chain(items).chain(lots).enumerate() {
        page.extend(crate::canonical::write(&line).map_err(|_| ReferenceError::Line(number + 1))?);
        page.push(b'\n');
    }
    Snapshot::read(&page, 1, Hash::ZERO)?;
    Ok(page)
}

impl Snapshot {
    /// Reads a page. `cursor` and `hash` are those of the signed statement that came with it.
    ///
    /// # Errors
    /// [`ReferenceError`].
    pub fn read(page: &[u8], cursor: u64, hash: Hash) -> Result<Self, ReferenceError> {
        let mut lines = page.split(|b| *b == b'\n').enumerate().filter(|(_, line)| !line.is_empty());
        let parse = |number: usize, line: &[u8]| {
            serde_json::from_slice::<Line>(line).map_err(|_| ReferenceError::Line(number + 1))
        };
        let Some((number, first)) = lines.next() else { return Err(ReferenceError::NoPageLine) };
        let Line::Page { replace: true, zone } = parse(number, first)? else {
            return Err(ReferenceError::NoPageLine);
        };
        let zone = crate::time::zone(&zone).ok_or(ReferenceError::Zone(zone))?;
        let mut snapshot = Self {
            cursor,
            hash,
            zone,
            items: BTreeMap::new(),
            by_gtin: BTreeMap::new(),
            lots: Vec::new(),
            by_number: BTreeMap::new(),
            by_code: BTreeMap::new(),
        };
        for (number, line) in lines {
            match parse(number, line)? {
                Line::Page { .. } => return Err(ReferenceError::Line(number + 1)),
                Line::Item(item) => snapshot.add_item(item)?,
                Line::Lot(lot) => snapshot.add_lot(lot)?,
            }
        }
        Ok(snapshot)
    }

    fn add_item(&mut self, item: Item) -> Result<(), ReferenceError> {
        if let Some(gtin) = &item.gtin {
            if !crate::gs1::is_gtin14(gtin) {
                return Err(ReferenceError::Gtin(item.item));
            }
            if self.by_gtin.insert(gtin.clone(), item.item.clone()).is_some() {
                return Err(ReferenceError::Duplicate(gtin.clone()));
            }
        }
        let name = item.item.clone();
        match self.items.insert(name.clone(), item) {
            None => Ok(()),
            Some(_) => Err(ReferenceError::Duplicate(name)),
        }
    }

    fn add_lot(&mut self, lot: Lot) -> Result<(), ReferenceError> {
        if !self.items.contains_key(&lot.item) {
            return Err(ReferenceError::UnknownItem { lot: lot.lot, item: lot.item });
        }
        if self.lots_numbered(&lot.lot).any(|other| other.item == lot.item) {
            return Err(ReferenceError::Duplicate(lot.lot));
        }
        let index = self.lots.len();
        for code in &lot.codes {
            if self.by_code.insert(code.clone(), index).is_some() {
                return Err(ReferenceError::Duplicate(code.clone()));
            }
        }
        self.by_number.entry(lot.lot.clone()).or_default().push(index);
        self.lots.push(lot);
        Ok(())
    }

    /// Every lot with this number, of whatever item.
    pub fn lots_numbered(&self, number: &str) -> impl Iterator<Item = &Lot> {
        self.by_number.get(number).into_iter().flatten().filter_map(|index| self.lots.get(*index))
    }

    /// The lot of an item.
    #[must_use]
    pub fn lot(&self, item: &str, number: &str) -> Option<&Lot> {
        self.lots_numbered(number).find(|lot| lot.item == item)
    }

    /// The lot that a code of the site names.
    #[must_use]
    pub fn lot_by_code(&self, code: &str) -> Option<&Lot> {
        self.by_code.get(code).and_then(|index| self.lots.get(*index))
    }

    /// The item with a GTIN-14.
    #[must_use]
    pub fn item_by_gtin(&self, gtin: &str) -> Option<&Item> {
        self.by_gtin.get(gtin).and_then(|item| self.items.get(item))
    }

    /// The item with this code.
    #[must_use]
    pub fn item(&self, item: &str) -> Option<&Item> {
        self.items.get(item)
    }

    /// Every lot, in the order of the page.
    pub fn lots(&self) -> impl Iterator<Item = &Lot> {
        self.lots.iter()
    }

    /// How many lots it holds.
    #[must_use]
    pub fn lot_count(&self) -> usize {
        self.lots.len()
    }
}
