//! The whole life of a station with a screen: a machine that waits to be enrolled, a station at work, a fault that
//! a person must see; one after the other, until the program is told to stop.
//!
//! Whatever shows the screens (the window, a browser in a test) takes them from [`KioskHandle::screen`] and hands
//! back what was touched. Nothing is decided there.

mod changes;
mod enrolment;
mod notes;
#[cfg(test)]
mod tests;
mod touch;
mod work;

use crate::cli::site::Site;
use crate::cli::{Failure, refuse_retired};
use crate::config::{Config, Flags, Sources};
use crate::run::Running;
use crate::screen::{Act, FaultNow, Known, Page, Phase, Request, Screen, ScreenLanguage, compose};
use jiff::tz::TimeZone;
use lotgate_domain::text::Language;
use lotgate_domain::time::Timestamp;
use lotgate_sync::clock::Clock;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::{mpsc, watch};

/// A station that cannot work tries again by itself, since nobody may be there to touch the screen.
const TRY_AGAIN: Duration = Duration::from_secs(30);

/// What a kiosk is started with.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// What the command line says of the configuration.
    pub flags: Flags,
    /// Offer codes to touch; only a training station does.
    pub demo: bool,
}

/// The way to a running kiosk. Dropping the last clone stops the station, too.
#[derive(Debug, Clone)]
pub struct KioskHandle {
    screen: watch::Receiver<Arc<Screen>>,
    inputs: mpsc::UnboundedSender<Input>,
}

/// What comes from the screen.
#[derive(Debug)]
enum Input {
    Request(Request),
    Painted(u64),
    Stop,
}

impl KioskHandle {
    /// The present screen, and each new one.
    #[must_use]
    pub fn screen(&self) -> watch::Receiver<Arc<Screen>> {
        self.screen.clone()
    }

    /// Something was touched.
    pub fn request(&self, request: Request) {
        let _ = self.inputs.send(Input::Request(request));
    }

    /// The screen with this revision stands before the person's eyes.
    pub fn painted(&self, revision: u64) {
        let _ = self.inputs.send(Input::Painted(revision));
    }

    /// Ends the station: what was accepted is committed, the queue is closed.
    pub async fn stop(mut self) {
        let _ = self.inputs.send(Input::Stop);
        // The kiosk holds the other end until it has ended.
        while self.screen.changed().await.is_ok() {}
    }
}

/// The station behind the screen.
pub struct Kiosk {
    options: Options,
    shown: watch::Sender<Arc<Screen>>,
    inputs: mpsc::UnboundedReceiver<Input>,
    clock: Arc<dyn Clock>,
    known: Known,
    /// Screens that show a scan: when its reader saw it.
    unpainted: Vec<(u64, Instant)>,
    /// The first screen that says more than that the program begins.
    first: First,
}

/// How far the first screen with something on it has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum First {
    NotShown,
    Shown(u64),
    Painted,
}

/// What follows a phase of the kiosk's life.
enum Next {
    /// Open again and see what there is.
    Open,
    /// The program ends.
    Stop,
}

/// What there is to work with.
enum Opened {
    Enrol(Arc<Site>),
    Works(Arc<Site>, Box<Running>),
}

impl Kiosk {
    /// Starts on the tokio runtime that it is called in.
    #[must_use]
    pub fn start(options: Options) -> KioskHandle {
        let clock = crate::cli::site::shared_clock();
        let known = Known {
            language: ScreenLanguage::default(),
            now: clock.read().wall,
            zone: TimeZone::system(),
            phase: Phase::Starting,
            page: Page::default(),
            act: Act::None,
            sound: 0,
            alarm_sound: 0,
        };
        let (shown, screen) = watch::channel(Arc::new(compose(&known)));
        let (sender, inputs) = mpsc::unbounded_channel();
        let kiosk =
            Self { options, shown, inputs, clock, known, unpainted: Vec::new(), first: First::NotShown };
        tokio::spawn(kiosk.run());
        KioskHandle { screen, inputs: sender }
    }

    async fn run(mut self) {
        loop {
            let next = match self.open().await {
                Ok(Opened::Enrol(site)) => self.wait_for_enrolment(&site).await,
                Ok(Opened::Works(site, running)) => self.work(&site, *running).await,
                Err(failure) => self.stand(failure).await,
            };
            if matches!(next, Next::Stop) {
                return;
            }
        }
    }

    /// Opens what the configuration names.
    async fn open(&mut self) -> Result<Opened, Failure> {
        let flags = self.options.flags.clone();
        let config = Config::load(&Sources::of_this_machine(flags))?;
        if matches!(self.known.phase, Phase::Starting) {
            self.known.language = match config.language {
                Language::En => ScreenLanguage::En,
                Language::De => ScreenLanguage::De,
            };
        }
        let site = Arc::new(Site::of(config));
        let (place, clock) = (Arc::clone(&site), Arc::clone(&self.clock));
        let opening = tokio::task::spawn_blocking(move || {
            let secure = place.lock()?;
            // Under the lock: nobody retires it from now on.
            refuse_retired(&place.places)?;
            place.open_queue(secure, clock)
        });
        let queue = match opening.await.map_err(|error| Failure::stopped(&error.to_string()))? {
            Ok(queue) => queue,
            Err(failure) if failure.code == "not_enrolled" => return Ok(Opened::Enrol(site)),
            Err(failure) => return Err(failure),
        };
        let cloud = site.cloud(&queue.identity(), &queue.station_keys(), Arc::clone(&self.clock))?;
        let running = Running::start(&site, queue, cloud).await?;
        Ok(Opened::Works(site, Box::new(running)))
    }

    /// Shows why the station cannot work, until a person or some time says to try again.
    async fn stand(&mut self, failure: Failure) -> Next {
        tracing::error!(code = failure.code, detail = failure.detail, "station.cannot_work");
        let since = self.now();
        let same = matches!(&self.known.phase, Phase::Fault(fault) if fault.code == failure.code);
        if !same {
            self.known.sound += 1;
            self.known.phase = Phase::Fault(FaultNow { code: failure.code, detail: failure.detail, since });
        }
        self.known.act = Act::None;
        let again = tokio::time::sleep(TRY_AGAIN);
        tokio::pin!(again);
        let mut tick = tokio::time::interval(Duration::from_secs(1));
        loop {
            self.show(None);
            tokio::select! {
                () = &mut again => return Next::Open,
                _ = tick.tick() => {}
                input = self.inputs.recv() => match input {
                    None | Some(Input::Stop) => return Next::Stop,
                    Some(Input::Request(Request::Restart)) => return Next::Open,
                    Some(Input::Request(Request::Language { language })) => self.known.language = language,
                    Some(_) => {}
                },
            }
        }
    }

    fn now(&self) -> Timestamp {
        self.clock.read().wall
    }

    /// Something happened that the band says.
    fn act(&mut self, act: Act) {
        self.known.happens(act);
    }

    /// Shows the present state, if it looks other than before. `seen`: when the scan was read that changed it.
    fn show(&mut self, seen: Option<Instant>) {
        self.known.now = self.now();
        let mut screen = compose(&self.known);
        let before = Arc::clone(&self.shown.borrow());
        screen.revision = before.revision;
        if screen == *before {
            return;
        }
        screen.revision += 1;
        if let Some(seen) = seen {
            self.unpainted.push((screen.revision, seen));
        }
        if self.first == First::NotShown && !matches!(self.known.phase, Phase::Starting) {
            self.first = First::Shown(screen.revision);
        }
        self.shown.send_replace(Arc::new(screen));
    }

    /// The measure of the screen's speed: from the reader's last byte to the painted answer.
    fn painted(&mut self, revision: u64) {
        if matches!(self.first, First::Shown(first) if revision >= first) {
            self.first = First::Painted;
            tracing::info!("screen.first_painted");
        }
        self.unpainted.retain(|(shown, seen)| {
            let waits = *shown > revision;
            if !waits {
                let micros = u64::try_from(seen.elapsed().as_micros()).unwrap_or(u64::MAX);
                tracing::debug!(revision = shown, micros, "screen.painted");
            }
            waits
        });
    }
}
