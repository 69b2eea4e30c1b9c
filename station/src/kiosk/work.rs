//! A station at work, as its screen shows it: reports and states in, one screen out after each.

use super::enrolment::devices;
use super::touch::{self, Touches};
use super::{Input, Kiosk, Next};
use crate::actor::{Ended, PrintRequest};
use crate::cli::agent::told::Told;
use crate::cli::site::Site;
use crate::cli::{Exit, Failure};
use crate::run::Running;
use crate::screen::{DEMO_TRAY, DemoCode, Page, Phase, PrinterNow, Request, Works, is_away};
use lotgate_devices::event::{DeviceEvent, DeviceEventKind, DeviceInfo, PrinterState, Role, Transport};
use lotgate_domain::reference::Snapshot;
use lotgate_domain::time::Timestamp;
use lotgate_sync::engine::Wake;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::mpsc;

/// As many codes as the tray shows.
const DEMO_CODES: usize = 6;

/// What belongs to the run, not to the screen.
pub(super) struct Session {
    pub(super) running: Running,
    pub(super) told: Told,
    /// The codes of the tray, as a scanner would send them.
    demo: Vec<Vec<u8>>,
    touches: Touches,
    /// When the printer last answered, by both clocks.
    printer_heard: Option<(Instant, Timestamp)>,
}

impl Kiosk {
    /// Works until the program is told to stop, or the station must open again.
    pub(super) async fn work(&mut self, site: &Arc<Site>, mut running: Running) -> Next {
        let (_, nobody) = mpsc::channel(1);
        let mut reports = std::mem::replace(&mut running.reports, nobody);
        let mut state = running.queue.state();
        let mut status = running.sync.status();
        let mut reference = running.sync.reference();
        if let Some(zone) = lotgate_domain::time::zone(&running.queue.identity().site.zone) {
            self.known.zone = zone;
        }
        self.known.begins(works(site, &running));
        let mut session = Session {
            running,
            told: Told::default(),
            demo: Vec::new(),
            touches: Touches::default(),
            printer_heard: None,
        };
        let mut tick = tokio::time::interval(Duration::from_secs(1));
        let stopped = loop {
            self.refresh(&mut session);
            self.show(None);
            tokio::select! {
                biased;
                report = reports.recv() => {
                    let Some(report) = report else { break false };
                    let mut seen = self.note(report, &mut session).await;
                    // What came at the same moment is shown in one screen.
                    while let Ok(report) = reports.try_recv() {
                        seen = self.note(report, &mut session).await.or(seen);
                    }
                    self.refresh(&mut session);
                    self.show(seen);
                }
                input = self.inputs.recv() => match input {
                    None | Some(Input::Stop) => break true,
                    Some(Input::Painted(revision)) => self.painted(revision),
                    Some(Input::Request(request)) => self.asked(request, &mut session).await,
                },
                _ = state.changed() => {}
                _ = status.changed() => {}
                _ = reference.changed() => {}
                _ = tick.tick() => {}
            }
        };
        drop(reports);
        match session.running.end().await {
            Ok(_) if stopped => Next::Stop,
            Ok(Ended::QueueStopped(reason)) => {
                let code = reason.map_or("closed", |reason| reason.code());
                self.stand(Failure::new(Exit::Queue, code, "")).await
            }
            Ok(Ended::Shutdown | Ended::Unheard) => Next::Open,
            Err(failure) if stopped => {
                tracing::error!(code = failure.code, detail = failure.detail, "station.not_closed");
                Next::Stop
            }
            Err(failure) => self.stand(failure).await,
        }
    }

    /// Takes over what changed by itself.
    fn refresh(&mut self, session: &mut Session) {
        let (queue, sync) = (&session.running.queue, &session.running.sync);
        let (reading, now) = (queue.clock(), queue.effective_now());
        let demo = self.options.demo;
        self.known.note_queue(queue.state().borrow().clone(), sync.status().borrow().clone());
        let heard = session.running.printer.as_ref().and_then(|printer| printer.status().last_heard);
        let Phase::Works(works) = &mut self.known.phase else { return };
        if let Some(heard) = heard
            && session.printer_heard.is_none_or(|(known, _)| known != heard)
        {
            let ago = i64::try_from(heard.elapsed().as_millis()).unwrap_or(i64::MAX);
            session.printer_heard = Some((heard, reading.wall.plus_ms(-ago)));
        }
        if let Some(printer) = &mut works.printer {
            printer.heard = session.printer_heard.map(|(_, wall)| wall);
        }
        works.reference = sync.reference().borrow().clone();
        works.reference_age_ms =
            works.reference.as_ref().map_or(0, |reference| reference.mark.age_ms(&reading, now));
        works.effective_now = now;
        works.clock = works.queue.clock.state(&reading);
        let away = is_away(works.sync.engine.link);
        works.away_since = if away { works.away_since.or(Some(reading.wall)) } else { None };
        if let Some(reference) = &works.reference {
            self.known.zone = reference.snapshot.zone.clone();
            if demo && works.training {
                (works.demo, session.demo) = demo_codes(&reference.snapshot);
            }
        }
    }

    async fn asked(&mut self, request: Request, session: &mut Session) {
        if let Some(request) = touch::of_labels(&request) {
            if !session.touches.counts(&request, Instant::now()) {
                return;
            }
            // What a label was asked for stays on the screen until its job is there.
            if !matches!(request, PrintRequest::Print(_)) {
                self.known.turns_to_job();
            }
            let _ = session.running.requests.send(request).await;
            return;
        }
        match request {
            Request::ShowDevices => self.known.page = Page::Devices,
            Request::ShowScan => {
                if let Some(job) = self.known.go_back() {
                    let _ = session.running.requests.send(PrintRequest::Leave(job)).await;
                }
            }
            Request::TryNow => session.running.sync.wake(Wake::OperatorTap),
            Request::Language { language } => self.known.language = language,
            Request::DemoScan { number } => {
                let code = usize::try_from(number).ok().and_then(|number| session.demo.get(number));
                if let Some(code) = code {
                    let _ = session.running.devices.send(touched(code)).await;
                }
            }
            Request::PrintLabel { .. }
            | Request::PrintAgain { .. }
            | Request::CancelPrint { .. }
            | Request::Printed { .. }
            | Request::DoubtLabel { .. }
            | Request::Keyboard { .. }
            | Request::Key { .. }
            | Request::Erase
            | Request::Discard
            | Request::Enrol
            | Request::Restart => {}
        }
    }
}

fn works(site: &Site, running: &Running) -> Works {
    let identity = running.queue.identity();
    let reading = running.queue.clock();
    let printer = site.config.printers.first().map(|binding| {
        let info = binding.info();
        PrinterNow {
            id: info.id,
            name: binding.name.clone(),
            state: PrinterState::Opening,
            simulated: info.simulated,
            heard: None,
        }
    });
    Works {
        station: identity.station_name.clone(),
        site: identity.site.name.clone(),
        training: identity.certificate.value.training,
        key_protection: identity.key_protection.as_str(),
        version: site.program().version,
        queue: running.queue.state().borrow().clone(),
        sync: running.sync.status().borrow().clone(),
        away_since: None,
        clock: running.queue.state().borrow().clock.state(&reading),
        reference: None,
        reference_age_ms: 0,
        effective_now: running.queue.effective_now(),
        devices: devices(site),
        printer,
        job: None,
        demo: Vec::new(),
    }
}

/// A code of the tray comes in as from a simulated scanner, and its record says so.
fn touched(code: &[u8]) -> DeviceEvent {
    DeviceEvent {
        device: DeviceInfo {
            role: Role::Scanner,
            transport: Transport::Serial,
            id: DEMO_TRAY.to_owned(),
            simulated: true,
        },
        at_mono: Instant::now(),
        kind: DeviceEventKind::Scanned(code.to_vec()),
    }
}

/// Codes of some lots that are known, and one that is not.
fn demo_codes(snapshot: &Snapshot) -> (Vec<DemoCode>, Vec<Vec<u8>>) {
    let code = |lot: &lotgate_domain::reference::Lot| {
        let gtin = snapshot.item(&lot.item).and_then(|item| item.gtin.clone());
        let bytes = match (gtin, lot.codes.first()) {
            (Some(gtin), _) => format!("]d201{gtin}10{}", lot.lot),
            (None, Some(code)) => code.clone(),
            (None, None) => return None,
        };
        Some((lot.lot.clone(), bytes.into_bytes()))
    };
    let known = snapshot.lots().filter_map(code).take(DEMO_CODES - 1);
    let unknown = ("X-000".to_owned(), b"X-000".to_vec());
    let (labels, bytes): (Vec<String>, Vec<Vec<u8>>) = known.chain([unknown]).unzip();
    let codes = labels.into_iter().zip(0..).map(|(label, number)| DemoCode { label, number }).collect();
    (codes, bytes)
}
