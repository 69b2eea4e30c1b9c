//! The station at work, whoever looks at it: queue, sync, devices and actor, started and ended together.

use crate::actor::{Ended, LabelSource, PrintRequest, Printing, Report, Station};
use crate::cli::site::Site;
use crate::cli::{Exit, Failure, sync, upkeep};
use crate::print::{Jobs, READ_BACK};
use lotgate_devices::binding::{ScannerBinding, Timing};
use lotgate_devices::event::{Delivery, DeviceEvent, DeviceInfo};
use lotgate_devices::printer::{NetworkPrinter, PrinterTiming};
use lotgate_devices::serial::SerialScanner;
use lotgate_sync::engine::Settings;
use lotgate_sync::http::HttpCloud;
use lotgate_sync::queue::Queue;
use lotgate_sync::runner::SyncHandle;
use lotgate_sync::secure::SystemRandom;
use std::sync::Arc;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;

/// A station at work.
pub(crate) struct Running {
    /// Its queue.
    pub(crate) queue: Queue,
    /// Its sync.
    pub(crate) sync: SyncHandle,
    /// What it tells; whoever holds this must go on reading.
    pub(crate) reports: mpsc::Receiver<Report>,
    /// What people ask for of labels.
    pub(crate) requests: mpsc::Sender<PrintRequest>,
    /// Where devices hand in what they say; a demonstration does too.
    pub(crate) devices: mpsc::Sender<DeviceEvent>,
    /// True ends everything.
    pub(crate) stop: watch::Sender<bool>,
    /// The printer, to look how it stands; the actor drives it.
    pub(crate) printer: Option<Arc<NetworkPrinter>>,
    actor: JoinHandle<Ended>,
    ended: Option<Ended>,
    engine: JoinHandle<()>,
    upkeep: JoinHandle<()>,
    scanners: Vec<SerialScanner>,
}

impl Running {
    /// Starts everything around an opened queue.
    pub(crate) async fn start(site: &Arc<Site>, queue: Queue, cloud: HttpCloud) -> Result<Self, Failure> {
        let (stop, stopped) = watch::channel(false);
        let (sync, runner) =
            SyncHandle::prepare(queue.clone(), cloud, Settings::default(), sync::seed()?).await?;
        let mut engine_stopped = stopped.clone();
        let engine = tokio::spawn(runner.shown_in(&site.places).run(async move {
            let _ = engine_stopped.wait_for(|stop| *stop).await;
        }));
        let (devices, told) = mpsc::channel(1_024);
        let scanners = start_scanners(&site.config.scanners, &devices)?;
        let (reports, heard) = mpsc::channel(1_024);
        let (requests, asked) = mpsc::channel(16);
        let printing = printing(site, &queue, &devices).await?;
        let printer = printing.printer.as_ref().map(|(_, printer)| Arc::clone(printer));
        let station = Station {
            queue: queue.clone(),
            site_codes: site.config.site_codes.clone(),
            reference: sync.reference(),
            random: Arc::new(SystemRandom),
            devices: told,
            printing,
            requests: asked,
            reports,
            shutdown: stopped.clone(),
        };
        let actor = tokio::spawn(station.run());
        let upkeep = tokio::spawn(upkeep::run(Arc::clone(site), queue.clone(), stopped));
        Ok(Self {
            queue,
            sync,
            reports: heard,
            requests,
            devices,
            stop,
            printer,
            actor,
            ended: None,
            engine,
            upkeep,
            scanners,
        })
    }

    /// Waits for the actor's end, ends the rest, and closes the queue. What the actor still tells must be read
    /// meanwhile, or nobody may listen any more.
    pub(crate) async fn end(self) -> Result<Ended, Failure> {
        let Self {
            queue,
            sync,
            reports,
            requests,
            devices,
            stop,
            printer,
            actor,
            ended,
            engine,
            upkeep,
            scanners,
        } = self;
        let _ = stop.send(true);
        drop((reports, requests, devices, printer));
        let ended = match ended {
            Some(ended) => ended,
            None => actor.await.unwrap_or(Ended::QueueStopped(None)),
        };
        drop(scanners);
        let _ = (engine.await, upkeep.await);
        drop(sync);
        queue.close().await?;
        Ok(ended)
    }

    /// Resolves when the actor has ended by itself.
    pub(crate) async fn actor_ended(&mut self) {
        if self.ended.is_none() {
            self.ended = Some((&mut self.actor).await.unwrap_or(Ended::QueueStopped(None)));
        }
    }
}

/// Hands a device's events on without ever waiting, as a device thread must.
pub(crate) fn sink(
    events: mpsc::Sender<DeviceEvent>,
) -> impl FnMut(DeviceEvent) -> Delivery + Send + 'static {
    move |event| match events.try_send(event) {
        Ok(()) => Delivery::Taken,
        Err(mpsc::error::TrySendError::Full(event)) => Delivery::Full(Box::new(event)),
        Err(mpsc::error::TrySendError::Closed(_)) => Delivery::Closed,
    }
}

pub(crate) fn start_scanners(
    bindings: &[ScannerBinding],
    events: &mpsc::Sender<DeviceEvent>,
) -> Result<Vec<SerialScanner>, Failure> {
    let start = |binding: &ScannerBinding| {
        SerialScanner::start(binding.clone(), Timing::default(), sink(events.clone())).map_err(no_thread)
    };
    bindings.iter().map(start).collect()
}

fn no_thread(error: std::io::Error) -> Failure {
    Failure::new(Exit::DeviceMissing, "device_thread", error.to_string())
}

/// The print jobs of earlier runs, and the printer.
async fn printing(
    site: &Site,
    queue: &Queue,
    events: &mpsc::Sender<DeviceEvent>,
) -> Result<Printing, Failure> {
    let identity = queue.identity();
    let source = LabelSource {
        station: identity.station_name.clone(),
        training: identity.certificate.value.training,
        language: site.config.language,
    };
    let binding = site.config.printers.first();
    let info: Option<DeviceInfo> = binding.map(lotgate_devices::printer::PrinterBinding::info);
    let operations = queue.label_operations(READ_BACK).await?;
    let jobs = Jobs::fold(info.as_ref().map(|info| info.id.clone()), &operations);
    let printer = match (binding, info) {
        (Some(binding), Some(info)) => {
            let started =
                NetworkPrinter::start(binding.clone(), PrinterTiming::default(), sink(events.clone()));
            Some((info, Arc::new(started.map_err(no_thread)?)))
        }
        _ => None,
    };
    Ok(Printing::new(jobs, printer, source))
}

/// Resolves when the program is asked to end: SIGTERM or SIGINT; on other systems, that the console is closed.
pub async fn wait_for_signal() {
    let terminated = async {
        #[cfg(unix)]
        if let Ok(mut term) = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate()) {
            term.recv().await;
            return;
        }
        std::future::pending::<()>().await;
    };
    tokio::select! {
        () = terminated => {}
        _ = tokio::signal::ctrl_c() => {}
    }
}
