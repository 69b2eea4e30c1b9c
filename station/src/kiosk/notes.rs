//! What each report of the station means for its screen; what it changes there is in [`super::changes`].

use super::Kiosk;
use super::work::Session;
use crate::actor::{JobsShown, Report};
use crate::preview;
use crate::screen::Act;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use lotgate_devices::event::PrinterEvent;
use lotgate_domain::ids::Hash;
use lotgate_sync::queue::Queue;
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
                self.known.note_scan(&appended, refusal, &scanned, 0);
                return Some(scanned.seen);
            }
            Report::Repeated { appended, refusal, scanned, count } => {
                let repeats = u32::try_from(count).unwrap_or(u32::MAX);
                self.known.note_scan(&appended, Some(refusal), &scanned, repeats);
                return Some(scanned.seen);
            }
            Report::NotKept(error) => self.known.happens(Act::NotKept { code: error.code(), at }),
            Report::Device(device, state) => self.known.note_device(device, state, at),
            Report::Fault(device, fault) => {
                self.known.happens(Act::DeviceFault { id: device.id, code: fault.code(), at });
            }
            Report::Printer(_, PrinterEvent::State(state)) => self.known.note_printer(state),
            Report::Printer(..) => {}
            Report::Jobs(shown) => {
                let preview = self.preview(&shown, session).await;
                self.known.note_jobs(*shown, preview);
            }
            Report::NoLabel(code) => self.known.happens(Act::NoLabel { code, at }),
            Report::Gone => self.known.happens(Act::Gone { at }),
        }
        None
    }

    /// The picture of the label that is shown, drawn once.
    async fn preview(&mut self, shown: &JobsShown, session: &Session) -> String {
        let Some(sha256) = shown.job.as_ref().map(|job| job.label.sha256) else { return String::new() };
        let before = self.known.works().and_then(|works| works.job.as_ref());
        match before.filter(|before| before.job.label.sha256 == sha256 && !before.preview.is_empty()) {
            Some(before) => before.preview.clone(),
            None => picture(&session.running.queue, sha256).await,
        }
    }
}

/// The label as a picture, drawn from the very bytes that the queue keeps for the printer; empty where that fails,
/// which the label does not depend on.
async fn picture(queue: &Queue, sha256: Hash) -> String {
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
