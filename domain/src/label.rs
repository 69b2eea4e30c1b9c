//! The container label: one typed template, compiled to the bytes that its printer gets (LBL-2, LBL-3).
//!
//! The flow: [`ContainerLabel::compile`] checks each value, makes the data of the two-dimensional code and reads
//! them with the scanner's own rules, fits each text into its place ([`fit`](self) never cuts), and writes one ZPL
//! format. The printer draws the code itself. The words on it are of the message catalogue.
//!
//! # Invariants
//! - Nothing in a value can act as a command of the printer, and every value is on the label in full
//!   (`tests/label_rules.rs`, `tests/tests/labels.rs`, the fuzz target `label`).
//! - The code is read back by [`barcode::read`] as exactly what [`Compiled::elements`] says, or there is no label
//!   (`tests/label_rules.rs`).
//! - Same values, same bytes: nothing but the values goes in (`tests/label_rules.rs`).

mod error;
mod fit;
mod serial;
mod zpl;

use jiff::civil::Date;

pub use error::{Field, LabelError};
pub use serial::new_serial;

use crate::barcode::{self, Element, SitePatterns};
use crate::gs1::charset::CharSet;
use crate::gs1::{self, element_string};
use crate::text::Language;
use fit::{Fitted, Size, fit};
use zpl::{Align, Zpl};

/// Name and version of the one template; another look is another version.
pub const TEMPLATE: &str = "container/1";

/// The words of the template: keys of the message catalogue.
pub const WORDS: [&str; 8] = [
    "label_word_copy",
    "label_word_expiry",
    "label_word_lot",
    "label_word_made",
    "label_word_no_expiry",
    "label_word_original",
    "label_word_station",
    "label_word_training",
];

/// Width in millimetres.
pub const WIDTH_MM: u32 = 100;
/// Height in millimetres.
pub const HEIGHT_MM: u32 = 66;
/// Dots of the print head in a millimetre (203 dpi).
pub const DOTS_PER_MM: u32 = 8;

/// The longest lot and serial that identifiers 10 and 21 hold.
const LONGEST_IN_CODE: usize = 20;

/// Two digits of a year mean the same year by every clock that can make a label: the reader's window goes from 49
/// years back to 50 years ahead, and no station is older than this program.
const YEARS: std::ops::RangeInclusive<i16> = 2000..=2075;

/// The day by which the data are read for the check; it decides centuries only, and those are not compared.
const DAY_OF_CHECK: Date = jiff::civil::date(2026, 1, 1);

/// Everything that stands on a container's label.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ContainerLabel {
    /// Code of the item.
    pub item: String,
    /// What people call the item.
    pub name: String,
    /// Its GTIN, 14 digits.
    pub gtin: String,
    /// Its lot number.
    pub lot: String,
    /// Last day of use, where the lot has one.
    pub expiry: Option<Date>,
    /// Serial of this container ([`new_serial`]).
    pub serial: String,
    /// Name of the station that made the label.
    pub station: String,
    /// When it was made, as it is to be printed: local time with its zone.
    pub made: String,
    /// 1 for the original, 2 for the first copy, …
    pub copy: u64,
    /// The station records training: the label says so, larger than anything else.
    pub training: bool,
    /// Language of the words.
    pub language: Language,
}

/// A label as its printer gets it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Compiled {
    /// The bytes for the printer: one format, one piece of paper.
    pub zpl: Vec<u8>,
    /// What the two-dimensional code says, in its order.
    pub elements: Vec<Element>,
    /// All that stands on the label as plain text, a line for a line; for who cannot see the picture.
    pub words: String,
    /// Width in millimetres.
    pub width_mm: u32,
    /// Height in millimetres.
    pub height_mm: u32,
}

/// Left and right edge of what is printed, in dots.
const LEFT: u32 = 24;
const RIGHT: u32 = WIDTH_MM * DOTS_PER_MM - 24;
/// The code: 32 modules of 7 dots hold the longest values, so that its place never changes; 28 mm wide, module
/// 0.875 mm (GS1 General Specifications 5.12.3 allow 0.25 to 0.99 mm and more for direct marking).
const MODULES: u32 = 32;
const MODULE: u32 = 7;
const CODE_LEFT: u32 = RIGHT - MODULES * MODULE;
const CODE_TOP: u32 = 24;
/// Width of the texts beside the code; the gap is more than the one module of quiet that it needs.
const BESIDE: u32 = CODE_LEFT - 24 - LEFT;
/// Where values stand that have a word before them.
const VALUE_LEFT: u32 = 160;
const RULE: u32 = 424;

const NAME: &[Size] = &[(64, 1), (56, 1), (48, 1), (48, 2), (44, 2), (40, 2), (36, 3), (32, 3), (26, 4)];
const ITEM: &[Size] = &[(36, 1), (32, 1), (28, 1), (24, 1), (24, 2), (20, 2)];
const VALUE: &[Size] = &[(64, 1), (56, 1), (48, 1), (40, 1), (34, 1), (28, 1), (24, 1), (20, 1), (20, 2)];
/// The same with the training mark below it.
const VALUE_CLOSE: &[Size] = &[(48, 1), (40, 1), (34, 1), (28, 1), (24, 1), (20, 1), (20, 2)];
const WORD: &[Size] = &[(28, 1), (24, 1), (20, 1)];
const SERIAL: &[Size] = &[(28, 1), (26, 1), (24, 1), (20, 1), (20, 2)];
const STATION: &[Size] = &[(34, 1), (30, 1), (26, 1), (22, 2)];
const MADE: &[Size] = &[(28, 1), (24, 1), (20, 1)];
const COPY: &[Size] = &[(34, 1), (28, 1), (22, 1), (16, 1)];
const TRAINING: &[Size] = &[(76, 1), (64, 1)];

impl ContainerLabel {
    /// Makes the printer's bytes.
    ///
    /// # Errors
    /// [`LabelError`]: a value that cannot stand on the label in full, or that the code cannot carry. Nothing is
    /// shortened or left out.
    pub fn compile(&self) -> Result<Compiled, LabelError> {
        self.check_texts()?;
        let data = self.code()?;
        let elements = read_back(&data)?;
        let page = Page { label: self, zpl: Zpl::begin(), words: Vec::new() };
        let (zpl, words) = page.write(&data)?;
        Ok(Compiled { zpl, elements, words, width_mm: WIDTH_MM, height_mm: HEIGHT_MM })
    }

    fn check_texts(&self) -> Result<(), LabelError> {
        let texts = [
            (Field::Name, &self.name),
            (Field::Item, &self.item),
            (Field::Lot, &self.lot),
            (Field::Serial, &self.serial),
            (Field::Station, &self.station),
            (Field::Made, &self.made),
        ];
        for (field, text) in texts {
            if text.trim().is_empty() {
                return Err(LabelError::Missing(field));
            }
            // What the code says of the lot and the serial is more to the point.
            let in_code = matches!(field, Field::Lot | Field::Serial);
            if !in_code && !fit::is_printable(text) {
                return Err(LabelError::Character(field));
            }
        }
        Ok(())
    }

    /// Data of the code: what has a predefined length first, the one separator after the lot.
    fn code(&self) -> Result<Vec<u8>, LabelError> {
        let in_set82 = |value: &str| CharSet::Set82.check(value.as_bytes()).is_ok();
        if !in_set82(&self.lot) {
            return Err(LabelError::LotNotGs1);
        }
        if self.lot.len() > LONGEST_IN_CODE {
            return Err(LabelError::LotTooLong);
        }
        if !in_set82(&self.serial) || self.serial.len() > LONGEST_IN_CODE {
            return Err(LabelError::Serial);
        }
        if !gs1::is_gtin14(&self.gtin) {
            return Err(LabelError::Gtin);
        }
        let expiry = match self.expiry {
            Some(day) if YEARS.contains(&day.year()) => Some(day.strftime("%y%m%d").to_string()),
            Some(_) => return Err(LabelError::Expiry),
            None => None,
        };
        let mut elements = vec![("01", self.gtin.as_str())];
        elements.extend(expiry.as_deref().map(|expiry| ("17", expiry)));
        elements.extend([("10", self.lot.as_str()), ("21", self.serial.as_str())]);
        Ok(element_string::render(&elements))
    }
}

/// The elements as a station's scanner will read them. A lot that looks like a lot with something after it is
/// refused here, not at the first scan of a printed label.
fn read_back(data: &[u8]) -> Result<Vec<Element>, LabelError> {
    let scan = [b"]d2".as_slice(), data].concat();
    let reading = barcode::read(&scan, DAY_OF_CHECK, &SitePatterns::default());
    if reading.error.is_some() {
        return Err(LabelError::Ambiguous);
    }
    let same: Vec<(&str, &str)> =
        reading.elements.iter().map(|element| (element.ai.as_str(), element.value.as_str())).collect();
    if element_string::render(&same) == data { Ok(reading.elements) } else { Err(LabelError::Ambiguous) }
}

/// The label while it is written.
struct Page<'a> {
    label: &'a ContainerLabel,
    zpl: Zpl,
    words: Vec<String>,
}

impl Page<'_> {
    fn write(mut self, data: &[u8]) -> Result<(Vec<u8>, String), LabelError> {
        let training = self.label.training;
        if training {
            self.training()?;
        }
        self.names()?;
        let (lot, expiry) = if training { (246, 304) } else { (268, 356) };
        self.value("label_word_lot", Field::Lot, &self.label.lot, lot)?;
        // Year, month, day as GS1 recommends for people: no order of day and month to guess.
        let day = self.label.expiry.map(|day| day.strftime("%Y-%m-%d").to_string());
        let day = day.unwrap_or_else(|| self.word("label_word_no_expiry").to_owned());
        self.value("label_word_expiry", Field::Expiry, &day, expiry)?;
        self.zpl.data_matrix((CODE_LEFT, CODE_TOP), MODULE, MODULES, data);
        self.serial()?;
        self.zpl.bar((LEFT, RULE), RIGHT - LEFT, 3);
        self.foot()?;
        Ok((self.zpl.end(), self.words.join("\n")))
    }

    fn word(&self, key: &'static str) -> &'static str {
        self.label.language.text(key)
    }

    /// A frame as wide as the label around one word.
    fn training(&mut self) -> Result<(), LabelError> {
        let word = self.word("label_word_training");
        let text = fitted(Field::Training, word, RIGHT - LEFT - 40, TRAINING)?;
        self.words.push(word.to_owned());
        self.zpl.frame((LEFT, 326), (RIGHT - LEFT, 86), 10);
        self.zpl.lines(&text, (LEFT, 369 + cap_height(text.height) / 2), RIGHT - LEFT, Align::Centre);
        Ok(())
    }

    fn names(&mut self) -> Result<(), LabelError> {
        let label = self.label;
        let name = fitted(Field::Name, &label.name, BESIDE, NAME)?;
        let item = fitted(Field::Item, &label.item, BESIDE, ITEM)?;
        let first = CODE_TOP + cap_height(name.height);
        let last = self.zpl.lines(&name, (LEFT, first), BESIDE, Align::Left);
        let first = last + name.height / 4 + 10 + cap_height(item.height);
        self.zpl.lines(&item, (LEFT, first), BESIDE, Align::Left);
        self.words.extend([label.name.clone(), label.item.clone()]);
        Ok(())
    }

    /// A word with its value on one base line.
    fn value(&mut self, key: &'static str, field: Field, value: &str, base: u32) -> Result<(), LabelError> {
        let sizes = if self.label.training { VALUE_CLOSE } else { VALUE };
        let word = self.word(key);
        let caption = fitted(field, word, VALUE_LEFT - LEFT - 8, WORD)?;
        let text = fitted(field, value, CODE_LEFT - 24 - VALUE_LEFT, sizes)?;
        // A second line grows upwards, so that the base line stays.
        let first = base.saturating_sub(text.below());
        self.zpl.lines(&caption, (LEFT, base), VALUE_LEFT - LEFT, Align::Left);
        self.zpl.lines(&text, (VALUE_LEFT, first), CODE_LEFT - 24 - VALUE_LEFT, Align::Left);
        self.words.push(format!("{word} {value}"));
        Ok(())
    }

    fn serial(&mut self) -> Result<(), LabelError> {
        let text = fitted(Field::Serial, &self.label.serial, MODULES * MODULE, SERIAL)?;
        let base = CODE_TOP + MODULES * MODULE + 14 + cap_height(text.height);
        self.zpl.lines(&text, (CODE_LEFT, base), MODULES * MODULE, Align::Centre);
        self.words.push(self.label.serial.clone());
        Ok(())
    }

    fn foot(&mut self) -> Result<(), LabelError> {
        let label = self.label;
        let station = format!("{} {}", self.word("label_word_station"), label.station);
        let made = format!("{} {}", self.word("label_word_made"), label.made);
        let copy = match label.copy {
            0 | 1 => self.word("label_word_original").to_owned(),
            copy => self.word("label_word_copy").replace("{n}", &copy.to_string()),
        };
        let fit_station = fitted(Field::Station, &station, RIGHT - LEFT, STATION)?;
        let fit_made = fitted(Field::Made, &made, BESIDE, MADE)?;
        let fit_copy = fitted(Field::Copy, &copy, MODULES * MODULE, COPY)?;
        let top = if fit_station.lines.len() > 1 { 438 } else { 442 };
        let base = top + cap_height(fit_station.height);
        self.zpl.lines(&fit_station, (LEFT, base), RIGHT - LEFT, Align::Left);
        self.zpl.lines(&fit_made, (LEFT, 506), BESIDE, Align::Left);
        self.zpl.lines(&fit_copy, (CODE_LEFT, 506), MODULES * MODULE, Align::Right);
        self.words.extend([station, made, copy]);
        Ok(())
    }
}

fn fitted(field: Field, text: &str, width: u32, sizes: &[Size]) -> Result<Fitted, LabelError> {
    fit(text, width, sizes).ok_or(LabelError::TooLong(field))
}

/// Height of a capital: three quarters of the font's height.
const fn cap_height(height: u32) -> u32 {
    height * 3 / 4
}
