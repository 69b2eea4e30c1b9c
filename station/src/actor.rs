//! The one actor of a station: device events in, durable operations out (DESIGN §3, §5 Scan).
//!
//! It decides on each scan at once and hands the operation to the queue; up to [`PIPELINE`] operations wait
//! for their commit at the same moment. Nobody hears of an operation before its commit returned.

use crate::repeat::Repeats;
use crate::scan;
use futures_util::StreamExt as _;
use futures_util::stream::FuturesOrdered;
use lotgate_devices::event::{DeviceEvent, DeviceEventKind, DeviceFault, DeviceInfo, DeviceState};
use lotgate_domain::barcode::SitePatterns;
use lotgate_domain::ids::OperationId;
use lotgate_domain::operation::body::Body;
use lotgate_sync::queue::{AppendError, Appended, Draft, Queue};
use lotgate_sync::runner::Reference;
use lotgate_sync::secure::Random;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{mpsc, watch};

/// How many operations may wait for their commit before the station stops listening to its devices.
pub const PIPELINE: usize = 256;

/// What the station tells whoever listens: a screen, a terminal, a test.
#[derive(Debug)]
pub enum Report {
    /// An operation is durable.
    Committed {
        /// Where it stands in the chain.
        appended: Appended,
        /// Why the scan was refused, if it is a refused scan.
        refusal: Option<&'static str>,
    },
    /// The same refused scan again: answered from the operation that stands already.
    Repeated {
        /// That operation.
        of: OperationId,
    },
    /// An operation could not be made durable; nothing of it was kept.
    NotKept(AppendError),
    /// A device changed its state.
    Device(DeviceInfo, DeviceState),
    /// A device discarded something or was held up.
    Fault(DeviceInfo, DeviceFault),
}

/// Everything that the actor works with.
pub struct Station {
    /// Where operations go.
    pub queue: Queue,
    /// The site's own codes.
    pub site_codes: SitePatterns,
    /// The newest reference data; none before the first pull.
    pub reference: watch::Receiver<Option<Reference>>,
    /// Where ids come from.
    pub random: Arc<dyn Random>,
    /// What the devices say.
    pub devices: mpsc::Receiver<DeviceEvent>,
    /// Who listens.
    pub reports: mpsc::Sender<Report>,
}

/// Why the actor ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// It was told to.
    Shutdown,
    /// The queue accepts no more work.
    QueueStopped,
    /// Nobody listens to the reports any more.
    Unheard,
}

/// Resolves when `shutdown` turns true, or when nobody is left who could turn it.
async fn told_to_stop(shutdown: &mut watch::Receiver<bool>) {
    let _ = shutdown.wait_for(|stop| *stop).await;
}

struct Waiting {
    refusal: Option<&'static str>,
    id: OperationId,
    result: Result<Appended, AppendError>,
}

impl Station {
    /// Works until `shutdown` turns true or the queue stops; what was accepted by then is committed and
    /// reported first.
    pub async fn run(mut self, mut shutdown: watch::Receiver<bool>) -> Ended {
        let mut repeats: BTreeMap<String, Repeats> = BTreeMap::new();
        let mut waiting = FuturesOrdered::new();
        // A station without devices goes on: its queue still has to reach the cloud.
        let mut devices_left = true;
        loop {
            let closes = self.next_close(&repeats);
            tokio::select! {
                biased;
                () = told_to_stop(&mut shutdown) => break,
                Some(done) = waiting.next() => {
                    if let Some(ended) = self.tell(done, &mut repeats).await {
                        return ended;
                    }
                }
                event = self.devices.recv(), if devices_left && waiting.len() < PIPELINE => {
                    let Some(event) = event else {
                        devices_left = false;
                        continue;
                    };
                    for draft in self.handle(event, &mut repeats).await {
                        waiting.push_back(self.submit(draft));
                    }
                }
                () = tokio::time::sleep(closes.unwrap_or(Duration::MAX)), if closes.is_some() => {
                    let now = self.queue.clock().mono_ms;
                    for open in repeats.values_mut().filter(|r| r.closes_ms().is_some_and(|at| at <= now)) {
                        waiting.extend(open.close().map(|body| self.submit(self.draft(body, None))));
                    }
                }
            }
        }
        let told: Vec<Body> = repeats.values_mut().filter_map(Repeats::close).collect();
        for body in told {
            let draft = self.draft(body, None);
            waiting.push_back(self.submit(draft));
        }
        while let Some(done) = waiting.next().await {
            if let Some(ended) = self.tell(done, &mut repeats).await {
                return ended;
            }
        }
        Ended::Shutdown
    }

    fn next_close(&self, repeats: &BTreeMap<String, Repeats>) -> Option<Duration> {
        let now = self.queue.clock().mono_ms;
        let closes = repeats.values().filter_map(Repeats::closes_ms).min()?;
        Some(Duration::from_millis(closes.saturating_sub(now)))
    }

    /// Decides on one device event; returns the operations that come of it, in order.
    async fn handle(
        &self,
        event: DeviceEvent,
        repeats: &mut BTreeMap<String, Repeats>,
    ) -> Vec<(Draft, Option<&'static str>)> {
        let raw = match event.kind {
            DeviceEventKind::Scanned(raw) => raw,
            DeviceEventKind::State(state) => {
                tracing::info!(device.id = event.device.id, device.state = state.code(), "device.state");
                let _ = self.reports.send(Report::Device(event.device, state)).await;
                return Vec::new();
            }
            DeviceEventKind::Fault(fault) => {
                tracing::warn!(device.id = event.device.id, device.fault = fault.code(), "device.fault");
                let _ = self.reports.send(Report::Fault(event.device, fault)).await;
                return Vec::new();
            }
        };
        let reference = self.reference.borrow().clone();
        let clock = self.queue.clock();
        let snapshot = reference.as_ref().map(|reference| &*reference.snapshot);
        let now = self.queue.effective_now();
        let outcome = scan::decide(&raw, &event.device, &self.site_codes, snapshot, now);
        let window = repeats.entry(event.device.id).or_default();
        if let Some(of) =
            outcome.refusal.and_then(|code| window.repeats(&raw, code, clock.mono_ms, clock.wall))
        {
            let _ = self.reports.send(Report::Repeated { of }).await;
            return Vec::new();
        }
        let mut drafts: Vec<_> = window.close().map(|body| self.draft(body, None)).into_iter().collect();
        let draft = self.draft(outcome.body, outcome.refusal);
        if let (Some(code), Some(id)) = (outcome.refusal, draft.0.id) {
            window.open(raw, code, id, clock.mono_ms, clock.wall);
        }
        drafts.push(draft);
        drafts
    }

    fn draft(&self, body: Body, refusal: Option<&'static str>) -> (Draft, Option<&'static str>) {
        let clock = self.queue.clock();
        let now = self.queue.effective_now();
        let knew = self.reference.borrow().as_ref().map(|reference| reference.mark.knew(&clock, now));
        let mut draft = Draft::by_station(body, knew);
        let mut random = [0u8; 10];
        // Without random bytes the queue makes the id, or says that it cannot.
        draft.id = self
            .random
            .fill(&mut random)
            .ok()
            .map(|()| OperationId::from_parts(u64::try_from(clock.wall.unix_ms()).unwrap_or(0), &random));
        (draft, refusal)
    }

    fn submit(
        &self,
        (draft, refusal): (Draft, Option<&'static str>),
    ) -> impl Future<Output = Waiting> + Send + use<> {
        let id = draft.id.unwrap_or(OperationId::from_parts(0, &[0; 10]));
        let submitted = self.queue.submit(draft);
        async move { Waiting { refusal, id, result: submitted.await } }
    }

    async fn tell(&self, done: Waiting, repeats: &mut BTreeMap<String, Repeats>) -> Option<Ended> {
        let report = match done.result {
            Ok(appended) => Report::Committed { appended, refusal: done.refusal },
            Err(error) => {
                repeats.values_mut().for_each(|open| open.forget(done.id));
                tracing::error!(code = error.code(), "operation.not_kept");
                let stopped = matches!(error, AppendError::Stopped(_) | AppendError::Closed);
                let _ = self.reports.send(Report::NotKept(error)).await;
                return stopped.then_some(Ended::QueueStopped);
            }
        };
        self.reports.send(report).await.is_err().then_some(Ended::Unheard)
    }
}
