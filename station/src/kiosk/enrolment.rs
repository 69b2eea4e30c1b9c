//! A machine that waits to be enrolled: it takes a token by scan or by key, shows whom it trusts, and asks.

use super::{Input, Kiosk, Next};
use crate::cli::Failure;
use crate::cli::enrol::enrol_here;
use crate::cli::site::Site;
use crate::run::start_scanners;
use crate::screen::{Act, DeviceNow, EnrolNow, Page, Phase, Request};
use lotgate_devices::event::{DeviceEvent, DeviceEventKind, DeviceState};
use lotgate_domain::protocol::token::EnrolToken;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use zeroize::Zeroizing;

/// Longer than any token.
const LONGEST: usize = 400;

/// With these another token is needed.
const SPENT: [&str; 3] = ["token_used", "token_expired", "untrusted_cloud"];

/// The token as far as it is here. Cleared from memory when it is dropped.
type Typed = Zeroizing<String>;

impl Kiosk {
    /// Waits for a token and enrols with it.
    pub(super) async fn wait_for_enrolment(&mut self, site: &Arc<Site>) -> Next {
        let (events, mut told) = mpsc::channel(256);
        let scanners = match start_scanners(&site.config.scanners, &events) {
            Ok(scanners) => scanners,
            Err(failure) => return self.stand(failure).await,
        };
        let mut typed = Typed::default();
        self.known.phase = Phase::Enrol(EnrolNow {
            server: site.server().ok(),
            devices: devices(site),
            ..EnrolNow::default()
        });
        self.known.page = Page::Scan;
        let mut asked: Option<JoinHandle<Result<(), Failure>>> = None;
        let mut tick = tokio::time::interval(Duration::from_secs(1));
        let next = loop {
            self.show(None);
            tokio::select! {
                _ = tick.tick() => {}
                Some(event) = told.recv() => {
                    if asked.is_none() {
                        self.device_said(event, &mut typed);
                    }
                }
                done = answer(&mut asked), if asked.is_some() => {
                    asked = None;
                    match done {
                        Ok(()) => {
                            self.act(Act::Enrolled);
                            break Next::Open;
                        }
                        Err(failure) => self.refused(failure, &mut typed),
                    }
                }
                input = self.inputs.recv() => match input {
                    None | Some(Input::Stop) => break Next::Stop,
                    Some(Input::Painted(revision)) => self.painted(revision),
                    Some(Input::Request(Request::Enrol)) if asked.is_none() => {
                        if let Ok(token) = typed.parse::<EnrolToken>() {
                            asked = Some(tokio::spawn(enrol(Arc::clone(site), token)));
                        }
                    }
                    Some(Input::Request(request)) => {
                        if asked.is_none() {
                            self.touched(request, &mut typed);
                        }
                    }
                },
            }
            self.note_token(&typed, asked.is_some());
        };
        drop(scanners);
        next
    }

    fn enrol_now(&mut self) -> Option<&mut EnrolNow> {
        match &mut self.known.phase {
            Phase::Enrol(enrol) => Some(enrol),
            Phase::Starting | Phase::Works(_) | Phase::Fault(_) => None,
        }
    }

    fn note_token(&mut self, typed: &Typed, working: bool) {
        let token = typed.parse::<EnrolToken>().ok();
        let Some(enrol) = self.enrol_now() else { return };
        enrol.typed = typed.chars().count();
        enrol.working = working;
        enrol.fingerprint = token.map(|token| grouped(&token.root_fingerprint.to_string()));
    }

    fn device_said(&mut self, event: DeviceEvent, typed: &mut Typed) {
        match event.kind {
            DeviceEventKind::Scanned(raw) => {
                let raw = Zeroizing::new(raw);
                let text = Zeroizing::new(String::from_utf8_lossy(&raw).into_owned());
                // The AIM identifier of the symbol, where the scanner sends one, stands before it.
                let start = text.find("lgt1.").unwrap_or(0);
                let token = text.get(start..).unwrap_or_default();
                if token.parse::<EnrolToken>().is_ok() {
                    **typed = token.trim().to_owned();
                    self.act(Act::TokenRead);
                } else {
                    self.act(Act::NoToken { at: self.now() });
                }
            }
            DeviceEventKind::State(state) => {
                let Some(enrol) = self.enrol_now() else { return };
                for device in enrol.devices.iter_mut().filter(|device| device.id == event.device.id) {
                    device.state = state;
                }
            }
            DeviceEventKind::Fault(fault) => {
                let (id, code, at) = (event.device.id, fault.code(), self.now());
                self.act(Act::DeviceFault { id, code, at });
            }
            DeviceEventKind::Printer(_) => {}
        }
    }

    fn touched(&mut self, request: Request, typed: &mut Typed) {
        match request {
            Request::Key { key } => {
                let allowed = |c: &char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
                if let Some(c) = key.chars().next().filter(allowed).filter(|_| typed.len() < LONGEST) {
                    typed.push(c);
                }
                if typed.parse::<EnrolToken>().is_ok() {
                    self.act(Act::TokenRead);
                    self.keyboard(false);
                }
            }
            Request::Erase => {
                typed.pop();
            }
            Request::Discard => {
                *typed = Typed::default();
                self.known.act = Act::None;
            }
            Request::Keyboard { open } => self.keyboard(open),
            Request::Language { language } => self.known.language = language,
            _ => {}
        }
    }

    fn keyboard(&mut self, open: bool) {
        if let Some(enrol) = self.enrol_now() {
            enrol.keyboard = open;
        }
    }

    /// The token stays: most failures are of the network, and it can be asked again.
    fn refused(&mut self, failure: Failure, typed: &mut Typed) {
        tracing::warn!(code = failure.code, detail = failure.detail, "station.not_enrolled");
        if SPENT.contains(&failure.code) {
            *typed = Typed::default();
        }
        self.act(Act::EnrolFailed { code: failure.code, at: self.now() });
    }
}

async fn enrol(site: Arc<Site>, token: EnrolToken) -> Result<(), Failure> {
    let queue = enrol_here(&site, token).await?;
    Ok(queue.close().await?)
}

async fn answer(asked: &mut Option<JoinHandle<Result<(), Failure>>>) -> Result<(), Failure> {
    match asked {
        Some(task) => task.await.unwrap_or_else(|error| Err(Failure::stopped(&error.to_string()))),
        None => std::future::pending().await,
    }
}

/// In groups of four, as it is printed in a qualification record.
fn grouped(hex: &str) -> String {
    let characters: Vec<char> = hex.chars().collect();
    let groups: Vec<String> = characters.chunks(4).map(|group| group.iter().collect()).collect();
    groups.join(" ")
}

/// The configured scanners, before any of them was heard.
pub(super) fn devices(site: &Site) -> Vec<DeviceNow> {
    let device = |(index, binding): (usize, &lotgate_devices::binding::ScannerBinding)| {
        let info = binding.info();
        DeviceNow {
            id: info.id,
            name: binding.name.clone(),
            number: index + 1,
            state: DeviceState::Opening,
            simulated: info.simulated,
            heard: None,
        }
    };
    site.config.scanners.iter().enumerate().map(device).collect()
}

#[cfg(test)]
mod tests {
    use super::SPENT;
    use lotgate_domain::text::Language;

    #[test]
    fn every_failure_that_costs_the_token_is_one_that_a_person_is_told() {
        for code in SPENT {
            assert!(Language::En.codes().any(|known| known == code), "{code}");
        }
    }
}
