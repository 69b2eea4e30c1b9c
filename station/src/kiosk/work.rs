//! A station at work, as its screen shows it: reports and states in, one screen out after each.

use super::enrolment::devices;
use super::{Input, Kiosk, Next};
use crate::actor::{Ended, PrintRequest};
use crate::cli::agent::told::Told;
use crate::cli::site::Site;
use crate::cli::{Exit, Failure};
use crate::print::Standing;
use crate::run::Running;
use crate::screen::{Act, DemoCode, JobNow, Page, Phase, PrinterNow, Request, Works, is_away};
use lotgate_devices::event::{DeviceEvent, DeviceEventKind, DeviceInfo, PrinterState, Role, Transport};
use lotgate_domain::reference::Snapshot;
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
        self.known.phase = Phase::Works(Box::new(works(site, &running)));
        self.known.page = Page::Scan;
        let mut session = Session { running, told: Told::default(), demo: Vec::new() };
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

    pub(super) fn works(&mut self) -> Option<&mut Works> {
        match &mut self.known.phase {
            Phase::Works(works) => Some(works),
            Phase::Starting | Phase::Enrol(_) | Phase::Fault(_) => None,
        }
    }

    /// Takes over what changed by itself.
    fn refresh(&mut self, session: &mut Session) {
        let (queue, sync) = (&session.running.queue, &session.running.sync);
        let (reading, now) = (queue.clock(), queue.effective_now());
        let demo = self.options.demo;
        let Phase::Works(works) = &mut self.known.phase else { return };
        works.queue = queue.state().borrow().clone();
        works.sync = sync.status().borrow().clone();
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
        match request {
            Request::PrintLabel { scan } => {
                let _ = session.running.requests.send(PrintRequest::Print(scan)).await;
            }
            Request::PrintAgain { job } => {
                let _ = session.running.requests.send(PrintRequest::Again(job)).await;
            }
            Request::CancelPrint { job } => {
                let _ = session.running.requests.send(PrintRequest::Cancel(job)).await;
            }
            Request::Printed { job, came } => {
                let _ = session.running.requests.send(PrintRequest::Answer { job, came }).await;
            }
            Request::DoubtLabel { job } => {
                let _ = session.running.requests.send(PrintRequest::Doubt(job)).await;
            }
            Request::ShowDevices => self.known.page = Page::Devices,
            Request::ShowScan => self.go_back(),
            Request::TryNow => session.running.sync.wake(Wake::OperatorTap),
            Request::Language { language } => self.known.language = language,
            Request::DemoScan { number } => {
                let code = usize::try_from(number).ok().and_then(|number| session.demo.get(number));
                if let Some(code) = code {
                    let _ = session.running.devices.send(touched(code)).await;
                }
            }
            Request::Keyboard { .. }
            | Request::Key { .. }
            | Request::Erase
            | Request::Discard
            | Request::Enrol
            | Request::Restart => {}
        }
    }

    /// From the devices to where the person was: to the label while it is in work.
    fn go_back(&mut self) {
        let in_work = self.works().and_then(|works| works.job.as_ref()).is_some_and(|job| {
            matches!(job.job.standing, Standing::Waiting | Standing::Sending | Standing::Sent)
        });
        let from_devices = self.known.page == Page::Devices;
        self.known.page = if from_devices && in_work { Page::Label } else { Page::Scan };
        if !from_devices {
            self.known.act = Act::None;
        }
    }

    /// Notes how the print jobs stand, and goes to the label when something about it happened.
    pub(super) async fn note_jobs(&mut self, shown: crate::actor::JobsShown, session: &Session) {
        let before = self.works().and_then(|works| works.job.take());
        let Some(job) = shown.job else { return };
        let same_label = before.as_ref().filter(|before| before.job.label.sha256 == job.label.sha256);
        let preview = match same_label {
            Some(before) if !before.preview.is_empty() => before.preview.clone(),
            _ => super::notes::picture(&session.running.queue, job.label.sha256).await,
        };
        let news = before.as_ref().is_none_or(|before| {
            before.job.id != job.id
                || before.job.standing != job.standing
                || before.asked != shown.asked
                || before.blocked != shown.blocked
        });
        let ended_before_this_run = before.is_none() && !job.standing.is_open();
        let now = JobNow {
            words: super::notes::words(&job.label),
            asked: shown.asked,
            blocked: shown.blocked,
            may_cancel: shown.may_cancel,
            may_copy: shown.may_copy,
            may_doubt: shown.may_doubt,
            behind: shown.behind,
            preview,
            job,
        };
        let read = matches!(self.known.act, Act::LabelRead(_));
        let cancelled = now.job.standing == Standing::Cancelled;
        if let Some(works) = self.works() {
            works.job = Some(now);
        }
        if news && !ended_before_this_run && !read {
            if self.known.page != Page::Devices {
                self.known.page = if cancelled { Page::Scan } else { Page::Label };
            }
            self.act(Act::Job);
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
            id: "demo".to_owned(),
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
