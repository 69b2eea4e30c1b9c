//! `lotgate agent [--events]`: the whole station without a window, until SIGTERM or SIGINT.

pub(crate) mod told;

use super::site::{Site, shared_clock};
use super::{Exit, Failure, language, log_to_stderr, refuse_retired, runtime};
use crate::actor::Ended;
use crate::run::{Running, wait_for_signal};
use clap::Args;
use lotgate_sync::http::HttpCloud;
use lotgate_sync::queue::Queue;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};

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
    // From the start on: a station that is told to stop while it starts closes its queue, too.
    let asked = tokio::spawn(wait_for_signal());
    let mut running = Running::start(&Arc::new(site), queue, cloud).await?;
    // Handed to the printing thread, which reads to the end.
    let (_, nobody) = mpsc::channel(1);
    let told = std::mem::replace(&mut running.reports, nobody);
    let sync = running.sync.clone();
    let (printed, all_printed) = oneshot::channel();
    // A thread of its own: whoever reads standard output may be slow, or gone without closing it.
    std::thread::spawn(move || {
        told::print(told, arguments.events, &sync);
        let _ = printed.send(());
    });
    tokio::select! {
        () = running.actor_ended() => {}
        _ = asked => {}
    }
    let ended = running.end().await?;
    let _ = tokio::time::timeout(LAST_LINES, all_printed).await;
    Ok(ended)
}
