//! Labels drawn by a renderer that is not ours (labelize) and read by a decoder that is not ours (`ZXingReader` of
//! zxing-cpp): what they say is what was given, hostile values included, and nothing stands on anything else.
//! The labels and their pictures are kept under `target/labels` for people to look at.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test fails by panicking")]

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use jiff::civil::date;
use labelize::ZplParser;
use labelize::elements::label_element::LabelElement;
use lotgate_domain::barcode::{SitePatterns, read};
use lotgate_domain::label::{ContainerLabel, new_serial};
use lotgate_domain::text::Language;
use lotgate_station::preview;
use rustix::time::{ClockId, clock_gettime};

const WIDTH: usize = 800;
const HEIGHT: usize = 528;

fn label() -> ContainerLabel {
    ContainerLabel {
        item: "RM-1042".into(),
        name: "Magnesium glycinate".into(),
        gtin: "04012345678901".into(),
        lot: "MG2409-117".into(),
        expiry: Some(date(2028, 5, 31)),
        serial: new_serial([0x1d, 0x72, 0xa9, 0x04, 0x55, 0xe1, 0x3c, 0x90]),
        station: "Booth 3".into(),
        made: "23 Nov 2026 14:10 CET".into(),
        copy: 1,
        training: false,
        language: Language::En,
    }
}

/// A label at its longest: forty characters in every name, twenty in what the code carries.
fn longest(wide: char) -> ContainerLabel {
    let names: String = std::iter::repeat_n(wide, 40).collect();
    let in_code: String = std::iter::repeat_n(if wide == 'Ä' { 'W' } else { wide }, 20).collect();
    ContainerLabel {
        item: names.clone(),
        name: names.clone(),
        lot: in_code.clone(),
        serial: in_code,
        station: names,
        copy: u64::MAX,
        ..label()
    }
}

fn cases() -> Vec<(&'static str, ContainerLabel)> {
    let german = || ContainerLabel { language: Language::De, made: "23.11.2026 14:10 MEZ".into(), ..label() };
    let named =
        |name: &str| ContainerLabel { name: name.into(), item: name.into(), station: name.into(), ..label() };
    let lot = |lot: &str| ContainerLabel { lot: lot.into(), ..label() };
    vec![
        ("plain", label()),
        ("copy", ContainerLabel { copy: 2, ..label() }),
        ("training", ContainerLabel { training: true, ..label() }),
        ("no-expiry", ContainerLabel { expiry: None, ..label() }),
        (
            "german",
            ContainerLabel {
                name: "Löwenzahnwurzel, gemahlen, süß".into(),
                station: "Kräuterküche 3".into(),
                ..german()
            },
        ),
        ("german-training", ContainerLabel { training: true, copy: 3, ..german() }),
        (
            "forty",
            ContainerLabel {
                name: "Magnesiumbisglycinat-Dihydrat, mikronis.".into(),
                item: "RM-1042-DE-MG-BISGLYCINAT-DIHYDRAT-MIKRO".into(),
                lot: "MG2409-117-A/0042-DE".into(),
                station: "Wägekabine 3, Gebäude 7, Halle Süd-West".into(),
                ..german()
            },
        ),
        ("longest-W", longest('W')),
        ("longest-W-training", ContainerLabel { training: true, ..longest('W') }),
        ("longest-umlaut", ContainerLabel { training: true, language: Language::De, ..longest('Ä') }),
        ("longest-less", ContainerLabel { training: true, language: Language::De, ..longest('<') }),
        ("longest-percent", longest('%')),
        ("hostile-format", named("A^XZ^XA")),
        ("hostile-status", named("~HS")),
        ("hostile-backslash", named("\\")),
        ("hostile-block", named("a\\b \\5E \\\\ &")),
        ("hostile-greater", ContainerLabel { lot: ">".into(), ..named(">") }),
        ("hostile-hex", ContainerLabel { lot: "_1F".into(), ..named("_1F") }),
        ("lot-escape", lot("_")),
        ("lot-escapes", lot("__1_d029_")),
        ("lot-signs", lot("!\"%&'()*+,-./:;<=>?")),
        ("lot-digits", lot("12345678901234567890")),
    ]
}

/// What `ZXingReader` says of a picture: the AIM identifier and the bytes, as a scanner sends them.
fn decode(picture: &Path) -> Vec<u8> {
    let told = Command::new("ZXingReader").args(["-format", "DataMatrix"]).arg(picture).output();
    let told =
        told.unwrap_or_else(|error| panic!("ZXingReader of zxing-cpp-tools (tests/setup.sh): {error}"));
    let told = String::from_utf8(told.stdout).unwrap();
    let value = |name: &str| {
        let line = told.lines().find_map(|line| line.strip_prefix(name));
        line.unwrap_or_else(|| panic!("{}: no {name} in {told:?}", picture.display())).trim().to_owned()
    };
    assert_eq!((value("Format:").as_str(), value("Content:").as_str()), ("DataMatrix", "GS1"));
    let bytes = hex::decode(value("Bytes:").replace(' ', "")).unwrap();
    [value("Identifier:").into_bytes(), bytes].concat()
}

fn folder() -> PathBuf {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/labels");
    std::fs::create_dir_all(dir.join("codes")).unwrap();
    dir
}

/// The right upper quarter of a label, as a scanner sees it that is aimed at the code. That decoder looks for a
/// Data Matrix around the middle of a picture only.
fn aimed_at_the_code(name: &str, ink: &[bool]) -> PathBuf {
    let (left, width, height) = (WIDTH / 2, WIDTH / 2, 300);
    let rows = ink.chunks(WIDTH).take(height).flat_map(|row| &row[left..]);
    let pixels: Vec<u8> = rows.map(|black| if *black { 0 } else { 255 }).collect();
    let path = folder().join(format!("codes/{name}.png"));
    let file = std::fs::File::create(&path).unwrap();
    let mut encoder = png::Encoder::new(file, u32::try_from(width).unwrap(), u32::try_from(height).unwrap());
    encoder.set_color(png::ColorType::Grayscale);
    encoder.write_header().unwrap().write_image_data(&pixels).unwrap();
    path
}

#[test]
fn the_code_of_a_drawn_label_says_what_was_given_and_the_station_reads_it_so() {
    for (name, label) in cases() {
        let compiled = label.compile().unwrap_or_else(|error| panic!("{name}: {error}"));
        let drawn = preview::png(&compiled.zpl).unwrap();
        std::fs::write(folder().join(format!("{name}.zpl")), &compiled.zpl).unwrap();
        std::fs::write(folder().join(format!("{name}.png")), &drawn).unwrap();
        let scan = decode(&aimed_at_the_code(name, &ink(&drawn)));
        let expiry = label.expiry.map(|day| format!("17{}", day.strftime("%y%m%d"))).unwrap_or_default();
        let expected = format!("]d201{}{expiry}10{}\u{1d}21{}", label.gtin, label.lot, label.serial);
        assert_eq!(String::from_utf8_lossy(&scan), expected, "{name}");
        let reading = read(&scan, date(2026, 11, 22), &SitePatterns::default());
        assert_eq!(reading.error, None, "{name}");
        assert_eq!(reading.elements, compiled.elements, "{name}");
    }
}

/// The texts that another parser of ZPL finds, in their order, without its line breaks.
fn texts(zpl: &[u8]) -> String {
    let labels = ZplParser::new().parse(zpl).unwrap();
    assert_eq!(labels.len(), 1, "one label");
    let text = |element: &LabelElement| match element {
        LabelElement::Text(field) => Some(field.text.clone()),
        _ => None,
    };
    labels[0].elements.iter().filter_map(text).collect()
}

#[test]
fn another_parser_finds_every_text_in_full_and_only_one_label() {
    for (name, label) in cases() {
        let compiled = label.compile().unwrap();
        let found = texts(&compiled.zpl);
        for text in [&label.name, &label.item, &label.lot, &label.serial, &label.station, &label.made] {
            assert!(found.contains(text.as_str()), "{name}: {text:?} not in {found:?}");
        }
    }
}

/// Where a picture is black, a byte for a dot.
fn ink(png: &[u8]) -> Vec<bool> {
    let mut decoder = png::Decoder::new(std::io::Cursor::new(png));
    decoder.set_transformations(png::Transformations::normalize_to_color8() | png::Transformations::ALPHA);
    let mut reader = decoder.read_info().unwrap();
    let mut pixels = vec![0; reader.output_buffer_size().unwrap()];
    let frame = reader.next_frame(&mut pixels).unwrap();
    assert_eq!((frame.width as usize, frame.height as usize), (WIDTH, HEIGHT));
    let samples = frame.color_type.samples();
    pixels[..frame.buffer_size()].chunks(samples).map(|pixel| pixel[0] < 128).collect()
}

/// Left, top, right and bottom of what is black.
fn bounds(ink: &[bool]) -> Option<[usize; 4]> {
    let black =
        || ink.iter().enumerate().filter(|(_, black)| **black).map(|(at, _)| (at % WIDTH, at / WIDTH));
    let (left, right) = (black().map(|it| it.0).min()?, black().map(|it| it.0).max()?);
    Some([left, black().map(|it| it.1).min()?, right, black().map(|it| it.1).max()?])
}

#[test]
fn nothing_stands_on_anything_else_or_beyond_the_edge() {
    for (name, label) in cases() {
        let zpl = String::from_utf8(label.compile().unwrap().zpl).unwrap();
        let (head, rest) = zpl.split_at(zpl.find("^PMN").unwrap() + 4);
        let mut parts: Vec<(&str, [usize; 4], Vec<bool>)> = Vec::new();
        for part in rest.lines().filter(|part| part.ends_with("^FS")) {
            let ink = ink(&preview::png(format!("{head}{part}^XZ").as_bytes()).unwrap());
            let Some(bounds) = bounds(&ink) else { panic!("{name}: nothing is drawn by {part}") };
            let [left, top, right, bottom] = bounds;
            assert!(
                left >= 16 && top >= 16 && right < WIDTH - 16 && bottom < HEIGHT - 8,
                "{name}: {part} at {bounds:?}"
            );
            parts.push((part, bounds, ink));
        }
        assert!(parts.len() >= 10, "{name}");
        for (at, (one, its, its_ink)) in parts.iter().enumerate() {
            for (other, others, other_ink) in &parts[at + 1..] {
                // Only the frame of the training mark may stand around something, and then without touching it.
                let apart =
                    its[2] < others[0] || others[2] < its[0] || its[3] < others[1] || others[3] < its[1];
                let framed = one.contains("^GB") || other.contains("^GB");
                let touching = its_ink.iter().zip(other_ink).any(|(one, other)| *one && *other);
                assert!(apart || framed && !touching, "{name}: {one} {its:?} on {other} {others:?}");
            }
        }
    }
}

#[test]
fn the_training_mark_is_the_largest_thing_in_words() {
    let black = |label: &ContainerLabel| {
        let ink = ink(&preview::png(&label.compile().unwrap().zpl).unwrap());
        ink.iter().filter(|black| **black).count()
    };
    for language in Language::ALL {
        let label = ContainerLabel { language, ..label() };
        let compiled = ContainerLabel { training: true, ..label.clone() }.compile().unwrap();
        let zpl = String::from_utf8(compiled.zpl).unwrap();
        let height =
            |part: &str| -> Option<u32> { part.split_once("^A0N,")?.1.split_once(',')?.0.parse().ok() };
        let word = language.text("label_word_training");
        let mark = zpl.lines().find(|part| part.contains(&format!("^FD{word}^FS"))).unwrap();
        assert_eq!(height(mark), zpl.lines().filter_map(height).max());
        let training = ContainerLabel { training: true, ..label.clone() };
        assert!(black(&training) > black(&label) + 15_000, "the mark is more than a line of text");
    }
}

#[test]
fn a_preview_takes_less_than_50_ms_of_a_processor() {
    let compiled = longest('W').compile().unwrap();
    preview::png(&compiled.zpl).unwrap();
    let used = || Duration::try_from(clock_gettime(ClockId::ThreadCPUTime)).unwrap();
    let start = used();
    for _ in 0..5 {
        preview::png(&compiled.zpl).unwrap();
    }
    let each = (used() - start) / 5;
    assert!(each < Duration::from_millis(50), "{each:?}");
}
