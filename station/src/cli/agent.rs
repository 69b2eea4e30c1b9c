//! `lotgate agent [--events]`: the whole station without a window, until SIGTERM or SIGINT.

mod told;
mod upkeep;

use super::site::{Site, shared_clock};
use super::{Exit, Failure, language, log_to_stderr, refuse_retired, runtime, sync};
use crate::actor::{Ended, Station};
use clap::Args;
use lotgate_devices::binding::{ScannerBinding, Timing};
use lotgate_devices::event::{Delivery, DeviceEvent};
use lotgate_devices::serial::SerialScanner;
use lotgate_sync::engine::Settings;
use lotgate_sync::http::HttpCloud;
use lotgate_sync::queue::Queue;
use lotgate_sync::runner::SyncHandle;
use lotgate_sync::secure::SystemRandom;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{mpsc, oneshot, watch};

/// How long a stopping agent waits for its last lines to be read.
const LAST_LINES: Duration = Duration::from_secs(2);

#[derive(Debug, Clone, Copy, Args)]
pub(super) struct Arguments {
    /// Print one JSON line for each operation, after its commit.
    #[arg(long)]
    events: bool,
}

pub(super) fn run(site: Site, arguments: Arguments) -> Result<ExitCode, Failure> {
    log_to_stderr(&site);
    let secure = site.lock()?;
    // Under the lock: nobody retires it from now on.
    refuse_retired(&site.places)?;
    let clock = shared_clock();
    let queue = site.open_queue(secure, clock.clone())?;
    for alarm in &queue.state().borrow().alarms {
        let code = alarm.as_str();
        tracing::error!(code, text = language().text(code), "station.alarm");
    }
    let cloud = site.cloud(&queue.identity(), &queue.station_keys(), clock)?;
    let ended = runtime()?.block_on(work(site, arguments, queue.clone(), cloud))?;
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
    let (sync, runner) =
        SyncHandle::prepare(queue.clone(), cloud, Settings::default(), sync::seed()?).await?;
    let mut engine_stopped = stopped.clone();
    let engine = tokio::spawn(runner.shown_in(&site.places).run(async move {
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
        told::print(told, arguments.events, &sync);
        let _ = printed.send(());
    });
    let upkeep = tokio::spawn(upkeep::run(site, queue.clone(), stopped.clone()));
    let signal = tokio::spawn(wait_for_signal(stop.clone(), stopped));
    let ended = actor.await.unwrap_or(Ended::QueueStopped(None));
    let _ = stop.send(true);
    drop(scanners);
    let _ = (engine.await, upkeep.await, signal.await);
    queue.close().await?;
    let _ = tokio::time::timeout(LAST_LINES, all_printed).await;
    Ok(ended)
}

fn start_scanners(site: &Site, events: &mpsc::Sender<DeviceEvent>) -> Result<Vec<SerialScanner>, Failure> {
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
