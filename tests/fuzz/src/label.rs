//! Any values: a label whose code the scanner reads back as given, or a closed error; never a second format.
#![no_main]

use lotgate_domain::label::ContainerLabel;
use lotgate_domain::text::Language;

libfuzzer_sys::fuzz_target!(|input: &[u8]| {
    // The first byte chooses what has two values, 0xff stands between the texts.
    let (choice, rest) = input.split_first().unwrap_or((&0, &[]));
    let mut texts = rest.split(|byte| *byte == 0xff).map(|text| String::from_utf8_lossy(text).into_owned());
    let mut next =
        |instead: &str| texts.next().filter(|text| !text.is_empty()).unwrap_or_else(|| instead.to_owned());
    let label = ContainerLabel {
        lot: next("MG2409-117"),
        name: next("Magnesium"),
        item: next("RM-1042"),
        station: next("Booth 3"),
        serial: next("0A1B2C3D4E5F6"),
        made: next("23 Nov 2026 14:10 CET"),
        gtin: next("04012345678901"),
        expiry: (choice & 1 == 0).then(|| jiff::civil::date(2028, 5, 31)),
        copy: u64::from(*choice),
        training: choice & 2 == 0,
        language: if choice & 4 == 0 { Language::En } else { Language::De },
    };
    if let Ok(compiled) = label.compile() {
        let count =
            |bytes: &[u8]| compiled.zpl.windows(bytes.len()).filter(|window| *window == bytes).count();
        assert_eq!((count(b"^XA"), count(b"^XZ"), count(b"^PQ1,0,1,N"), count(b"~")), (1, 1, 1, 0));
        let value =
            |ai: &str| compiled.elements.iter().find(|element| element.ai == ai).map(|it| it.value.as_str());
        assert_eq!((value("10"), value("21")), (Some(label.lot.as_str()), Some(label.serial.as_str())));
    }
});
