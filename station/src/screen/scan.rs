//! The scan screen: which lots may be scanned, and what every check of the last scan found.

use super::compose::{action, age, clock_time};
use super::known::{Act, Known, ScanAct, Works};
use super::{Action, CheckRow, LotRow, Main, Place, Request, Scan, ScanResult, Text};
use jiff::civil::Date;
use lotgate_domain::reference::{Lot, LotStatus, Snapshot};
use lotgate_sync::engine::status::Link;

/// As many lots as the panel shows without scrolling.
const SHOWN_LOTS: usize = 5;

pub(super) fn main(known: &Known, works: &Works) -> Main {
    let result = match &known.act {
        Act::Scan(scan) => Some(result(works, scan)),
        _ => None,
    };
    let (lots, more_lots) = lots(works);
    Main::Scan(Scan { result, lots, more_lots, as_of: as_of(known, works) })
}

pub(super) fn actions(known: &Known, works: &Works) -> Vec<Action> {
    let devices = action(Place::Middle, "activity", "act_devices", Some(Request::ShowDevices));
    let next = match &known.act {
        Act::Scan(scan) if scan.can_print => {
            action(Place::Primary, "printer", "act_print", Some(Request::PrintLabel { scan: scan.id }))
        }
        _ if works.sync.engine.link == Link::OwnQueueFault => {
            action(Place::Waits, "triangle-alert", "act_wait_for_it", None)
        }
        _ => action(Place::ScanSlot, "scan-barcode", "act_scan_lot", None),
    };
    vec![devices, next]
}

/// What the reference data is called, and how old the knowledge is.
pub(super) fn as_of(known: &Known, works: &Works) -> Text {
    match &works.reference {
        None => Text::of("lots_none"),
        Some(reference) => {
            let at = known.now.plus_ms(-i64::try_from(works.reference_age_ms).unwrap_or(0));
            let time = clock_time(at, &known.zone).chars().take(5).collect::<String>();
            let Text { key, values } = age(works.reference_age_ms);
            Text::of(&format!("lots_as_of_{}", key.trim_start_matches("age_")))
                .with("time", time)
                .with("n", values.get("n").cloned().unwrap_or_default())
                .with("snapshot", reference.snapshot.cursor)
        }
    }
}

/// Lots that may be used first, those that expire soonest before the others; then those that may not.
fn lots(works: &Works) -> (Vec<LotRow>, u32) {
    let Some(reference) = &works.reference else { return (Vec::new(), 0) };
    let snapshot = &*reference.snapshot;
    let today = works.effective_now.civil_date(&snapshot.zone);
    let mut all: Vec<&Lot> = snapshot.lots().collect();
    all.sort_by_key(|lot| (blocked(lot, today).is_some(), lot.expiry.unwrap_or(Date::MAX), &lot.lot));
    let more = u32::try_from(all.len().saturating_sub(SHOWN_LOTS)).unwrap_or(u32::MAX);
    let row = |lot: &&Lot| LotRow {
        lot: lot.lot.clone(),
        item: item_name(snapshot, &lot.item),
        expiry: expiry(lot.expiry, "lot_no_expiry"),
        blocked: blocked(lot, today).map(Text::of),
    };
    (all.iter().take(SHOWN_LOTS).map(row).collect(), more)
}

fn expiry(date: Option<Date>, none: &str) -> Text {
    date.map_or_else(|| Text::of(none), |date| Text::of("lot_expires").with("date", date))
}

pub(super) fn item_name(snapshot: &Snapshot, item: &str) -> String {
    let name = snapshot.item(item).and_then(|item| item.name.clone());
    name.unwrap_or_else(|| item.to_owned())
}

fn blocked(lot: &Lot, today: Date) -> Option<&'static str> {
    match lot.status {
        LotStatus::Rejected => Some("lot_chip_rejected"),
        LotStatus::Quarantine => Some("lot_chip_quarantine"),
        LotStatus::Hold => Some("lot_chip_hold"),
        LotStatus::Released => lot.expiry.filter(|expiry| today > *expiry).map(|_| "lot_chip_expired"),
    }
}

/// How far a scan came: the checks before the refusal hold, those after it were not reached.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Stage {
    Code,
    Data,
    Lot,
    Label,
    Status,
    Expiry,
    Accepted,
}

fn stage(scan: &ScanAct) -> Stage {
    match scan.refusal {
        None => Stage::Accepted,
        Some("no_reference_data") => Stage::Data,
        Some("unknown_lot") => Stage::Lot,
        Some("expiry_mismatch") => Stage::Label,
        Some("lot_rejected" | "lot_quarantined" | "lot_held") => Stage::Status,
        Some("lot_expired") => Stage::Expiry,
        Some(_) => Stage::Code,
    }
}

fn result(works: &Works, scan: &ScanAct) -> ScanResult {
    let snapshot = works.reference.as_ref().map(|reference| &*reference.snapshot);
    let item = scan.item.as_ref().map(|item| match snapshot {
        Some(snapshot) => item_name(snapshot, item),
        None => item.clone(),
    });
    ScanResult {
        accepted: scan.refusal.is_none(),
        lot: scan.lot.clone(),
        item,
        checks: checks(works, scan),
        recorded: Text::of("scan_recorded").with("n", scan.seq),
    }
}

fn checks(works: &Works, scan: &ScanAct) -> Vec<CheckRow> {
    let came = stage(scan);
    let holds = |own: Stage| match came.cmp(&own) {
        std::cmp::Ordering::Less => None,
        std::cmp::Ordering::Equal => Some(false),
        std::cmp::Ordering::Greater => Some(true),
    };
    let row = |key: &str, expected: Text, found: Text, stage: Stage| {
        let holds = holds(stage);
        let found = if holds.is_none() { Text::of("check_not_reached") } else { found };
        CheckRow { check: Text::of(key), expected, found, holds }
    };
    let value =
        |ai: &str| scan.elements.iter().find(|element| element.ai == ai).map(|element| &element.value);
    let known = scan.snapshot_lot.as_ref();
    // Those of that moment, not those that came since.
    let data = scan.snapshot.map_or_else(
        || Text::of("check_data_none"),
        |cursor| Text::of("check_data_is").with("snapshot", cursor),
    );
    let lot = scan.lot.clone().or_else(|| value("10").cloned());
    let on_label = value("17").map_or_else(
        || Text::of("check_label_no_expiry"),
        |yymmdd| {
            let today = works.effective_now.utc_date();
            lotgate_domain::gs1::expiry_date(yymmdd, today).map_or_else(|| Text::plain(yymmdd), Text::date)
        },
    );
    let expiry_known = || match known {
        // Nothing is known of it, not even that it has no date.
        None => Text::of("check_unknown"),
        Some(lot) => lot.expiry.map_or_else(|| Text::of("check_no_expiry"), Text::date),
    };
    let status = known.map_or("check_unknown", |known| match known.status {
        LotStatus::Released => "check_released",
        LotStatus::Quarantine => "check_quarantine",
        LotStatus::Hold => "check_hold",
        LotStatus::Rejected => "check_rejected",
    });
    vec![
        row(
            "check_code",
            Text::of("check_code_right"),
            Text::of(&format!("kind_{}", scan.kind)),
            Stage::Code,
        ),
        row("check_data", Text::of("check_data_there"), data, Stage::Data),
        row(
            "check_lot",
            Text::of("check_lot_known"),
            lot.map_or_else(|| Text::of("check_unknown"), Text::plain),
            Stage::Lot,
        ),
        row("check_label", expiry_known(), on_label, Stage::Label),
        row("check_status", Text::of("check_released"), Text::of(status), Stage::Status),
        row("check_expiry", Text::of("check_after_today"), expiry_known(), Stage::Expiry),
    ]
}
