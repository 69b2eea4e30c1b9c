//! What a scan says: symbology, kind, elements, or why it cannot be used.
//!
//! The flow: [`aim::split`] takes the AIM identifier off the scan. A GS1 symbol is read as element strings, a
//! retail symbol as a GTIN. Anything else is checked for looking like GS1 data (then it is refused as
//! ambiguous), then read as a GS1 Digital Link URI, an HIBC code, one of the site's own codes, or plain text,
//! in that order. [`read`] does all of it and keeps every byte; [`decode`] gives the form that the program
//! `lotgate decode` prints.
//!
//! When data can be read in two ways, nothing is chosen (SCN-3, 21 CFR 11.10(a)); the exact rules, and what
//! they do not find, stand at the top of `barcode/ambiguity.rs`.

pub mod aim;
mod ambiguity;
pub mod error;
mod hibc;
mod retail;
pub mod site;

use jiff::civil::Date;
use serde::{Deserialize, Serialize};

pub use aim::Symbology;
pub use error::{ErrorCode, PossibleReading, ScanError};
pub use site::{SiteMeaning, SitePattern, SitePatterns};

use crate::gs1::element_string::{self, Parsed};
use crate::gs1::{association, digital_link};

/// How the data of a scan are read. For a refused scan: how they had to be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// GS1 application identifiers with values, or the GTIN of an EAN, UPC or ITF-14 symbol as identifier 01.
    Gs1ElementString,
    /// A GS1 Digital Link URI.
    Gs1DigitalLink,
    /// A Health Industry Bar Code; its identifiers are words (`LIC`, `PCN`, `LOT`, …).
    Hibc,
    /// One of the site's own codes; its one identifier is the word of its [`SiteMeaning`].
    Site,
    /// Text without structure; no elements.
    Plain,
}

impl Kind {
    /// The name in operations and in the output of `lotgate decode`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Gs1ElementString => "gs1_element_string",
            Self::Gs1DigitalLink => "gs1_digital_link",
            Self::Hibc => "hibc",
            Self::Site => "site",
            Self::Plain => "plain",
        }
    }

    /// Every kind, in the order of declaration.
    pub const ALL: [Self; 5] =
        [Self::Gs1ElementString, Self::Gs1DigitalLink, Self::Hibc, Self::Site, Self::Plain];
}

/// How the text of a scan was made from its bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TextEncoding {
    /// The bytes are UTF-8.
    Utf8,
    /// The bytes are not UTF-8; each is taken as one character of ISO/IEC 8859-1.
    Latin1,
}

/// One identifier with its value.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Element {
    /// GS1 application identifier, or a word for [`Kind::Hibc`] and [`Kind::Site`].
    pub ai: String,
    /// The value; a GTIN always with 14 digits.
    pub value: String,
    /// Data title; empty where GS1 gives none.
    pub title: String,
}

impl Element {
    fn new(ai: &str, value: &str, title: &str) -> Self {
        Self { ai: ai.to_owned(), value: value.to_owned(), title: title.to_owned() }
    }

    fn of(parsed: &Parsed<'_>) -> Self {
        Self::new(parsed.ai, &String::from_utf8_lossy(parsed.value), parsed.spec.title)
    }

    fn of_all(parsed: &[Parsed<'_>]) -> Vec<Self> {
        parsed.iter().map(Self::of).collect()
    }
}

/// What a scan says, with every byte of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reading {
    /// The scan as it came, AIM identifier included.
    pub raw: Vec<u8>,
    /// The AIM identifier, if the scanner sent one.
    pub aim: Option<String>,
    /// The kind of symbol.
    pub symbology: Symbology,
    /// How the data are read.
    pub kind: Kind,
    /// The data as text, without the AIM identifier; always shown to the operator.
    pub text: String,
    /// How the text was made.
    pub encoding: TextEncoding,
    /// The elements in the order of the scan; empty when refused.
    pub elements: Vec<Element>,
    /// Why the scan cannot be used.
    pub error: Option<ScanError>,
}

impl Reading {
    /// The data without the AIM identifier; the positions of errors count in these bytes.
    #[must_use]
    pub fn data(&self) -> &[u8] {
        let start = self.aim.as_ref().map_or(0, String::len);
        self.raw.get(start..).unwrap_or_default()
    }

    /// The value of an identifier in a scan that can be used.
    #[must_use]
    pub fn value(&self, ai: &str) -> Option<&str> {
        self.elements.iter().find(|element| element.ai == ai).map(|element| element.value.as_str())
    }

    /// What one of the site's own codes names.
    #[must_use]
    pub fn site_code(&self, meaning: SiteMeaning) -> Option<&str> {
        if self.kind == Kind::Site { self.value(meaning.as_str()) } else { None }
    }
}

/// Reads a scan. Any bytes give a reading; none are lost.
///
/// `now` is the day by which two-digit years get their century.
#[must_use]
pub fn read(scan: &[u8], now: Date, site: &SitePatterns) -> Reading {
    let (aim, symbology, data) = aim::split(scan);
    let (text, encoding) = match std::str::from_utf8(data) {
        Ok(text) => (text.to_owned(), TextEncoding::Utf8),
        Err(_) => (data.iter().copied().map(char::from).collect(), TextEncoding::Latin1),
    };
    let (kind, outcome) = interpret(symbology, data, &text, now, site);
    let (elements, error) = match outcome {
        Ok(elements) => (elements, None),
        Err(error) => (Vec::new(), Some(error)),
    };
    Reading {
        raw: scan.to_vec(),
        aim: aim.map(str::to_owned),
        symbology,
        kind,
        text,
        encoding,
        elements,
        error,
    }
}

type Outcome = Result<Vec<Element>, ScanError>;

fn interpret(
    symbology: Symbology,
    data: &[u8],
    text: &str,
    now: Date,
    site: &SitePatterns,
) -> (Kind, Outcome) {
    if symbology.carries_element_strings() {
        return (Kind::Gs1ElementString, element_string(data, now));
    }
    if let Some(gtin) = retail::gtin(symbology, data) {
        return (Kind::Gs1ElementString, gtin.map(|gtin| vec![Element::new("01", &gtin, "GTIN")]));
    }
    let (kind, outcome) = without_identifiers(data, text, now, site);
    match ambiguity::elements_in_plain(data, now) {
        Some(elements) => {
            let plain = PossibleReading { kind, elements: outcome.unwrap_or_default() };
            let gs1 = PossibleReading { kind: Kind::Gs1ElementString, elements };
            (kind, Err(ScanError::ambiguous([0, data.len()], None, vec![plain, gs1])))
        }
        None => (kind, outcome),
    }
}

fn element_string(data: &[u8], now: Date) -> Outcome {
    let elements = element_string::split(data, now)?;
    if let Some(error) = ambiguity::missing_separator(data, &elements, now) {
        return Err(error);
    }
    association::check(&elements)?;
    Ok(Element::of_all(&elements))
}

/// Data of a symbol that does not say that it carries GS1 data.
fn without_identifiers(data: &[u8], text: &str, now: Date, site: &SitePatterns) -> (Kind, Outcome) {
    if data.is_empty() {
        return (Kind::Plain, Err(ScanError::new(ErrorCode::EmptyScan, 0, 0)));
    }
    if let Some(link) = digital_link::split(data, now) {
        let elements = link.map_err(ScanError::from).map(|elements| {
            let element = |it: &digital_link::LinkElement<'_>| {
                Element::new(it.ai, &String::from_utf8_lossy(&it.value), it.spec.title)
            };
            elements.iter().map(element).collect()
        });
        return (Kind::Gs1DigitalLink, elements);
    }
    if let Some(elements) = hibc::read(data, now) {
        return (Kind::Hibc, elements);
    }
    if let Some((meaning, code)) = site.read(text) {
        return (Kind::Site, Ok(vec![Element::new(meaning.as_str(), code, "")]));
    }
    (Kind::Plain, Ok(Vec::new()))
}

/// A reading as `lotgate decode` prints it: elements or an error, never both.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Decoded {
    /// The kind of symbol.
    pub symbology: Symbology,
    /// How the data are read.
    pub kind: Kind,
    /// The data as text, without the AIM identifier.
    pub text: String,
    /// The elements; absent when the scan cannot be used.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub elements: Option<Vec<Element>>,
    /// Why the scan cannot be used.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub error: Option<ScanError>,
}

impl From<Reading> for Decoded {
    fn from(reading: Reading) -> Self {
        let elements = reading.error.is_none().then_some(reading.elements);
        Self {
            symbology: reading.symbology,
            kind: reading.kind,
            text: reading.text,
            elements,
            error: reading.error,
        }
    }
}

/// Reads a scan without any codes of a site's own.
#[must_use]
pub fn decode(scan: &[u8], now: Date) -> Decoded {
    read(scan, now, &SitePatterns::default()).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_of_the_wire() {
        for kind in Kind::ALL {
            assert_eq!(serde_json::to_value(kind).unwrap(), kind.as_str());
        }
        for symbology in Symbology::ALL {
            assert_eq!(serde_json::to_value(symbology).unwrap(), symbology.as_str());
        }
    }
}
