//! Which elements belong together: excluded partners, required partners, repeats, serialised keys.
//!
//! GS1 judges these over all symbols on an object; a scan is one symbol, so each symbol must stand by itself.

use super::Gs1Error;
use super::element_string::Parsed;
use crate::barcode::ErrorCode;

/// Judges the elements of one scan together.
///
/// # Errors
/// The first rule broken, with the identifier and value that break it.
pub fn check(elements: &[Parsed<'_>]) -> Result<(), Gs1Error> {
    let refuse =
        |code, element: &Parsed<'_>| Gs1Error::new(code, Some(element.ai), element.start, element.end);
    for element in elements {
        let excluded = |partner| has(elements, partner, element.ai);
        if alternatives(element.spec.excludes, ',').any(excluded) {
            return Err(refuse(ErrorCode::ExcludedPartner, element));
        }
    }
    for element in elements {
        let present = |group| alternatives(group, '+').all(|partner| has(elements, partner, element.ai));
        if !element.spec.requires.is_empty() && !alternatives(element.spec.requires, ',').any(present) {
            return Err(refuse(ErrorCode::MissingPartner, element));
        }
    }
    for (at, element) in elements.iter().enumerate() {
        let before = elements.get(..at).unwrap_or_default();
        if before.iter().any(|other| other.ai == element.ai && other.value != element.value) {
            return Err(refuse(ErrorCode::RepeatedAi, element));
        }
    }
    let signed = elements.iter().any(|element| element.ai == "8030");
    for element in elements {
        let serialised = matches!(element.ai, "253" | "255" | "8003");
        if signed && serialised && element.value.len() == element.spec.min_len() {
            return Err(refuse(ErrorCode::MissingSerial, element));
        }
    }
    Ok(())
}

fn alternatives(list: &'static str, between: char) -> impl Iterator<Item = &'static str> {
    list.split(between).filter(|item| !item.is_empty())
}

/// Whether an identifier of this pattern is there; an element is no partner of itself.
fn has(elements: &[Parsed<'_>], pattern: &str, of: &str) -> bool {
    elements.iter().any(|element| element.ai != of && matches(pattern, element.ai))
}

fn matches(pattern: &str, ai: &str) -> bool {
    pattern.len() == ai.len()
        && pattern.bytes().zip(ai.bytes()).all(|(expected, digit)| expected == b'n' || expected == digit)
}
