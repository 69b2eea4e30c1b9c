//! GS1 Digital Link URIs: what is read, what is refused and where, and what is no Digital Link.

use jiff::civil::date;
use lotgate_domain::barcode::{Decoded, Kind, decode};

fn scan(uri: &str) -> Decoded {
    decode(format!("]Q1{uri}").as_bytes(), date(2026, 11, 22))
}

fn outcome(uri: &str) -> String {
    let decoded = scan(uri);
    assert_eq!(decoded.kind, Kind::Gs1DigitalLink, "{uri}");
    match decoded.error {
        Some(error) => format!("{} {:?}", error.code.as_str(), error.at.unwrap_or_default()),
        None => {
            let elements = decoded.elements.unwrap_or_default();
            elements.iter().map(|it| format!("({}){}", it.ai, it.value)).collect()
        }
    }
}

#[test]
fn key_qualifiers_and_attributes_are_read_from_any_host_and_stem() {
    for (uri, expected) in [
        ("https://id.gs1.org/01/09520123456788", "(01)09520123456788"),
        ("http://example.com/some/stem/01/09520123456788/22/2A", "(01)09520123456788(22)2A"),
        (
            "HTTPS://EXAMPLE.COM:8443/01/09520123456788/10/ABC%2F1/21/12345",
            "(01)09520123456788(10)ABC/1(21)12345",
        ),
        (
            "https://a/01/09520123456788/10/LOT42?17=261231&3103=000195",
            "(01)09520123456788(10)LOT42(17)261231(3103)000195",
        ),
        ("https://a/01/09520123456788?linkType=all&&17=261200&s#top?99=x", "(01)09520123456788(17)261200"),
        ("https://a/00/006141411234567890", "(00)006141411234567890"),
        ("https://a/414/9520123456788/254/32a%2Fb", "(414)9520123456788(254)32a/b"),
        ("https://a/01/stem/01/09520123456788", "(01)09520123456788"),
    ] {
        assert_eq!(outcome(uri), expected, "{uri}");
    }
}

#[test]
fn short_gtins_are_padded_to_fourteen_digits() {
    for (uri, expected) in [
        ("https://a/01/2112345678900", "(01)02112345678900"),
        ("https://a/01/416000336108/10/X", "(01)00416000336108(10)X"),
        ("https://a/01/02345673", "(01)00000002345673"),
    ] {
        assert_eq!(outcome(uri), expected, "{uri}");
    }
}

#[test]
fn what_is_wrong_is_named_with_its_place_in_the_uri() {
    for (uri, expected) in [
        ("https://a/01/09520123456789", "wrong_check_digit [26, 27]"),
        ("https://a/01/2112345678901", "wrong_check_digit [25, 26]"),
        ("https://a/01/0952012345678", "wrong_check_digit [25, 26]"),
        ("https://a/01/095201234567", "wrong_check_digit [24, 25]"),
        ("https://a/01/0952", "too_short [13, 17]"),
        ("https://a/01/09520123456788/10/A%5EB", "not_in_set82 [32, 35]"),
        ("https://a/01/09520123456788/10/A%4", "bad_percent_encoding [32, 34]"),
        ("https://a/01/09520123456788/10/A%zzB", "bad_percent_encoding [32, 35]"),
        ("https://a/01/09520123456788/10/", "empty_value [31, 31]"),
        ("https://a/01/09520123456788?17=", "empty_value [31, 31]"),
        ("https://a/01/09520123456788?17=261301", "bad_month [33, 35]"),
        ("https://a/01/09520123456788/21/A/10/B", "bad_link_qualifiers [13, 37]"),
        ("https://a/01/09520123456788/235/A/10/B", "bad_link_qualifiers [13, 38]"),
        ("https://a/01/09520123456788?10=A", "belongs_in_link_path [31, 32]"),
        ("https://a/01/09520123456788?8200=x", "not_a_link_attribute [33, 34]"),
        ("https://a/01/09520123456788?17=261231&17=261231", "repeated_ai [41, 47]"),
        ("https://a/01/09520123456788?89=A", "unknown_ai [28, 30]"),
        ("https://a/01/09520123456788?37=5", "excluded_partner [13, 27]"),
        ("https://a/01/09520123456788?8019=5", "not_a_link_attribute [33, 34]"),
        ("https://a_b/01/09520123456788", "bad_link_host [8, 11]"),
        ("https:///01/09520123456788", "bad_link_host [8, 8]"),
        ("https://a/01/09520123456788/10/A B", "bad_link_character [32, 33]"),
    ] {
        assert_eq!(outcome(uri), expected, "{uri}");
    }
}

#[test]
fn a_uri_without_a_primary_key_is_plain_text() {
    for uri in [
        "https://example.com/",
        "https://example.com",
        "https://example.com/10/LOT42",
        "https://example.com/gtin/09520123456788",
        "https://example.com/01//09520123456788",
        "https://id.gs1.org/ARHKVAdpQg",
        "https://example.com/?01=09520123456788",
        "ftp://example.com/01/09520123456788",
        "HtTp://example.com/01/09520123456788",
    ] {
        let decoded = scan(uri);
        assert_eq!((decoded.kind, decoded.error), (Kind::Plain, None), "{uri}");
    }
}
