//! Rules of the container label: what is on it, what cannot be, and that no value is ever a command.

#![allow(
    clippy::expect_used,
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

use jiff::civil::{Date, date};
use lotgate_domain::barcode::{Kind, SitePatterns, Symbology, read};
use lotgate_domain::gs1::is_gtin14;
use lotgate_domain::label::{Compiled, ContainerLabel, Field, LabelError, WORDS, new_serial};
use lotgate_domain::text::Language;
use proptest::prelude::*;

const GTIN: &str = "04012345678901";

fn label() -> ContainerLabel {
    ContainerLabel {
        item: "RM-1042".into(),
        name: "Magnesium glycinate".into(),
        gtin: GTIN.into(),
        lot: "MG2409-117".into(),
        expiry: Some(date(2028, 5, 31)),
        serial: new_serial([7; 8]),
        station: "Booth 3".into(),
        made: "23 Nov 2026 14:10 CET".into(),
        copy: 1,
        training: false,
        language: Language::En,
    }
}

/// What a printer takes as data of each field: hexadecimal digits undone, nothing else.
fn fields(zpl: &[u8]) -> Vec<(String, Vec<u8>)> {
    let text = std::str::from_utf8(zpl).unwrap();
    let mut fields = Vec::new();
    for part in text.split("^FS").filter(|part| part.contains("^FD")) {
        let (commands, data) =
            part.split_once("^FH\\^FD").expect("every field is written in hexadecimal digits");
        let (mut bytes, mut rest) = (Vec::new(), data);
        while let Some(first) = rest.chars().next() {
            let taken = if first == '\\' {
                bytes.push(u8::from_str_radix(&rest[1..3], 16).unwrap());
                3
            } else {
                bytes.push(rest.as_bytes()[0]);
                first.len_utf8()
            };
            rest = &rest[taken..];
        }
        fields.push((commands.to_owned(), bytes));
    }
    fields
}

/// The scan that a printer makes of the data of its code: its escape and a 1 are function character 1, and there is
/// no other escape in it, so that no reader of ZPL has a choice.
fn scan_of(compiled: &Compiled) -> Vec<u8> {
    let fields = fields(&compiled.zpl);
    let (commands, data) = fields.iter().find(|(commands, _)| commands.contains("^BX")).unwrap();
    let (_, parameters) = commands.split_once("^BX").unwrap();
    let escape = parameters.split('^').next().and_then(|own| own.bytes().last()).unwrap();
    let mut parts = data.split(|byte| *byte == escape);
    assert_eq!(parts.next(), Some(&[][..]), "function character 1 is first");
    let mut scan = b"]d2".to_vec();
    for (number, part) in parts.enumerate() {
        if number > 0 {
            scan.push(0x1d);
        }
        scan.extend(part.strip_prefix(b"1").expect("an escape other than function character 1"));
    }
    scan
}

fn values(label: &ContainerLabel) -> Vec<(String, String)> {
    let mut values = vec![("01".to_owned(), label.gtin.clone())];
    values.extend(label.expiry.map(|day| ("17".to_owned(), day.strftime("%y%m%d").to_string())));
    values.extend([("10".to_owned(), label.lot.clone()), ("21".to_owned(), label.serial.clone())]);
    values
}

/// Everything that must hold of a label that was made.
fn check(label: &ContainerLabel, compiled: &Compiled) {
    let scan = scan_of(compiled);
    let reading = read(&scan, date(2026, 11, 22), &SitePatterns::default());
    assert_eq!((reading.symbology, reading.kind), (Symbology::Gs1Datamatrix, Kind::Gs1ElementString));
    assert_eq!(reading.error, None);
    assert_eq!(reading.elements, compiled.elements);
    let read: Vec<(String, String)> =
        reading.elements.iter().map(|element| (element.ai.clone(), element.value.clone())).collect();
    assert_eq!(read, values(label));

    let zpl = std::str::from_utf8(&compiled.zpl).unwrap();
    assert!(zpl.starts_with("^XA^CI28") && zpl.ends_with("^PQ1,0,1,N^XZ\n"));
    for once in ["^XA", "^XZ", "^PQ", "^BX"] {
        assert_eq!(zpl.matches(once).count(), 1, "{once}");
    }
    assert!(!zpl.contains('~') && !zpl.contains("^JZ"));
    assert!(zpl.is_ascii() && !zpl.bytes().any(|byte| byte.is_ascii_control() && byte != b'\n'));

    let printed: String =
        fields(&compiled.zpl).into_iter().map(|(_, data)| String::from_utf8(data).unwrap()).collect();
    for text in [&label.name, &label.item, &label.lot, &label.serial, &label.station, &label.made] {
        assert!(printed.contains(text.as_str()), "{text:?} is not on the label in full");
        assert!(compiled.words.contains(text.as_str()));
    }
}

#[test]
fn the_code_is_that_of_the_gs1_rules() {
    let label = label();
    let compiled = label.compile().unwrap();
    check(&label, &compiled);
    let expected = format!("]d201{GTIN}1728053110MG2409-117\u{1d}21{}", label.serial);
    assert_eq!(scan_of(&compiled), expected.as_bytes());
    assert_eq!((compiled.width_mm, compiled.height_mm), (100, 66));
}

#[test]
fn what_is_on_the_label_is_told_in_words() {
    let mut label = label();
    let words = label.compile().unwrap().words;
    assert_eq!(
        words.lines().collect::<Vec<_>>(),
        [
            "Magnesium glycinate",
            "RM-1042",
            "Lot MG2409-117",
            "Expiry 2028-05-31",
            label.serial.as_str(),
            "Station Booth 3",
            "Label made 23 Nov 2026 14:10 CET",
            "original"
        ]
    );
    (label.language, label.training, label.copy, label.expiry) = (Language::De, true, 2, None);
    let words = label.compile().unwrap().words;
    let lines: Vec<&str> = words.lines().collect();
    assert_eq!(lines[0], "SCHULUNG");
    assert!(lines.contains(&"Verfall keine Angabe") && lines.contains(&"Kopie 2"), "{words}");
}

#[test]
fn every_word_of_the_template_has_its_text() {
    for language in Language::ALL {
        assert!(WORDS.iter().all(|key| language.text(key) != *key));
    }
}

#[test]
fn commands_in_values_are_printed_and_not_obeyed() {
    for hostile in
        ["A^XZ^XA", "~HS", "~JA^FS", "\\", "\\5E", ">", "_1F", "_5E", "^FD", "\\ &", "Zoë's Kräutermühle"]
    {
        let mut label = label();
        (label.name, label.item, label.station) = (hostile.into(), hostile.into(), hostile.into());
        label.made = hostile.into();
        check(&label, &label.compile().unwrap());
    }
    for lot in [">", "_1F", "_", "__1", "_1", "_d029", "!\"%&'()*+,-./:;<=", "?A_z"] {
        let label = ContainerLabel { lot: lot.into(), ..label() };
        check(&label, &label.compile().unwrap_or_else(|error| panic!("{lot}: {error}")));
    }
}

#[test]
fn what_the_code_cannot_carry_is_refused_and_nothing_is_shortened() {
    let with_lot = |lot: &str| ContainerLabel { lot: lot.into(), ..label() }.compile().map(|_| ());
    for lot in ["A^XZ^XA", "~HS", "\\", "MG 2409", "Müller-1", "a\u{1d}b", "#4", "a@b"] {
        assert_eq!(with_lot(lot), Err(LabelError::LotNotGs1), "{lot}");
    }
    assert_eq!(with_lot(&"7".repeat(20)), Ok(()));
    assert_eq!(with_lot(&"7".repeat(21)), Err(LabelError::LotTooLong));
    assert_eq!(with_lot(&"L".repeat(40)), Err(LabelError::LotTooLong));
    assert_eq!(with_lot(""), Err(LabelError::Missing(Field::Lot)));
    let no_expiry = ContainerLabel { lot: "LOT4217251231".into(), expiry: None, ..label() };
    assert_eq!(no_expiry.compile(), Err(LabelError::Ambiguous));
    for gtin in ["", "4012345678901", "04012345678902", "0401234567890A", "^XA^XZ^XA^XZ^X"] {
        assert_eq!(ContainerLabel { gtin: gtin.into(), ..label() }.compile(), Err(LabelError::Gtin));
    }
    for serial in ["a b", "ü", &"S".repeat(21)] {
        assert_eq!(ContainerLabel { serial: serial.into(), ..label() }.compile(), Err(LabelError::Serial));
    }
    for day in [date(1999, 12, 31), date(2076, 1, 1), Date::MAX, Date::MIN] {
        assert_eq!(ContainerLabel { expiry: Some(day), ..label() }.compile(), Err(LabelError::Expiry));
    }
}

#[test]
fn characters_that_no_printer_has_and_endless_names_are_refused() {
    for name in
        ["a\nb", "a\0", "\u{1b}", "\u{202e}abc", "日本", "a\u{308}", "\u{ad}", "😀", "\u{feff}x", "a\\&b"]
    {
        let label = ContainerLabel { name: name.into(), ..label() };
        assert_eq!(label.compile(), Err(LabelError::Character(Field::Name)), "{name:?}");
    }
    let label = ContainerLabel { station: " ".into(), ..label() };
    assert_eq!(label.compile(), Err(LabelError::Missing(Field::Station)));
    let label = ContainerLabel { name: "W".repeat(400), ..label };
    let label = ContainerLabel { station: "Booth".into(), ..label };
    assert_eq!(label.compile(), Err(LabelError::TooLong(Field::Name)));
}

#[test]
fn forty_of_the_widest_characters_fit_in_every_name() {
    for wide in ["W", "m", "@", "<", "Ä", "-", "Ü "] {
        let text: String = wide.chars().cycle().take(40).collect();
        for (training, language) in [(false, Language::En), (true, Language::De)] {
            let label = ContainerLabel {
                name: text.clone(),
                item: text.clone(),
                station: text.clone(),
                lot: if wide.is_ascii() { wide.repeat(20).replace('@', "%") } else { "W".repeat(20) },
                serial: "W".repeat(20),
                copy: u64::MAX,
                training,
                language,
                ..label()
            };
            check(&label, &label.compile().unwrap_or_else(|error| panic!("{wide} {language:?}: {error}")));
        }
    }
}

#[test]
fn a_serial_has_13_clear_characters_and_no_date_in_it() {
    assert_eq!(new_serial([0xff; 8]), "FZZZZZZZZZZZZ");
    // 13 zeros hold a run of eight digits: the seventh character is a letter.
    assert_eq!(new_serial([0; 8]), "000000G000000");
    assert_eq!(new_serial([0, 0, 0, 0, 0, 0, 1, 0]), "000000G000080");
}

/// The check digit by the rule as people know it: from the right, three times every other digit.
fn gtin(body: &str) -> String {
    let weighted = body.bytes().rev().enumerate();
    let sum: u32 =
        weighted.map(|(at, digit)| u32::from(digit - b'0') * if at % 2 == 0 { 3 } else { 1 }).sum();
    let gtin = format!("{body}{}", (10 - sum % 10) % 10);
    assert!(is_gtin14(&gtin));
    gtin
}

prop_compose! {
    fn any_label()(
        texts in proptest::array::uniform4("[ -~äöüÄÖÜßéłŻ€]{1,40}"),
        body in "[0-9]{13}",
        lot in "[!\"%-?A-Z_a-z]{1,20}",
        expiry in proptest::option::of((2000i16..=2075, 1i8..=12, 1i8..=28)),
        random in any::<[u8; 8]>(),
        copy in 1u64..1000,
        training in any::<bool>(),
        german in any::<bool>(),
    ) -> ContainerLabel {
        let [name, item, station, made] = texts;
        ContainerLabel {
            item, name, gtin: gtin(&body), lot,
            expiry: expiry.map(|(year, month, day)| date(year, month, day)),
            serial: new_serial(random), station,
            made: made.chars().take(30).collect(),
            copy, training,
            language: if german { Language::De } else { Language::En },
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn every_label_says_what_it_was_given(label in any_label()) {
        match label.compile() {
            Ok(compiled) => {
                check(&label, &compiled);
                prop_assert_eq!(label.compile().unwrap(), compiled);
            }
            Err(LabelError::Missing(field)) => {
                let blank = [&label.name, &label.item, &label.station, &label.made];
                prop_assert!(blank.iter().any(|text| text.trim().is_empty()), "{:?}", field);
            }
            Err(LabelError::Character(_)) => {
                let texts = [&label.name, &label.item, &label.station, &label.made];
                prop_assert!(texts.iter().any(|text| text.contains("\\&")));
            }
            // A random lot can look like a lot with a date behind it, and 30 of the widest characters are no time.
            Err(LabelError::Ambiguous | LabelError::TooLong(Field::Made)) => {}
            Err(error) => prop_assert!(false, "{}", error),
        }
    }

    #[test]
    fn a_new_serial_never_makes_a_code_ambiguous(random in any::<[u8; 8]>(), digits in any::<bool>()) {
        // Groups of five bits below ten, where the danger is.
        let random = if digits { (u64::from_be_bytes(random) & 0x739c_e739_ce73_9ce7).to_be_bytes() } else { random };
        let label = ContainerLabel { serial: new_serial(random), lot: "MG2409".into(), ..label() };
        prop_assert_eq!(label.serial.len(), 13);
        prop_assert!(label.compile().is_ok());
        let without_expiry = ContainerLabel { expiry: None, ..label };
        prop_assert!(without_expiry.compile().is_ok());
    }

    #[test]
    fn any_values_give_a_label_or_a_closed_error(name in ".*", lot in ".*", serial in ".*", gtin in ".*") {
        let label = ContainerLabel { name: name.clone(), item: name, lot, serial, gtin, ..label() };
        match label.compile() {
            Ok(compiled) => check(&label, &compiled),
            Err(error) => prop_assert_ne!(Language::De.text(error.code()), error.code()),
        }
    }
}
