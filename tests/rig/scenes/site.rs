//! A station at work with nothing wrong, and the values that stand on its screens.

use jiff::tz::TimeZone;
use lotgate_devices::event::{DeviceState, PrinterState};
use lotgate_domain::chain::Head;
use lotgate_domain::ids::{BootId, Epoch, EpochId, Hash};
use lotgate_domain::operation::Clock;
use lotgate_domain::reference::{Item, Lot, LotStatus, ReferenceFile, Snapshot, render_page};
use lotgate_domain::time::Timestamp;
use lotgate_station::screen::{
    Act, DemoCode, DeviceNow, Known, Page, Phase, PrinterNow, ScreenLanguage, Works,
};
use lotgate_sync::clock::{ClockMemory, ClockReading};
use lotgate_sync::engine::status::{Link, Status};
use lotgate_sync::queue::{CapacityLimits, LogKnown, PageMark, QueueState};
use lotgate_sync::runner::{Reference, SyncStatus};
use std::collections::BTreeSet;
use std::sync::Arc;

/// 23 Nov 2026, 14:07:31 in Berlin.
pub(super) const NOW_MS: i64 = 1_795_439_251_000;
const ZONE: &str = "Europe/Berlin";

/// What stands on the screens.
#[derive(Debug)]
pub(super) struct Values {
    /// Ends the names of the scenes.
    pub(super) suffix: &'static str,
    pub(super) station: &'static str,
    pub(super) site: &'static str,
    /// Lots begin with it.
    pub(super) lot: &'static str,
    /// Name of the item.
    pub(super) item: &'static str,
    pub(super) scanner: Option<&'static str>,
    pub(super) scanner_id: &'static str,
    pub(super) printer: Option<&'static str>,
    /// Operations in the queue's epoch so far.
    pub(super) seq: u64,
    /// Operations that wait while the cloud is away.
    pub(super) waiting: u64,
    pub(super) server: &'static str,
}

/// As on any day.
pub(super) const USUAL: Values = Values {
    suffix: "",
    station: "Booth 3",
    site: "Plant 1",
    lot: "MG2409-11",
    item: "Magnesium glycinate",
    scanner: None,
    scanner_id: "usb:0c2e:0b61:S2109004417",
    printer: None,
    seq: 48_217,
    waiting: 214,
    server: "https://lotgate.example",
};

/// As long as each may be: names of 40 characters, lots of 20.
pub(super) const LONGEST: Values = Values {
    suffix: "-longest",
    station: "Wägeraum 3, Kabine links hinten, WD-0003",
    site: "Werk Süd, Halle 4, Einwaage und Abfüllen",
    lot: "MG2409-117-WW2026-W",
    item: "Magnesiumbisglycinat-Dihydrat, mikronis.",
    scanner: Some("Handscanner an der Kabine links hinten 3"),
    scanner_id: "usb:0c2e:0b61:S210900441700001",
    printer: Some("Etikettendrucker neben der Kabine links 3"),
    seq: 4_817_654,
    waiting: 187_654,
    server: "https://lotgate-cloud.produktion.werk-sued.example-pharma.de:8443",
};

pub(super) fn now() -> Timestamp {
    Timestamp::from_unix_ms(NOW_MS)
}

pub(super) fn ago(seconds: i64) -> Timestamp {
    now().plus_ms(-seconds * 1_000)
}

impl Values {
    /// The lot that may be used, and the one on hold.
    pub(super) fn lot(&self, last: u32) -> String {
        format!("{}{last}", self.lot)
    }

    /// The scan screen of the station with nothing wrong.
    pub(super) fn known(&self) -> Known {
        self.knows(Phase::Works(Box::new(self.works())))
    }

    pub(super) fn knows(&self, phase: Phase) -> Known {
        Known {
            language: ScreenLanguage::En,
            now: now(),
            zone: TimeZone::get(ZONE).expect("the zone is built in"),
            phase,
            page: Page::Scan,
            act: Act::None,
            sound: 0,
            alarm_sound: 0,
        }
    }

    /// The station, changed by `change`.
    pub(super) fn known_with(&self, change: impl FnOnce(&mut Works)) -> Known {
        let mut works = self.works();
        change(&mut works);
        self.knows(Phase::Works(Box::new(works)))
    }

    pub(super) fn works(&self) -> Works {
        Works {
            station: self.station.to_owned(),
            site: self.site.to_owned(),
            training: false,
            key_protection: "credential_manager",
            version: "0.1.0".to_owned(),
            queue: self.queue(2, ago(4)),
            sync: SyncStatus {
                engine: Status {
                    link: Link::Online,
                    failure: None,
                    alarm: None,
                    stuck: None,
                    revoked: false,
                    sending: false,
                    retry_at: None,
                    last_contact: Some(1_000),
                },
                last_contact_at: Some(ago(3)),
                alarms: BTreeSet::new(),
            },
            away_since: None,
            clock: Clock::Ok,
            reference: Some(self.reference()),
            reference_age_ms: 120_000,
            effective_now: now(),
            devices: vec![self.scanner(1)],
            printer: Some(PrinterNow {
                id: "tcp:10.20.4.31:9100".to_owned(),
                name: self.printer.map(str::to_owned),
                state: PrinterState::Ready,
                simulated: false,
                heard: Some(ago(2)),
            }),
            job: None,
            demo: Vec::new(),
        }
    }

    /// The cloud away for three hours.
    pub(super) fn offline(&self, works: &mut Works, link: Link) {
        works.sync.engine.link = link;
        works.sync.engine.retry_at = Some(31_000);
        works.sync.last_contact_at = Some(ago(11_053));
        works.away_since = Some(ago(11_050));
        works.queue = self.queue(self.waiting, ago(11_000));
        works.reference_age_ms = 11_053_000;
    }

    pub(super) fn queue(&self, queued: u64, oldest: Timestamp) -> QueueState {
        let epoch = Epoch { n: 1, id: EpochId([7; 16]) };
        let mark = self.mark();
        QueueState {
            head: Head { epoch: Some(epoch), seq: self.seq, hash: Hash::of(b"head") },
            queued,
            oldest_wall: (queued > 0).then_some(oldest),
            sent_through: None,
            settled_through: None,
            clock: ClockMemory::default(),
            page: Some(mark),
            log: LogKnown::default(),
            capacity: CapacityLimits::default().judge(queued, Some(41_000_000_000)),
            alarms: BTreeSet::new(),
            unconfirmed: false,
            stopped: None,
            commits: 12,
        }
    }

    pub(super) fn scanner(&self, number: usize) -> DeviceNow {
        DeviceNow {
            id: self.scanner_id.to_owned(),
            name: self.scanner.map(str::to_owned),
            number,
            state: DeviceState::Ready,
            simulated: false,
            heard: Some(ago(20)),
        }
    }

    /// A demonstration: training, simulated devices, codes to touch.
    pub(super) fn demonstration(&self, works: &mut Works) {
        works.training = true;
        works.devices.iter_mut().for_each(|device| device.simulated = true);
        works.printer.iter_mut().for_each(|printer| printer.simulated = true);
        let codes = ["L-0001", "L-HELD", "L-OLD", "L-QUAR", "L-REJ", "L-UNKNOWN"];
        works.demo =
            (0..).zip(codes).map(|(number, label)| DemoCode { label: label.to_owned(), number }).collect();
    }

    fn mark(&self) -> PageMark {
        let reading = ClockReading {
            wall: ago(120),
            offset_minutes: 60,
            mono_ms: 0,
            boot: BootId(uuid::Uuid::from_u128(3)),
        };
        PageMark { cursor: 1842, hash: Hash::of(b"page"), time: ago(120), confirmed: reading }
    }

    fn reference(&self) -> Reference {
        let item = "RM-1042";
        let lot = |last: u32, status: LotStatus, expiry: &str| Lot {
            lot: self.lot(last),
            item: item.to_owned(),
            status,
            expiry: expiry.parse().ok(),
            codes: Vec::new(),
        };
        let file = ReferenceFile {
            items: vec![Item {
                item: item.to_owned(),
                name: Some(self.item.to_owned()),
                gtin: Some(crate::plant::GTIN.to_owned()),
            }],
            lots: vec![
                lot(7, LotStatus::Released, "2027-09-30"),
                lot(2, LotStatus::Released, "2027-10-31"),
                lot(3, LotStatus::Released, ""),
                lot(8, LotStatus::Hold, "2027-11-30"),
                lot(9, LotStatus::Quarantine, "2027-05-31"),
                lot(4, LotStatus::Rejected, "2027-05-31"),
                lot(5, LotStatus::Released, "2026-05-31"),
            ],
        };
        let page = render_page(&file, ZONE).expect("the reference data is right");
        let mark = self.mark();
        let snapshot = Snapshot::read(&page, mark.cursor, mark.hash).expect("the page can be read");
        Reference { snapshot: Arc::new(snapshot), mark }
    }
}
