//! A machine that is no station yet.

use super::scan::with;
use super::site::{Values, ago};
use super::{Scene, scene};
use lotgate_station::screen::{Act, EnrolNow, Phase};

/// Whole length of a token.
const TOKEN: usize = 192;

pub(super) fn scenes(values: &Values) -> Vec<Scene> {
    let enrol = |change: &dyn Fn(&mut EnrolNow)| {
        let mut enrol = EnrolNow {
            server: Some(values.server.to_owned()),
            devices: vec![values.scanner(1)],
            ..EnrolNow::default()
        };
        change(&mut enrol);
        values.knows(Phase::Enrol(enrol))
    };
    let whole = |enrol: &mut EnrolNow| {
        enrol.typed = TOKEN;
        enrol.fingerprint = Some(fingerprint());
    };
    let working = |enrol: &mut EnrolNow| {
        whole(enrol);
        enrol.working = true;
    };
    let typing = |enrol: &mut EnrolNow| (enrol.keyboard, enrol.typed) = (true, 12);
    let open = |enrol: &mut EnrolNow| enrol.keyboard = true;
    let no_server = |enrol: &mut EnrolNow| enrol.server = None;
    let interrupted =
        Act::DeviceFault { id: values.scanner_id.to_owned(), code: "scan_interrupted", at: ago(2) };
    let scenes = [
        ("enrol", enrol(&|_| ())),
        ("enrol-no-server", enrol(&no_server)),
        ("enrol-keyboard", enrol(&open)),
        ("enrol-typing", enrol(&typing)),
        ("enrol-no-token", with(enrol(&|_| ()), Act::NoToken { at: ago(2) })),
        ("enrol-interrupted", with(enrol(&|_| ()), interrupted)),
        ("enrol-token", with(enrol(&whole), Act::TokenRead)),
        ("enrol-working", with(enrol(&working), Act::TokenRead)),
        ("enrol-failed", with(enrol(&whole), Act::EnrolFailed { code: "token_used", at: ago(2) })),
    ];
    scenes.iter().map(|(name, known)| scene(name, values.suffix, known)).collect()
}

/// 64 hexadecimal digits in groups of four.
fn fingerprint() -> String {
    let hex = hex::encode((0x1a..0x3a).collect::<Vec<u8>>());
    let digits: Vec<char> = hex.chars().collect();
    digits.chunks(4).map(|group| group.iter().collect::<String>()).collect::<Vec<_>>().join(" ")
}
