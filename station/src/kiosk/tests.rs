//! What a person sees after each thing that happens, in the orders that matter.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use crate::actor::{JobsShown, Scanned};
use crate::print::{Jobs, PrintJob};
use crate::screen::{
    Act, Band, BandState, Known, Main, Page, Phase, PrinterNow, Request, Screen, ScreenLanguage, Works,
    compose,
};
use jiff::tz::TimeZone;
use lotgate_devices::event::{DeviceInfo, DeviceState, PrinterState, Role, Transport};
use lotgate_domain::chain::Head;
use lotgate_domain::ids::{BootId, Epoch, EpochId, Hash, OperationId};
use lotgate_domain::operation::body::{
    Body, Device, Element, JobState, LabelQueued, LabelState, ScanAccepted, ScanRefused, SnapshotLot,
};
use lotgate_domain::operation::{At, Clock};
use lotgate_domain::reference::{Item, LotStatus, ReferenceFile, Snapshot, render_page};
use lotgate_domain::time::Timestamp;
use lotgate_sync::clock::{ClockMemory, ClockReading};
use lotgate_sync::engine::status::{Link, Status};
use lotgate_sync::queue::{
    Appended, CapacityLimits, LabelOperation, LogKnown, PageMark, QueueAlarm, QueueState, StopReason,
};
use lotgate_sync::runner::{Reference, SyncStatus};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Instant;

const PRINTER: &str = "tcp:10.1.4.20:9100";
const ITEM: &str = "API-100";
const CURSOR: u64 = 7;

fn id(n: u64) -> OperationId {
    OperationId::from_parts(n, &[7; 10])
}

/// The scan that the label of job `n` was asked for.
fn scan_of(n: u64) -> u64 {
    1_000 + n
}

fn now() -> Timestamp {
    Timestamp::from_unix_ms(1_795_439_251_000)
}

fn device(role: &str, id: &str) -> Device {
    Device { role: role.to_owned(), transport: "tcp".to_owned(), id: id.to_owned(), simulated: true }
}

fn reading() -> ClockReading {
    ClockReading { wall: now(), offset_minutes: 0, mono_ms: 0, boot: BootId::from_parts(0, &[0; 10]) }
}

fn queue() -> QueueState {
    let epoch = Epoch { n: 1, id: EpochId([7; 16]) };
    QueueState {
        head: Head { epoch: Some(epoch), seq: 1, hash: Hash::ZERO },
        queued: 0,
        oldest_wall: None,
        sent_through: None,
        settled_through: None,
        clock: ClockMemory::default(),
        page: None,
        log: LogKnown::default(),
        capacity: CapacityLimits::default().judge(0, None),
        alarms: BTreeSet::new(),
        unconfirmed: false,
        stopped: None,
        commits: 1,
    }
}

fn sync() -> SyncStatus {
    let engine = Status {
        link: Link::Online,
        failure: None,
        alarm: None,
        stuck: None,
        revoked: false,
        sending: false,
        retry_at: None,
        last_contact: None,
    };
    SyncStatus { engine, last_contact_at: None, alarms: BTreeSet::new() }
}

fn reference() -> Reference {
    let item = Item { item: ITEM.to_owned(), name: None, gtin: Some("09506000134352".to_owned()) };
    let page = render_page(&ReferenceFile { items: vec![item], lots: Vec::new() }, "UTC").unwrap();
    let mark = PageMark { cursor: CURSOR, hash: Hash::ZERO, time: now(), confirmed: reading() };
    Reference { snapshot: Arc::new(Snapshot::read(&page, CURSOR, Hash::ZERO).unwrap()), mark }
}

fn works() -> Works {
    Works {
        station: "Booth 3".to_owned(),
        site: "Plant 1".to_owned(),
        training: false,
        key_protection: "credential_manager",
        version: "0.1.0".to_owned(),
        queue: queue(),
        sync: sync(),
        away_since: None,
        clock: Clock::Ok,
        reference: Some(reference()),
        reference_age_ms: 0,
        effective_now: now(),
        devices: Vec::new(),
        printer: Some(PrinterNow {
            id: PRINTER.to_owned(),
            name: None,
            state: PrinterState::Ready,
            simulated: true,
            heard: None,
        }),
        job: None,
        demo: Vec::new(),
    }
}

/// What one person meets.
struct Day {
    known: Known,
}

impl Day {
    fn new() -> Self {
        let mut known = Known {
            language: ScreenLanguage::En,
            now: now(),
            zone: TimeZone::UTC,
            phase: Phase::Starting,
            page: Page::Scan,
            act: Act::None,
            sound: 0,
            alarm_sound: 0,
        };
        known.begins(works());
        Self { known }
    }

    fn screen(&self) -> Screen {
        compose(&self.known)
    }

    fn band(&self) -> Band {
        self.screen().band
    }

    fn says(&self, state: BandState, title: &str) {
        let band = self.band();
        assert_eq!((band.state, band.title.key.as_str()), (state, title), "{:?}", self.known.act);
    }

    fn shows_label(&self) -> bool {
        matches!(self.screen().main, Main::Label(_))
    }

    fn requests(&self) -> Vec<Request> {
        self.screen().actions.into_iter().filter_map(|action| action.request).collect()
    }

    fn jobs(&mut self, shown: JobsShown) {
        self.known.note_jobs(shown, String::new());
    }

    fn scan(&mut self, n: u64, refusal: Option<&'static str>, label_of: Option<u64>, repeats: u32) {
        let snapshot_lot = SnapshotLot { status: LotStatus::Released, expiry: None };
        let (raw, symbology, kind) = ("41".to_owned(), "code_128".to_owned(), "plain".to_owned());
        let lot = format!("LOT-{n}");
        let body = match refusal {
            None => Body::ScanAccepted(ScanAccepted {
                device: device("scanner", "a"),
                raw,
                aim: None,
                symbology,
                kind,
                elements: Vec::new(),
                item: ITEM.to_owned(),
                lot,
                snapshot_lot,
            }),
            Some(code) => Body::ScanRefused(ScanRefused {
                device: device("scanner", "a"),
                raw,
                aim: None,
                symbology,
                kind,
                elements: Vec::new(),
                item: Some(ITEM.to_owned()),
                lot: Some(lot),
                snapshot_lot: Some(snapshot_lot),
                code: code.to_owned(),
            }),
        };
        let at = At {
            wall: now(),
            offset_minutes: 0,
            mono_ms: 0,
            boot: reading().boot,
            clock: Clock::Ok,
            server: None,
        };
        let appended = Appended {
            position: n,
            epoch: Epoch { n: 1, id: EpochId([7; 16]) },
            seq: n,
            id: id(n),
            kind: body.kind(),
            hash: Hash::ZERO,
            raw_hex: None,
            at,
        };
        let label_of = label_of.map(id);
        let scanned = Scanned { body, seen: Instant::now(), snapshot: Some(CURSOR), label_of };
        self.known.note_scan(&appended, refusal, &scanned, repeats);
    }

    /// Reads what is wrong with the queue anew.
    fn queue(&mut self, change: impl FnOnce(&mut QueueState)) {
        let mut queue = queue();
        change(&mut queue);
        self.known.note_queue(queue, sync());
    }
}

/// The job after these states.
fn job(n: u64, states: &[(JobState, Option<&str>, Option<&str>)]) -> PrintJob {
    let label = LabelQueued {
        printer: device("printer", PRINTER),
        template: "container/1".to_owned(),
        language: "en".to_owned(),
        scan: id(scan_of(n)),
        item: ITEM.to_owned(),
        lot: "LOT-7".to_owned(),
        snapshot_lot: SnapshotLot { status: LotStatus::Released, expiry: None },
        serial: format!("{n:013}"),
        copy: 1,
        of: None,
        elements: vec![Element { ai: "21".to_owned(), value: format!("{n:013}") }],
        sha256: Hash::of(&n.to_be_bytes()),
        bytes: 8,
    };
    let state = |(state, evidence, cause): &(JobState, Option<&str>, Option<&str>)| LabelState {
        job: id(n),
        state: *state,
        evidence: evidence.map(str::to_owned),
        cause: cause.map(str::to_owned),
    };
    let bodies =
        std::iter::once(Body::LabelQueued(label)).chain(states.iter().map(state).map(Body::LabelState));
    let operation = |body| LabelOperation { id: id(n), wall: now(), body: Some(body) };
    let operations: Vec<_> = bodies.map(operation).collect();
    Jobs::fold(Some(PRINTER.to_owned()), &operations).get(id(n)).unwrap().clone()
}

fn waiting(n: u64) -> JobsShown {
    let newest = Some((id(n), id(scan_of(n))));
    let job = Some(job(n, &[]));
    JobsShown {
        job,
        asked: false,
        blocked: None,
        may_cancel: true,
        may_copy: false,
        may_doubt: false,
        behind: 0,
        owed: false,
        read: false,
        newest,
    }
}

fn sent(n: u64) -> JobsShown {
    let job = job(n, &[(JobState::Sending, None, None), (JobState::Sent, None, None)]);
    JobsShown { job: Some(job), may_cancel: false, ..waiting(n) }
}

fn confirmed(n: u64, evidence: &str) -> JobsShown {
    let states = [(JobState::Sending, None, None), (JobState::Confirmed, Some(evidence), None)];
    JobsShown { job: Some(job(n, &states)), may_doubt: true, ..sent(n) }
}

fn asked(n: u64) -> JobsShown {
    let states = [(JobState::Sending, None, None), (JobState::Unknown, None, Some("printer_silent"))];
    JobsShown { job: Some(job(n, &states)), asked: true, ..sent(n) }
}

fn not_printed(n: u64) -> JobsShown {
    let states = [
        (JobState::Sending, None, None),
        (JobState::Unknown, None, Some("printer_silent")),
        (JobState::ResolvedNotPrinted, Some("operator"), None),
    ];
    JobsShown { job: Some(job(n, &states)), may_copy: true, owed: true, ..sent(n) }
}

#[test]
fn a_label_behind_another_takes_its_print_button_away_and_says_how_many_wait() {
    let mut day = Day::new();
    day.jobs(waiting(1));
    day.scan(scan_of(2), None, None, 0);
    assert!(day.requests().contains(&Request::PrintLabel { scan: id(scan_of(2)) }));
    let sound = day.band().sound;
    day.jobs(JobsShown { behind: 1, newest: Some((id(2), id(scan_of(2)))), ..waiting(1) });
    assert!(day.shows_label() && day.band().sound > sound);
    assert!(!day.requests().iter().any(|request| matches!(request, Request::PrintLabel { .. })));
    let Main::Label(label) = day.screen().main else { panic!("no label") };
    assert_eq!(label.behind.unwrap().values["n"], "1");
}

#[test]
fn a_refused_scan_stays_refused_whatever_becomes_of_a_label() {
    // The label of a lot that was put on hold meanwhile.
    let mut day = Day::new();
    day.jobs(sent(1));
    day.jobs(confirmed(1, "status_transition"));
    day.scan(9, Some("lot_held"), None, 0);
    day.jobs(confirmed(1, "verify_scan"));
    day.says(BandState::Refused, "band_refused_lot_held");
    // Another lot, while a label prints.
    let mut day = Day::new();
    day.jobs(sent(1));
    day.scan(9, Some("lot_held"), None, 0);
    let sound = day.band().sound;
    day.jobs(confirmed(1, "status_transition"));
    day.says(BandState::Refused, "band_refused_lot_held");
    assert!(!day.shows_label() && day.band().sound == sound);
    // What needs a person stands below it.
    day.jobs(not_printed(1));
    day.says(BandState::Refused, "band_refused_lot_held");
    assert!(day.shows_label() && day.requests().contains(&Request::PrintAgain { job: id(1) }));
}

#[test]
fn an_accepted_scan_keeps_its_print_button_while_another_label_prints_and_yields_to_a_question() {
    let mut day = Day::new();
    day.jobs(sent(1));
    day.scan(scan_of(2), None, None, 0);
    day.jobs(JobsShown { newest: Some((id(1), id(scan_of(1)))), ..confirmed(1, "status_transition") });
    day.says(BandState::Accepted, "band_accepted");
    assert!(day.requests().contains(&Request::PrintLabel { scan: id(scan_of(2)) }));
    let sound = day.band().sound;
    day.jobs(asked(3));
    day.says(BandState::NeedsYou, "band_label_unknown");
    assert!(day.shows_label() && day.band().sound == sound + 1);
}

#[test]
fn a_scanner_that_is_away_is_said_until_the_person_looks_at_a_label() {
    let mut day = Day::new();
    day.jobs(sent(1));
    day.known.go_back();
    let info =
        DeviceInfo { role: Role::Scanner, transport: Transport::Serial, id: "a".to_owned(), simulated: true };
    day.known.note_device(info, DeviceState::Unplugged, now());
    day.jobs(confirmed(1, "status_transition"));
    day.says(BandState::Fault, "band_device_away");
}

#[test]
fn the_question_about_another_label_after_one_was_read_is_heard_and_seen() {
    let mut day = Day::new();
    day.jobs(confirmed(1, "status_transition"));
    day.scan(9, None, Some(1), 0);
    day.jobs(JobsShown { read: true, ..confirmed(1, "verify_scan") });
    day.says(BandState::Accepted, "band_label_read");
    let sound = day.band().sound;
    day.jobs(asked(2));
    day.says(BandState::NeedsYou, "band_label_unknown");
    assert_eq!(day.band().sound, sound + 1);
}

#[test]
fn a_label_that_was_read_is_shown_and_said_once() {
    let mut day = Day::new();
    day.jobs(sent(2));
    day.scan(9, None, Some(1), 0);
    let sound = day.band().sound;
    for evidence in ["status_transition", "verify_scan"] {
        day.jobs(JobsShown { read: true, ..confirmed(1, evidence) });
        day.says(BandState::Accepted, "band_label_read");
    }
    let Main::Label(label) = day.screen().main else { panic!("no label") };
    assert_eq!((label.title.values["serial"].as_str(), day.band().sound), ("0000000000001", sound));
}

#[test]
fn back_from_the_devices_leads_to_the_label_that_the_band_speaks_of() {
    for (ended, state, title) in [
        (not_printed(1), BandState::NeedsYou, "band_label_not_printed"),
        (confirmed(1, "status_transition"), BandState::Asks, "band_label_stick"),
    ] {
        let mut day = Day::new();
        day.jobs(sent(1));
        day.known.page = Page::Devices;
        day.jobs(ended);
        assert_eq!(day.known.go_back(), None);
        assert!(day.shows_label());
        day.says(state, title);
        assert_eq!(day.known.go_back(), Some(id(1)), "from there on it is left");
        assert!(!day.shows_label());
    }
    let mut day = Day::new();
    day.jobs(sent(1));
    day.scan(9, Some("lot_held"), None, 0);
    day.known.page = Page::Devices;
    day.known.go_back();
    assert!(!day.shows_label(), "the band speaks of a scan");
    day.says(BandState::Refused, "band_refused_lot_held");
}

#[test]
fn after_a_restart_a_label_without_an_end_for_people_is_shown_and_one_that_was_seen_is_not() {
    let mut day = Day::new();
    day.jobs(not_printed(1));
    assert!(day.shows_label() && day.requests().contains(&Request::PrintAgain { job: id(1) }));
    for seen in [JobsShown { owed: false, ..not_printed(1) }, confirmed(1, "status_transition")] {
        let mut day = Day::new();
        day.jobs(seen);
        assert!(!day.shows_label());
        day.says(BandState::Asks, "band_scan");
    }
}

#[test]
fn a_refusal_that_comes_again_is_shown_again_with_its_count_whatever_came_between() {
    let mut day = Day::new();
    day.scan(8, Some("lot_held"), None, 0);
    day.scan(9, None, None, 0);
    day.says(BandState::Accepted, "band_accepted");
    let sound = day.band().sound;
    day.scan(8, Some("lot_held"), None, 1);
    day.says(BandState::Refused, "band_refused_lot_held");
    assert_eq!(day.band().echo.unwrap().label.values["n"], "2");
    assert_eq!(day.band().sound, sound + 1);
}

#[test]
fn what_was_touched_and_is_gone_is_said() {
    let mut day = Day::new();
    day.scan(9, None, None, 0);
    day.known.happens(Act::Gone { at: now() });
    assert_eq!(day.band().state, BandState::Refused);
}

#[test]
fn a_new_alarm_is_heard_once_and_so_is_a_queue_that_stops() {
    let mut day = Day::new();
    let heard = |day: &Day| (day.screen().alarm.sound, day.band().sound);
    let before = heard(&day);
    day.queue(|queue| queue.alarms = [QueueAlarm::DiskLow].into());
    assert_eq!(heard(&day), (before.0 + 1, before.1));
    day.queue(|queue| queue.alarms = [QueueAlarm::DiskLow].into());
    assert_eq!(heard(&day), (before.0 + 1, before.1), "it was said");
    day.queue(|queue| queue.alarms = [QueueAlarm::DiskLow, QueueAlarm::QueueSetAside].into());
    assert_eq!(heard(&day), (before.0 + 2, before.1));
    day.queue(|queue| queue.stopped = Some(StopReason::DiskFull));
    assert_eq!(heard(&day), (before.0 + 2, before.1 + 1));
    day.says(BandState::Fault, "band_stopped");
}

#[test]
fn a_station_that_starts_with_an_alarm_says_so() {
    let mut day = Day::new();
    let mut works = works();
    works.queue.alarms = [QueueAlarm::QueueSetAside].into();
    let before = day.screen().alarm.sound;
    day.known.begins(works);
    assert_eq!(day.screen().alarm.sound, before + 1);
}
