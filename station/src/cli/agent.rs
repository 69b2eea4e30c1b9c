//! `lotgate agent [--events]`: the whole station without a window, until SIGTERM or SIGINT.

use super::{Exit, Failure, Site, language, system_clock};
use crate::actor::{Ended, Report, Station};
use clap::Args;
use lotgate_devices::binding::{ScannerBinding, Timing};
use lotgate_devices::event::{Delivery, DeviceState};
use lotgate_devices::serial::SerialScanner;
use lotgate_sync::engine::Settings;
use lotgate_sync::http::{HttpCloud, HttpOptions, Proxy, RequestKeys};
use lotgate_sync::queue::{Appended, Queue, QueueOptions};
use lotgate_sync::runner::SyncHandle;
use lotgate_sync::secure::{Random as _, Secure, SystemRandom};
use serde_json::json;
use std::io::Write as _;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{mpsc, oneshot, watch};
use tracing_subscriber::EnvFilter;

/// How long a stopping agent waits for its last lines to be read.
const LAST_LINES: Duration = Duration::from_secs(2);

#[derive(Debug, Clone, Copy, Args)]
pub(super) struct Arguments {
    /// Print one JSON line for each operation, after its commit.
    #[arg(long)]
    events: bool,
}

pub(super) fn run(site: Site, arguments: Arguments) -> Result<ExitCode, Failure> {
    let filter = EnvFilter::try_from_env("LOTGATE_LOG").unwrap_or_else(|_| EnvFilter::new("info"));
    tracing_subscriber::fmt().json().with_env_filter(filter).with_writer(std::io::stderr).init();
    let clock = Arc::new(system_clock());
    let options = QueueOptions {
        secure: Secure::open(site.places.clone())?,
        clock: clock.clone(),
        random: Arc::new(SystemRandom),
        program: site.program(),
    };
    let queue = Queue::open(options)?;
    let identity = queue.identity();
    let keys = RequestKeys {
        tenant: identity.tenant,
        station: identity.station,
        keys: queue.station_keys().signing.clone(),
    };
    let http = HttpOptions {
        server: site.server()?,
        ca_file: site.config.ca_file.clone(),
        proxy: Proxy::System,
        clock,
    };
    let cloud = HttpCloud::for_station(http, keys)?;
    let runtime = tokio::runtime::Runtime::new()
        .map_err(|error| Failure::new(Exit::Queue, "no_runtime", error.to_string()))?;
    let ended = runtime.block_on(work(site, arguments, queue.clone(), cloud))?;
    match ended {
        Ended::Shutdown | Ended::Unheard => Ok(ExitCode::SUCCESS),
        Ended::QueueStopped(reason) => {
            let code = reason.map_or("closed", |reason| reason.code());
            Err(Failure::new(Exit::Queue, code, ""))
        }
    }
}

async fn work(site: Site, arguments: Arguments, queue: Queue, cloud: HttpCloud) -> Result<Ended, Failure> {
    let (stop, stopped) = watch::channel(false);
    let mut seed = [0u8; 8];
    SystemRandom
        .fill(&mut seed)
        .map_err(|error| Failure::new(Exit::KeyStore, "no_random", error.to_string()))?;
    let (sync, runner) =
        SyncHandle::prepare(queue.clone(), cloud, Settings::default(), u64::from_le_bytes(seed)).await?;
    let mut engine_stopped = stopped.clone();
    let engine = tokio::spawn(runner.run(async move {
        let _ = engine_stopped.wait_for(|stop| *stop).await;
    }));
    let (events, devices) = mpsc::channel(1_024);
    let scanners = start_scanners(&site, &events)?;
    drop(events);
    let (reports, told) = mpsc::channel(1_024);
    let station = Station {
        queue: queue.clone(),
        site_codes: site.config.site_codes.clone(),
        reference: sync.reference(),
        random: Arc::new(SystemRandom),
        devices,
        reports,
        shutdown: stopped.clone(),
    };
    let actor = tokio::spawn(station.run());
    let (printed, all_printed) = oneshot::channel();
    // A thread of its own: whoever reads standard output may be slow, or gone without closing it.
    std::thread::spawn(move || {
        print(told, arguments.events);
        let _ = printed.send(());
    });
    let signal = tokio::spawn(wait_for_signal(stop.clone(), stopped));
    let ended = actor.await.unwrap_or(Ended::QueueStopped(None));
    let _ = stop.send(true);
    drop(scanners);
    let _ = (engine.await, signal.await);
    queue.close().await?;
    let _ = tokio::time::timeout(LAST_LINES, all_printed).await;
    Ok(ended)
}

fn start_scanners(
    site: &Site,
    events: &mpsc::Sender<lotgate_devices::event::DeviceEvent>,
) -> Result<Vec<SerialScanner>, Failure> {
    let start = |binding: &ScannerBinding| {
        let events = events.clone();
        let sink = move |event| match events.try_send(event) {
            Ok(()) => Delivery::Taken,
            Err(mpsc::error::TrySendError::Full(event)) => Delivery::Full(Box::new(event)),
            Err(mpsc::error::TrySendError::Closed(_)) => Delivery::Closed,
        };
        SerialScanner::start(binding.clone(), Timing::default(), sink)
            .map_err(|error| Failure::new(Exit::DeviceMissing, "device_thread", error.to_string()))
    };
    site.config.scanners.iter().map(start).collect()
}

/// Prints what the station reports. A line that cannot be written ends the printing, never the station's
/// promise: the operation is durable already.
fn print(mut told: mpsc::Receiver<Report>, mut events: bool) {
    while let Some(report) = told.blocking_recv() {
        let appended = match report {
            Report::Committed { appended, .. } => appended,
            Report::Device(device, DeviceState::Ready) => {
                tracing::info!(device.id = device.id, "device.ready");
                continue;
            }
            Report::Device(device, state) => {
                let (code, text) = (state.code(), language().text(state.code()));
                tracing::warn!(device.id = device.id, code, text, "device.not_ready");
                continue;
            }
            Report::Fault(device, fault) => {
                let (code, text) = (fault.code(), language().text(fault.code()));
                tracing::warn!(device.id = device.id, code, text, "device.fault");
                continue;
            }
            Report::Repeated { .. } | Report::NotKept(_) => continue,
        };
        tracing::debug!(operation.id = %appended.id, operation.seq = appended.seq, "operation.committed");
        if events {
            let mut out = std::io::stdout().lock();
            if writeln!(out, "{}", event_line(&appended)).and_then(|()| out.flush()).is_err() {
                tracing::error!(
                    "nobody reads the events any more; the station goes on without printing them"
                );
                events = false;
            }
        }
    }
}

fn event_line(appended: &Appended) -> String {
    let mut line = json!({
        "epoch": appended.epoch.n,
        "seq": appended.seq,
        "id": appended.id,
        "type": appended.kind,
        "hash": appended.hash,
    });
    if let (Some(raw), Some(members)) = (&appended.raw_hex, line.as_object_mut()) {
        members.insert("raw_hex".to_owned(), json!(raw));
    }
    line.to_string()
}

/// Turns the first signal into the shutdown of everything.
async fn wait_for_signal(stop: watch::Sender<bool>, mut stopped: watch::Receiver<bool>) {
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
        _ = stopped.wait_for(|stop| *stop) => {}
    }
    let _ = stop.send(true);
}
