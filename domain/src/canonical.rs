//! RFC 8785 JSON: written once, and read strictly (PROTOCOL §1, §9.5).
//!
//! Numbers are integers within ±(2^53−1); a float or a larger integer is an error on both sides, since
//! implementations of the canonical form disagree there.

mod form;

use serde::Serialize;
use serde::de::{DeserializeOwned, Error as _};
use serde_json::Value;

/// The largest integer that a JSON number may hold here, 2^53 − 1.
pub const MAX_INTEGER: u64 = (1 << 53) - 1;

/// Why bytes are not in the strict form, or a value has none.
#[derive(Debug, thiserror::Error)]
pub enum CanonicalError {
    /// Not JSON at all, or not UTF-8.
    #[error("not JSON")]
    NotJson(#[source] serde_json::Error),
    /// JSON, but not byte for byte what RFC 8785 writes: member order, blanks, escapes, a duplicate member.
    #[error("JSON, but not in RFC 8785 form")]
    NotCanonical,
    /// A float, or an integer past ±(2^53−1).
    #[error("a number that is not an integer within 2^53-1")]
    Number,
}

/// Writes `value` in RFC 8785 form.
///
/// # Errors
/// [`CanonicalError::Number`] for floats and large integers; `NotJson` if `value` cannot be written as JSON.
pub fn write<T: Serialize>(value: &T) -> Result<Vec<u8>, CanonicalError> {
    form::write(value, 1_024)
}

/// Reads `bytes` if they are exactly what [`write()`] would write.
///
/// # Errors
/// Every [`CanonicalError`].
pub fn read(bytes: &[u8]) -> Result<Value, CanonicalError> {
    let value: Value = serde_json::from_slice(bytes).map_err(CanonicalError::NotJson)?;
    if form::write(&value, bytes.len())? == bytes { Ok(value) } else { Err(CanonicalError::NotCanonical) }
}

/// Takes `value` as a `T` if it is exactly what a `T` would be written as: every member there, also the null
/// ones, none more, and each in its one spelling (PROTOCOL §9.3, §9.5).
///
/// # Errors
/// What is wrong with the shape.
pub fn shape<T: Serialize + DeserializeOwned>(value: Value) -> Result<T, serde_json::Error> {
    let shaped = T::deserialize(&value)?;
    if serde_json::to_value(&shaped)? == value {
        Ok(shaped)
    } else {
        Err(serde_json::Error::custom("a member is missing or in another spelling"))
    }
}

/// Whether every number is an integer within ±(2^53−1).
pub(crate) fn check_numbers(value: &Value) -> Result<(), CanonicalError> {
    match value {
        Value::Number(number) => {
            let magnitude = number.as_u64().or_else(|| number.as_i64().map(i64::unsigned_abs));
            if magnitude.is_some_and(|m| m <= MAX_INTEGER) { Ok(()) } else { Err(CanonicalError::Number) }
        }
        Value::Array(values) => values.iter().try_for_each(check_numbers),
        Value::Object(members) => members.values().try_for_each(check_numbers),
        Value::Null | Value::Bool(_) | Value::String(_) => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn members_are_sorted_and_read_back() {
        let bytes = write(&json!({"b": 1, "a": "ü\u{1d}", "c": [null, true]})).unwrap();
        assert_eq!(
            String::from_utf8(bytes.clone()).unwrap(),
            "{\"a\":\"ü\\u001d\",\"b\":1,\"c\":[null,true]}"
        );
        assert!(read(&bytes).is_ok());
    }

    #[test]
    fn a_missing_null_member_and_another_spelling_are_another_shape() {
        #[derive(Debug, Serialize, serde::Deserialize)]
        struct Lot {
            expiry: Option<jiff::civil::Date>,
        }
        assert!(shape::<Lot>(json!({"expiry": null})).is_ok());
        assert!(shape::<Lot>(json!({"expiry": "2027-01-31"})).is_ok());
        assert!(shape::<Lot>(json!({})).is_err(), "members are always present");
        assert!(shape::<Lot>(json!({"expiry": "20270131"})).is_err(), "another spelling of the date");
        assert!(shape::<Lot>(json!({"expiry": null, "lot": "7"})).is_err(), "a member more");
    }

    #[test]
    fn any_other_spelling_is_refused() {
        for (bad, why) in [
            (r#"{"b":1,"a":2}"#, "order"),
            (r#"{"a":1,"a":1}"#, "duplicate member"),
            (r#"{"a": 1}"#, "blank"),
            (r#"{"a":"\u0041"}"#, "needless escape"),
            (r#"{"a":1.0}"#, "float"),
            (r#"{"a":1e2}"#, "exponent"),
            (r#"{"a":9007199254740992}"#, "2^53"),
            (r#"{"a":-0}"#, "minus zero"),
            ("\u{feff}{}", "byte order mark"),
            ("{} ", "left over"),
        ] {
            assert!(read(bad.as_bytes()).is_err(), "{why}: {bad}");
        }
        assert!(read(br#"{"a":9007199254740991}"#).is_ok(), "2^53-1 is the largest");
        assert!(read(b"\"\xff\"").is_err(), "not UTF-8");
    }
}
