//! What each report of the station means for its screen.

use super::Kiosk;
use super::work::Session;
use crate::actor::{Report, Scanned};
use crate::preview;
use crate::screen::{Act, Page, ScanAct, Works};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use lotgate_devices::event::{DeviceInfo, DeviceState, PrinterEvent};
use lotgate_domain::ids::Hash;
use lotgate_domain::operation::body::{Body, LabelQueued};
use lotgate_sync::queue::{Appended, Queue};
use std::time::Instant;

impl Kiosk {
    /// Takes in one report. Returns when the scan was read that it is about.
    pub(super) async fn note(&mut self, report: Report, session: &mut Session) -> Option<Instant> {
        if session.told.note(&report) {
            session.running.sync.report(session.told.report());
        }
        let at = self.now();
        match report {
            Report::Committed { appended, refusal, scanned } => {
                let scanned = scanned?;
                self.note_scan(&appended, refusal, &scanned);
                return Some(scanned.seen);
            }
            Report::Repeated { of } => {
                if let Act::Scan(scan) = &mut self.known.act
                    && scan.id == of
                {
                    scan.repeats = scan.repeats.saturating_add(1);
                    self.known.sound += 1;
                }
            }
            Report::NotKept(error) => self.act(Act::NotKept { code: error.code(), at }),
            Report::Device(device, state) => self.note_device(device, state),
            Report::Fault(device, fault) => {
                self.act(Act::DeviceFault { id: device.id, code: fault.code(), at });
            }
            Report::Printer(_, told) => {
                if let Some(printer) = self.works().and_then(|works| works.printer.as_mut()) {
                    printer.heard = Some(at);
                    if let PrinterEvent::State(state) = told {
                        printer.state = state;
                    }
                }
            }
            Report::Jobs(shown) => self.note_jobs(*shown, session).await,
            Report::NoLabel(code) => self.act(Act::NoLabel { code, at }),
        }
        None
    }

    fn note_scan(&mut self, appended: &Appended, refusal: Option<&'static str>, scanned: &Scanned) {
        let Some(works) = self.works() else { return };
        let Some(act) = scan_act(works, appended, refusal, &scanned.body) else { return };
        for device in works.devices.iter_mut().filter(|device| device.id == act.device) {
            device.heard = Some(act.at);
        }
        if scanned.label_of.is_some() {
            self.known.page = Page::Label;
            self.act(Act::LabelRead(Box::new(act)));
        } else {
            self.known.page = Page::Scan;
            self.act(Act::Scan(Box::new(act)));
        }
    }

    fn note_device(&mut self, device: DeviceInfo, state: DeviceState) {
        let at = self.now();
        let Some(works) = self.works() else { return };
        for known in works.devices.iter_mut().filter(|known| known.id == device.id) {
            known.state = state;
            known.simulated = device.simulated;
            known.heard = if state == DeviceState::Ready { Some(at) } else { known.heard };
        }
        match state {
            DeviceState::Opening => {}
            DeviceState::Ready => {
                if matches!(&self.known.act, Act::DeviceAway { id, .. } if *id == device.id) {
                    self.known.act = Act::None;
                }
            }
            state => self.act(Act::DeviceAway { id: device.id, code: state.code(), at }),
        }
    }
}

fn scan_act(
    works: &Works,
    appended: &Appended,
    refusal: Option<&'static str>,
    body: &Body,
) -> Option<ScanAct> {
    let raw = body.raw_hex().and_then(|hex| hex::decode(hex).ok()).unwrap_or_default();
    let common = |device: &str, symbology: &str, kind: &str, aim: Option<&str>| {
        let text =
            String::from_utf8(raw.clone()).unwrap_or_else(|_| raw.iter().copied().map(char::from).collect());
        let text = aim.and_then(|aim| text.strip_prefix(aim)).unwrap_or(&text).to_owned();
        ScanAct {
            refusal,
            id: appended.id,
            seq: appended.seq,
            at: appended.at.wall,
            device: device.to_owned(),
            text,
            symbology: symbology.to_owned(),
            kind: kind.to_owned(),
            elements: Vec::new(),
            item: None,
            lot: None,
            snapshot_lot: None,
            snapshot: works.reference.as_ref().map(|reference| reference.snapshot.cursor),
            repeats: 0,
            can_print: false,
        }
    };
    match body {
        Body::ScanAccepted(scan) => {
            let snapshot = works.reference.as_ref().map(|reference| &reference.snapshot);
            let gtin = snapshot.and_then(|snapshot| snapshot.item(&scan.item)?.gtin.as_ref());
            Some(ScanAct {
                elements: scan.elements.clone(),
                item: Some(scan.item.clone()),
                lot: Some(scan.lot.clone()),
                snapshot_lot: Some(scan.snapshot_lot.clone()),
                can_print: works.printer.is_some() && gtin.is_some(),
                ..common(&scan.device.id, &scan.symbology, &scan.kind, scan.aim.as_deref())
            })
        }
        Body::ScanRefused(scan) => Some(ScanAct {
            elements: scan.elements.clone(),
            item: scan.item.clone(),
            lot: scan.lot.clone(),
            snapshot_lot: scan.snapshot_lot.clone(),
            ..common(&scan.device.id, &scan.symbology, &scan.kind, scan.aim.as_deref())
        }),
        _ => None,
    }
}

/// The label as a picture, drawn from the very bytes that the queue keeps for the printer; empty where that fails,
/// which the label does not depend on.
pub(super) async fn picture(queue: &Queue, sha256: Hash) -> String {
    let Ok(Some(zpl)) = queue.blob(sha256).await else { return String::new() };
    let drawn = tokio::task::spawn_blocking(move || preview::png(&zpl)).await;
    match drawn {
        Ok(Ok(png)) => STANDARD.encode(png),
        Ok(Err(error)) => {
            tracing::warn!(%error, "label.no_preview");
            String::new()
        }
        Err(_) => String::new(),
    }
}

/// What a label says, for whoever cannot see its picture.
pub(super) fn words(label: &LabelQueued) -> String {
    let elements = label.elements.iter().map(|element| format!("({}) {}", element.ai, element.value));
    std::iter::once(label.item.clone()).chain(elements).collect::<Vec<_>>().join(", ")
}
