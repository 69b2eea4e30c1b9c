//! GS1 Digital Link URIs, uncompressed: `https://host/stem/01/<GTIN>/10/<lot>?17=<date>`.
//!
//! Any host and stem; the last primary key of the path counts. A URI without a primary key is no Digital Link
//! but plain text. GTIN-8, -12 and -13 are padded to 14 digits. Query parameters that are no numbers are left
//! out, as is the fragment. Names in place of numbers (`/gtin/`) and compressed URIs are not read.

use std::ops::Range;

use jiff::civil::Date;

use super::element_string::{Parsed, check_value};
use super::table::{self, AiSpec};
use super::{Flaw, Gs1Error, association};
use crate::barcode::ErrorCode;

/// One identifier of a Digital Link URI with its decoded value.
#[derive(Debug, Clone)]
pub struct LinkElement<'a> {
    /// The identifier.
    pub ai: &'a str,
    /// Its row in the table.
    pub spec: &'static AiSpec,
    /// Its value, percent-decoded, a GTIN padded to 14 digits.
    pub value: Vec<u8>,
    /// Where the encoded value stands in the URI.
    pub span: Range<usize>,
}

/// Reads a Digital Link URI: `None` when the data is none.
///
/// # Errors
/// The first thing that is wrong, with its place in `data`.
pub fn split(data: &[u8], now: Date) -> Option<Result<Vec<LinkElement<'_>>, Gs1Error>> {
    let uri = std::str::from_utf8(data).ok()?;
    let link = Link::find(uri)?;
    Some(link.elements(uri, now))
}

struct Link<'a> {
    host: Range<usize>,
    /// Identifier and value of each pair from the primary key on.
    path: Vec<(&'a str, &'static AiSpec, Range<usize>)>,
    query: Range<usize>,
}

impl<'a> Link<'a> {
    fn find(uri: &'a str) -> Option<Self> {
        let scheme =
            ["https://", "HTTPS://", "http://", "HTTP://"].into_iter().find(|it| uri.starts_with(it))?;
        let end = uri.find('#').unwrap_or(uri.len());
        let location = uri.get(..end)?;
        let path_end = location.find('?').unwrap_or(end);
        let path_start = scheme.len() + location.get(scheme.len()..path_end)?.find('/')?;
        let mut path = Vec::new();
        let mut rest = location.get(path_start..path_end)?;
        loop {
            let slash = rest.rfind('/')?;
            let value = path_start + slash + 1..path_start + rest.len();
            rest = rest.get(..slash)?;
            let slash = rest.rfind('/')?;
            let ai = rest.get(slash + 1..)?;
            rest = rest.get(..slash)?;
            let spec = table::find(ai.as_bytes())?;
            path.push((ai, spec, value));
            if spec.key.is_some() {
                break;
            }
        }
        path.reverse();
        Some(Self { host: scheme.len()..path_start, path, query: end.min(path_end + 1)..end })
    }

    fn elements(self, uri: &'a str, now: Date) -> Result<Vec<LinkElement<'a>>, Gs1Error> {
        check_characters(uri, &self.host)?;
        let mut elements = Vec::with_capacity(self.path.len() + 2);
        for (ai, spec, span) in &self.path {
            elements.push(element(uri, ai, spec, span.clone(), false)?);
        }
        let in_path = elements.len();
        for (ai, spec, span) in parameters(uri, self.query.clone())? {
            elements.push(element(uri, ai, spec, span, true)?);
        }
        let (path, attributes) = elements.split_at_checked(in_path).unwrap_or_default();
        check_roles(path, attributes)?;
        for element in &elements {
            check_element(uri, element, now)?;
        }
        let parsed: Vec<Parsed<'_>> = elements.iter().map(LinkElement::parsed).collect();
        association::check(&parsed)?;
        Ok(elements)
    }
}

impl LinkElement<'_> {
    fn parsed(&self) -> Parsed<'_> {
        Parsed {
            ai: self.ai,
            spec: self.spec,
            value: &self.value,
            start: self.span.start,
            end: self.span.end,
        }
    }

    fn refused(&self, code: ErrorCode) -> Gs1Error {
        Gs1Error::new(code, Some(self.ai), self.span.start, self.span.end)
    }
}

fn check_characters(uri: &str, host: &Range<usize>) -> Result<(), Gs1Error> {
    let in_uri = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~:/?#[]@!$&'()*+,;=%".contains(&byte);
    if let Some(at) = uri.bytes().position(|byte| !in_uri(byte)) {
        return Err(Gs1Error::new(ErrorCode::BadLinkCharacter, None, at, at + 1));
    }
    let in_host = |byte: u8| byte.is_ascii_alphanumeric() || b"-.:[]".contains(&byte);
    let name = uri.get(host.clone()).unwrap_or_default();
    if name.is_empty() || !name.bytes().all(in_host) {
        return Err(Gs1Error::new(ErrorCode::BadLinkHost, None, host.start, host.end));
    }
    Ok(())
}

type Parameter<'a> = (&'a str, &'static AiSpec, Range<usize>);

/// The query parameters that are application identifiers.
fn parameters(uri: &str, query: Range<usize>) -> Result<Vec<Parameter<'_>>, Gs1Error> {
    let mut found = Vec::new();
    let mut at = query.start;
    for parameter in uri.get(query).unwrap_or_default().split('&') {
        let start = at;
        at += parameter.len() + 1;
        let Some((ai, value)) = parameter.split_once('=') else { continue };
        if ai.is_empty() || !ai.bytes().all(|byte| byte.is_ascii_digit()) {
            continue;
        }
        let unknown = || Gs1Error::new(ErrorCode::UnknownAi, None, start, start + ai.len());
        let spec = table::find(ai.as_bytes()).ok_or_else(unknown)?;
        let value_start = start + ai.len() + 1;
        found.push((ai, spec, value_start..value_start + value.len()));
    }
    Ok(found)
}

fn element<'a>(
    uri: &str,
    ai: &'a str,
    spec: &'static AiSpec,
    span: Range<usize>,
    in_query: bool,
) -> Result<LinkElement<'a>, Gs1Error> {
    let encoded = uri.get(span.clone()).unwrap_or_default();
    if encoded.is_empty() {
        return Err(Gs1Error::new(ErrorCode::EmptyValue, Some(ai), span.start, span.end));
    }
    let mut value = decode(encoded, in_query)
        .map_err(|flaw| Gs1Error::new(flaw.code, Some(ai), span.start + flaw.start, span.start + flaw.end))?;
    if ai == "01" && matches!(value.len(), 8 | 12 | 13) {
        let padding = 14 - value.len();
        value.splice(..0, std::iter::repeat_n(b'0', padding));
    }
    Ok(LinkElement { ai, spec, value, span })
}

/// Percent-decodes; in a query, `+` is a space.
fn decode(encoded: &str, in_query: bool) -> Result<Vec<u8>, Flaw> {
    let mut decoded = Vec::with_capacity(encoded.len());
    let mut rest = encoded.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        rest = after;
        match (first, after) {
            (b'%', [high, low, tail @ ..]) if hex(*high).is_some() && hex(*low).is_some() => {
                decoded.push(hex(*high).unwrap_or_default() << 4 | hex(*low).unwrap_or_default());
                rest = tail;
            }
            (b'%', _) => {
                let at = encoded.len() - after.len() - 1;
                return Err(Flaw::new(ErrorCode::BadPercentEncoding, at, encoded.len().min(at + 3)));
            }
            (b'+', _) if in_query => decoded.push(b' '),
            (byte, _) => decoded.push(*byte),
        }
    }
    Ok(decoded)
}

fn hex(digit: u8) -> Option<u8> {
    char::from(digit).to_digit(16).and_then(|value| u8::try_from(value).ok())
}

/// The path is a key with its qualifiers in order; what stands in the query may stand there, once.
fn check_roles(path: &[LinkElement<'_>], attributes: &[LinkElement<'_>]) -> Result<(), Gs1Error> {
    let Some((key, qualifiers)) = path.split_first() else { return Ok(()) };
    let sequences = key.spec.key.unwrap_or_default();
    let in_order = |wanted: &[&str]| {
        sequences.split('|').any(|sequence| {
            let mut left = sequence.split(',');
            wanted.iter().all(|ai| left.any(|known| known == *ai))
        })
    };
    let in_path: Vec<&str> = qualifiers.iter().map(|element| element.ai).collect();
    if !in_order(&in_path) {
        let last = qualifiers.last().map_or(key.span.end, |element| element.span.end);
        return Err(Gs1Error::new(ErrorCode::BadLinkQualifiers, Some(key.ai), key.span.start, last));
    }
    for (at, attribute) in attributes.iter().enumerate() {
        let before = attributes.get(..at).unwrap_or_default();
        if path.iter().chain(before).any(|other| other.ai == attribute.ai) {
            return Err(attribute.refused(ErrorCode::RepeatedAi));
        }
        if !attribute.spec.attribute {
            return Err(attribute.refused(ErrorCode::NotALinkAttribute));
        }
        let fits = (0..=in_path.len()).any(|place| {
            let mut with = in_path.clone();
            with.insert(place, attribute.ai);
            in_order(&with)
        });
        if fits {
            return Err(attribute.refused(ErrorCode::BelongsInLinkPath));
        }
    }
    Ok(())
}

fn check_element(uri: &str, element: &LinkElement<'_>, now: Date) -> Result<(), Gs1Error> {
    let consumed = match check_value(element.spec, &element.value, now) {
        Ok(consumed) => consumed,
        Err(flaw) => {
            let (start, end) = (place(uri, element, flaw.start), place(uri, element, flaw.end));
            return Err(Gs1Error::new(flaw.code, Some(element.ai), start, end));
        }
    };
    if consumed < element.value.len() {
        let start = place(uri, element, consumed);
        return Err(Gs1Error::new(ErrorCode::TooLong, Some(element.ai), start, element.span.end));
    }
    Ok(())
}

/// Where a byte of the decoded value stands in the URI.
fn place(uri: &str, element: &LinkElement<'_>, decoded: usize) -> usize {
    let encoded = uri.get(element.span.clone()).unwrap_or_default().as_bytes();
    let escapes = encoded.iter().filter(|byte| **byte == b'%').count();
    let padding = element.value.len() - (encoded.len() - 2 * escapes);
    let mut at = 0;
    for _ in 0..decoded.saturating_sub(padding) {
        at += if encoded.get(at) == Some(&b'%') { 3 } else { 1 };
    }
    element.span.start + at
}
