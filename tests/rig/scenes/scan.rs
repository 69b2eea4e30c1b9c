//! The scan screen.

use super::site::{Values, ago, now};
use super::{Scene, scene};
use lotgate_devices::event::{DeviceState, PrinterState};
use lotgate_domain::ids::OperationId;
use lotgate_domain::operation::body::{Element, SnapshotLot};
use lotgate_domain::reference::LotStatus;
use lotgate_station::screen::{Act, DEMO_TRAY, Known, Phase, ScanAct};
use lotgate_sync::engine::failure::{FailureCode, QueueCode};
use lotgate_sync::engine::status::Link;
use lotgate_sync::queue::QueueAlarm;

/// What the scanner gave for the lot that may be used.
pub(super) fn accepted(values: &Values) -> ScanAct {
    let lot = values.lot(7);
    ScanAct {
        refusal: None,
        id: OperationId(uuid::Uuid::from_u128(1)),
        seq: values.seq,
        at: ago(1),
        device: values.scanner_id.to_owned(),
        text: format!("]d201{}\u{241d}1727093010{lot}", crate::plant::GTIN),
        symbology: "gs1_datamatrix".to_owned(),
        kind: "gs1_element_string".to_owned(),
        elements: vec![element("01", crate::plant::GTIN), element("17", "270930"), element("10", &lot)],
        item: Some("RM-1042".to_owned()),
        lot: Some(lot),
        snapshot_lot: Some(SnapshotLot { status: LotStatus::Released, expiry: "2027-09-30".parse().ok() }),
        snapshot: Some(1842),
        repeats: 0,
        can_print: true,
    }
}

/// The same scan with another outcome.
pub(super) fn refused(values: &Values, code: &'static str, lot: u32, status: LotStatus) -> ScanAct {
    let mut scan = accepted(values);
    let lot = values.lot(lot);
    scan.text = format!("]d201{}\u{241d}1727093010{lot}", crate::plant::GTIN);
    scan.elements = vec![element("01", crate::plant::GTIN), element("17", "270930"), element("10", &lot)];
    let expiry = if code == "expiry_mismatch" { "2027-10-31" } else { "2027-09-30" };
    scan.snapshot_lot = Some(SnapshotLot { status, expiry: expiry.parse().ok() });
    scan.snapshot = scan.snapshot.filter(|_| code != "no_reference_data");
    (scan.refusal, scan.lot, scan.can_print) = (Some(code), Some(lot), false);
    scan
}

/// A code of which nothing is known: as many characters as a plain code may have.
pub(super) fn unknown(values: &Values, code: &'static str) -> ScanAct {
    let mut scan = accepted(values);
    scan.text = match values.suffix {
        "" => "]C0PALLET-004711".to_owned(),
        _ => format!("]C0{}", "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ-".repeat(7)),
    };
    (scan.symbology, scan.kind) = ("code_128".to_owned(), "plain".to_owned());
    (scan.elements, scan.item, scan.lot, scan.snapshot_lot) = (Vec::new(), None, None, None);
    (scan.refusal, scan.can_print) = (Some(code), false);
    scan
}

fn element(ai: &str, value: &str) -> Element {
    Element { ai: ai.to_owned(), value: value.to_owned() }
}

pub(super) fn with(mut known: Known, act: Act) -> Known {
    known.sound = 1;
    known.act = act;
    known
}

pub(super) fn scenes(values: &Values) -> Vec<Scene> {
    let scan = |scan: ScanAct| with(values.known(), Act::Scan(Box::new(scan)));
    let offline = |link: Link| values.known_with(|works| values.offline(works, link));
    let nothing_known = values.known_with(|works| {
        works.reference = None;
        works.queue = values.queue(0, now());
        works.sync.engine.link = Link::Connecting;
    });
    let unplugged = values.known_with(|works| {
        works.devices.iter_mut().for_each(|device| device.state = DeviceState::Unplugged);
    });
    let alarmed = |alarms: &[QueueAlarm]| {
        values.known_with(|works| works.queue.alarms = alarms.iter().copied().collect())
    };
    let away = Act::DeviceAway { id: values.scanner_id.to_owned(), code: "unplugged", at: ago(9) };
    let interrupted =
        Act::DeviceFault { id: values.scanner_id.to_owned(), code: "scan_unterminated", at: ago(2) };
    let overrun = Act::DeviceFault { id: values.scanner_id.to_owned(), code: "overrun", at: ago(2) };
    let no_printer = values.known_with(|works| {
        works.printer.iter_mut().for_each(|printer| printer.state = PrinterState::Unreachable);
    });
    let own_queue = values.known_with(|works| {
        values.offline(works, Link::OwnQueueFault);
        works.sync.engine.failure = Some(FailureCode::Queue(QueueCode::QueueUnreadable));
    });
    let mut touched = accepted(values);
    touched.device = DEMO_TRAY.to_owned();
    let mut add_on = unknown(values, "unknown_lot");
    add_on.symbology = "ean_add_on".to_owned();
    let mut repeated = refused(values, "lot_held", 8, LotStatus::Hold);
    repeated.repeats = 12;
    let mut cannot_print = accepted(values);
    cannot_print.can_print = false;
    let scenes = [
        ("starting", values.knows(Phase::Starting)),
        ("scan", values.known()),
        ("scan-knows-nothing", nothing_known),
        ("scan-accepted", scan(accepted(values))),
        ("scan-accepted-no-label", scan(cannot_print)),
        ("scan-held", scan(refused(values, "lot_held", 8, LotStatus::Hold))),
        ("scan-held-again", scan(repeated)),
        ("scan-expiry-differs", scan(refused(values, "expiry_mismatch", 2, LotStatus::Released))),
        ("scan-unknown", scan(unknown(values, "unknown_lot"))),
        ("scan-unknown-add-on", scan(add_on)),
        ("scan-unreadable", scan(unknown(values, "wrong_check_digit"))),
        ("scan-offline", offline(Link::Offline)),
        ("scan-offline-accepted", with(offline(Link::Unreachable), Act::Scan(Box::new(accepted(values))))),
        (
            "scan-offline-held",
            with(
                offline(Link::Offline),
                Act::Scan(Box::new(refused(values, "lot_held", 8, LotStatus::Hold))),
            ),
        ),
        ("scan-trouble", offline(Link::Unauthorised)),
        ("scan-own-queue-fault", own_queue),
        ("scan-paused", offline(Link::Paused)),
        ("scan-unplugged", with(unplugged, away)),
        ("scan-interrupted", with(values.known(), interrupted.clone())),
        ("scan-interrupted-no-printer", with(no_printer, interrupted)),
        ("scan-too-fast", with(values.known(), overrun)),
        ("scan-no-label", with(values.known(), Act::NoLabel { code: "label_question_open", at: ago(2) })),
        ("scan-not-kept", with(values.known(), Act::NotKept { code: "disk_full", at: ago(3) })),
        ("scan-maybe-kept", with(values.known(), Act::NotKept { code: "unknown_outcome", at: ago(3) })),
        ("scan-gone", with(values.known(), Act::Gone { at: ago(1) })),
        ("scan-alarm", alarmed(&[QueueAlarm::DiskLow])),
        ("scan-accepted-alarms", with(alarmed(&QueueAlarm::ALL), Act::Scan(Box::new(accepted(values))))),
        ("scan-enrolled", with(values.known(), Act::Enrolled)),
        ("scan-demonstration", values.known_with(|works| values.demonstration(works))),
        (
            "scan-demonstration-offline",
            values.known_with(|works| {
                values.demonstration(works);
                values.offline(works, Link::Offline);
            }),
        ),
        (
            "scan-demonstration-touched",
            with(values.known_with(|works| values.demonstration(works)), Act::Scan(Box::new(touched))),
        ),
        (
            "scan-demonstration-accepted",
            with(
                values.known_with(|works| values.demonstration(works)),
                Act::Scan(Box::new(accepted(values))),
            ),
        ),
    ];
    scenes.iter().map(|(name, known)| scene(name, values.suffix, known)).collect()
}
