//! Every code that a person can see has its sentence in every language, and nothing else stands in the catalogue.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use lotgate_devices::event::{DeviceFault, DeviceState, PrinterState};
use lotgate_domain::barcode::{ErrorCode, Kind};
use lotgate_domain::lot::ScanRefusal;
use lotgate_domain::protocol::StopCode;
use lotgate_domain::protocol::problem::ProblemCode;
use lotgate_domain::statement::VerdictCode;
use lotgate_domain::text::Language;
use lotgate_station::print::Doubt;
use lotgate_sync::queue::QueueAlarm;
use serde::Serialize;

/// What fits two lines on the touchscreen.
const LONGEST: usize = 160;

const DEVICE_STATES: [DeviceState; 8] = [
    DeviceState::Opening,
    DeviceState::Ready,
    DeviceState::Unplugged,
    DeviceState::Missing,
    DeviceState::Denied,
    DeviceState::Busy,
    DeviceState::Ambiguous,
    DeviceState::Unusable,
];

const DEVICE_FAULTS: [DeviceFault; 5] = [
    DeviceFault::ScanUnterminated { bytes: 0 },
    DeviceFault::ScanTooLong,
    DeviceFault::ScanInterrupted { bytes: 0 },
    DeviceFault::ScanWithoutStart { bytes: 0 },
    DeviceFault::Overrun { waiting: 0 },
];

/// Every closed list whose codes are keys of the catalogue, by name.
fn lists() -> Vec<(&'static str, Vec<String>)> {
    let owned = |codes: &[&str]| codes.iter().map(|code| (*code).to_owned()).collect();
    let mut lists = vec![
        ("barcode", owned(&ErrorCode::ALL.map(ErrorCode::as_str))),
        ("lot", owned(&ScanRefusal::BESIDES_BARCODE.map(ScanRefusal::code))),
        ("problem", owned(&ProblemCode::ALL.map(ProblemCode::as_str))),
        ("verdict", owned(&VerdictCode::ALL.map(VerdictCode::as_str))),
        ("stop", StopCode::ALL.map(serialised).to_vec()),
        ("device state", owned(&DEVICE_STATES.map(DeviceState::code))),
        ("device fault", owned(&DEVICE_FAULTS.map(DeviceFault::code))),
        ("printer state", owned(&PrinterState::ALL.map(PrinterState::code))),
        ("doubt of a print job", owned(&Doubt::ALL.map(Doubt::text))),
        ("command", commands()),
        ("configuration", matched_in("station/src/config/error.rs", "fn as_str(")),
        ("secure directory", matched_in("sync/src/secure.rs", "fn code(")),
        ("connection", matched_in("sync/src/http.rs", "fn code(")),
        ("queue", matched_in("sync/src/queue/error.rs", "fn code(")),
        ("alarm", owned(&QueueAlarm::ALL.map(QueueAlarm::as_str))),
        ("export", matched_in("sync/src/queue/export.rs", "fn code(")),
        ("recovery", matched_in("sync/src/secure/recovery.rs", "fn code(")),
        ("finding of an export", matched_in("verify/src/finding.rs", "fn as_str(")),
        ("label", matched_in("domain/src/label/error.rs", "fn code(")),
        ("preview", owned(&["label_no_preview"])),
        ("label that is not taken", matched_in("station/src/print.rs", "fn code(")),
        ("doubt of a print job", matched_in("station/src/print/job.rs", "fn text(")),
        ("word on a label", owned(&lotgate_domain::label::WORDS)),
        ("queue fault", variants_in("sync/src/queue/error.rs", "FaultCode")),
    ];
    lists.extend([("screen", words_of_the_screen()), ("ui", words_of_the_ui())]);
    let failures = ["FailureClass", "LinkCode", "TlsCode", "ReplyCode", "InconsistencyCode", "QueueCode"]
        .map(|name| ("engine", variants_in("sync/src/engine/failure.rs", name)));
    lists.extend(failures);
    lists
}

fn source(path: &str) -> String {
    let path = format!("{}/../{path}", env!("CARGO_MANIFEST_DIR"));
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// The codes that every function beginning with `function` in a file matches to. Errors carry data, so that
/// no list of their values can be written down; their sources are that list.
fn matched_in(path: &str, function: &str) -> Vec<String> {
    let source = source(path);
    let bodies = source.split(function).skip(1).filter_map(|rest| rest.split("\n    }\n").next());
    let codes: BTreeSet<String> = bodies
        .flat_map(|body| body.lines())
        .filter_map(|line| Some(line.split_once("=> \"")?.1.split_once('"')?.0.to_owned()))
        .collect();
    assert!(codes.len() > 1, "{path}: {function} is not where the codes are any more");
    codes.into_iter().collect()
}

/// The variants of an enum in a file, as serialised.
fn variants_in(path: &str, name: &str) -> Vec<String> {
    let source = source(path);
    let body = source.split_once(&format!("enum {name} {{\n")).and_then(|(_, rest)| rest.split_once("\n}"));
    let body = body.unwrap_or_else(|| panic!("{path} has no enum {name}")).0;
    let (mut codes, mut renamed) = (Vec::new(), None);
    for line in body.lines().map(str::trim) {
        if let Some(rename) = line.strip_prefix("#[serde(rename = \"") {
            renamed = rename.split('"').next().map(str::to_owned);
        } else if line.starts_with(|first: char| first.is_ascii_uppercase()) {
            codes.push(renamed.take().unwrap_or_else(|| snake_case(line.trim_end_matches(','))));
        }
    }
    codes
}

fn snake_case(name: &str) -> String {
    let mut snake = String::new();
    for letter in name.chars() {
        if letter.is_ascii_uppercase() && !snake.is_empty() {
            snake.push('_');
        }
        snake.push(letter.to_ascii_lowercase());
    }
    snake
}

/// What the commands of `lotgate` say of themselves.
fn commands() -> Vec<String> {
    let mut codes = BTreeSet::from(["not_a_json_string".to_owned()]);
    for source in sources_under("station/src/cli")
        .into_iter()
        .chain([source("station/src/cli.rs"), source("station/src/run.rs")])
    {
        // `Failure::new(Exit::…, "code"`, and `Self::new(` in its conversions.
        let calls =
            source.split("::new(").skip(1).filter_map(|call| call.trim_start().strip_prefix("Exit::"));
        let second = calls.filter_map(|call| call.split_once(',')?.1.trim_start().strip_prefix('"'));
        codes.extend(second.filter_map(|code| code.split('"').next()).map(str::to_owned));
        // `Check::warn("id", "code"` and `Check::note("id", "code"` of the doctor.
        for call in ["Check::warn(", "Check::note("] {
            let calls = source.split(call).skip(1).filter_map(|call| call.trim_start().strip_prefix('"'));
            let second =
                calls.filter_map(|call| call.split_once('"')?.1.strip_prefix(", \"")?.split('"').next());
            codes.extend(second.map(str::to_owned));
        }
    }
    codes.extend(matched_in("station/src/retired.rs", "fn code("));
    codes.into_iter().collect()
}

/// Every Rust source in a folder, at any depth.
fn sources_under(path: &str) -> Vec<String> {
    let dir = format!("{}/../{path}", env!("CARGO_MANIFEST_DIR"));
    let mut sources = Vec::new();
    for entry in std::fs::read_dir(&dir).unwrap_or_else(|error| panic!("{dir}: {error}")) {
        let entry = entry.unwrap();
        let below = format!("{path}/{}", entry.file_name().to_string_lossy());
        match entry.file_type().unwrap().is_dir() {
            true => sources.extend(sources_under(&below)),
            false => sources.push(source(&below)),
        }
    }
    assert!(!sources.is_empty(), "{path} has no sources");
    sources
}

fn serialised<T: Serialize>(code: T) -> String {
    serde_json::to_value(code).unwrap().as_str().unwrap().to_owned()
}

fn catalogue(language: Language) -> BTreeMap<&'static str, &'static str> {
    language.codes().map(|code| (code, language.text(code))).collect()
}

#[test]
fn every_code_has_a_text_in_every_language() {
    for language in Language::ALL {
        let catalogue = catalogue(language);
        let lacking: Vec<String> = lists()
            .into_iter()
            .flat_map(|(list, codes)| codes.into_iter().map(move |code| (list, code)))
            .filter(|(_, code)| !catalogue.contains_key(code.as_str()))
            .map(|(list, code)| format!("{list}: {code}"))
            .collect();
        assert!(lacking.is_empty(), "{language:?} lacks {lacking:?}");
    }
}

/// What a word of the screen begins with; anything else that stands between quotes there is no key.
const SCREEN: [&str; 22] = [
    "act_",
    "age_",
    "alarm_",
    "answer_",
    "band_",
    "check_",
    "dev_",
    "echo_",
    "fact_",
    "fault_",
    "job_",
    "kind_",
    "label_",
    "lot_chip_",
    "lot_expires",
    "lot_no_expiry",
    "lots_",
    "net_",
    "network_",
    "offline_",
    "scan_recorded",
    "plain",
];

/// The keys that the station's screen is composed of: those written in its source, and those put together there.
fn words_of_the_screen() -> Vec<String> {
    let sources = ["band", "compose", "devices", "label", "scan"]
        .map(|file| source(&format!("station/src/screen/{file}.rs")));
    let literals = sources.iter().flat_map(|source| source.split('"').skip(1).step_by(2));
    let mut keys: BTreeSet<String> = literals
        .filter(|text| SCREEN.iter().any(|start| text.starts_with(start)))
        .filter(|text| text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_'))
        .filter(|text| !text.ends_with('_'))
        .map(str::to_owned)
        .collect();
    keys.insert("plain".to_owned());
    keys.extend(Kind::ALL.map(|kind| format!("kind_{}", kind.as_str())));
    keys.extend(["s", "min", "h", "d"].map(|unit| format!("lots_as_of_{unit}")));
    keys.extend(DEVICE_STATES.map(|state| format!("dev_state_{}", state.code())));
    keys.extend(PrinterState::ALL.map(|state| format!("dev_state_{}", state.code())));
    keys.extend(
        ["credential", "file", "credential_manager", "secret_service"].map(|kind| format!("dev_keys_{kind}")),
    );
    keys.extend(
        ["printed", "not_printed", "damaged"]
            .iter()
            .flat_map(|a| [format!("answer_{a}"), format!("answer_{a}_next")]),
    );
    let refusals = [
        "lot_held",
        "lot_quarantined",
        "lot_rejected",
        "lot_expired",
        "expiry_mismatch",
        "unknown_lot",
        "no_reference_data",
        "ambiguous",
    ];
    keys.extend(refusals.map(|code| format!("band_refused_{code}")));
    keys.extend(["label_needs_gtin", "label_unknown"].map(str::to_owned));
    keys.into_iter().collect()
}

/// The keys that the ui alone uses.
fn words_of_the_ui() -> Vec<String> {
    let mut keys = BTreeSet::new();
    let mut folders = vec![PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../ui/src"))];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap().flatten() {
            if entry.path().is_dir() {
                folders.push(entry.path());
                continue;
            }
            let Ok(source) = std::fs::read_to_string(entry.path()) else { continue };
            let parts = source.split(|c: char| !(c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_'));
            keys.extend(parts.filter(|part| part.starts_with("ui_") && part.len() > 3).map(str::to_owned));
        }
    }
    assert!(keys.len() > 10, "the ui's words are not where they were");
    keys.into_iter().collect()
}

/// Words and headings, which are no sentences: those of the screen, of the ui, and of the label.
fn is_word(code: &str) -> bool {
    code.starts_with("ui_")
        || code.starts_with("label_word_")
        || words_of_the_screen().iter().any(|word| word == code)
}

#[test]
fn every_text_belongs_to_a_code() {
    let codes: BTreeSet<String> = lists().into_iter().flat_map(|(_, codes)| codes).collect();
    for language in Language::ALL {
        let idle: Vec<&str> = language.codes().filter(|code| !codes.contains(*code)).collect();
        assert!(idle.is_empty(), "{language:?} has texts for {idle:?}, which no list has");
    }
}

#[test]
fn one_code_of_two_lists_is_meant_only_where_it_means_the_same() {
    let mut seen: BTreeMap<String, &str> = BTreeMap::new();
    let mut shared = BTreeSet::new();
    for (list, codes) in lists() {
        for code in codes {
            if seen.insert(code.clone(), list).is_some_and(|other| other != list) {
                shared.insert(code);
            }
        }
    }
    let meant = [
        "already_enrolled",
        "bad_signature",
        "broken_chain",
        "closed",
        "cloud_ahead",
        "damaged",
        "disk_io",
        "disk_very_low",
        "epoch_unconfirmed",
        "foreign",
        "id_reused",
        "key_store",
        "key_store_missing",
        "log_recovered",
        "no_random",
        "not_enrolled",
        "queue_full",
        "server_inconsistent",
        "unreachable",
        "wrong_permissions",
        "wrong_user",
    ];
    assert_eq!(
        shared,
        BTreeSet::from(meant.map(str::to_owned)),
        "two lists share a text: say so, or rename one"
    );
}

#[test]
fn a_text_is_one_short_sentence_or_two_and_claims_no_approval() {
    let banned = concat!("compli", "ant");
    for language in Language::ALL {
        for (code, text) in catalogue(language) {
            let length = text.chars().count();
            assert!(length <= LONGEST, "{language:?} {code}: {length} characters");
            assert!(!text.contains("  "), "{language:?} {code}: {text}");
            assert!(text.ends_with(['.', '!', '?']) || is_word(code), "{language:?} {code}: {text}");
            assert!(!text.to_lowercase().contains(banned), "{language:?} {code}: {text}");
            assert_ne!(text, code, "{language:?}: a code is not a text");
        }
    }
}

#[test]
fn both_files_hold_each_code_once_and_in_the_same_order() {
    let keys = |json: &str| -> Vec<String> {
        json.lines()
            .filter_map(|line| Some(line.trim().strip_prefix('"')?.split_once('"')?.0.to_owned()))
            .collect()
    };
    let (en, de) =
        (keys(include_str!("../../domain/text/en.json")), keys(include_str!("../../domain/text/de.json")));
    assert_eq!(en, de);
    assert_eq!(en.iter().collect::<BTreeSet<_>>().len(), en.len(), "a code stands twice");
    assert_eq!(en.len(), Language::En.codes().count(), "one line a code");
}
