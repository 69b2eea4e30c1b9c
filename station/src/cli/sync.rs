//! Running the sync without devices, until something is reached: for `retire` and `rotate`.

use super::site::Site;
use super::{Exit, Failure, language};
use clap::Args;
use lotgate_sync::clock::Clock;
use lotgate_sync::engine::Settings;
use lotgate_sync::queue::Queue;
use lotgate_sync::runner::{SyncHandle, SyncStatus};
use lotgate_sync::secure::{Random as _, SystemRandom};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::oneshot;
use tokio::time::Instant;

/// How often progress is looked at.
const LOOK: Duration = Duration::from_millis(50);
/// How often it is told.
const TELL: Duration = Duration::from_secs(1);

#[derive(Debug, Clone, Copy, Args)]
pub(super) struct Patience {
    /// Give up after so many seconds without progress.
    #[arg(long, value_name = "SECONDS", default_value_t = 60)]
    wait: u64,
}

/// A random seed, so that stations do not act in step.
pub(crate) fn seed() -> Result<u64, Failure> {
    let mut seed = [0u8; 8];
    SystemRandom
        .fill(&mut seed)
        .map_err(|error| Failure::new(Exit::KeyStore, "no_random", error.to_string()))?;
    Ok(u64::from_le_bytes(seed))
}

/// What came of it.
pub(super) enum Ran {
    /// It was reached.
    Done,
    /// There was no progress any more; how the sync stood then.
    Stalled(Box<SyncStatus>),
}

/// Runs the sync of `queue` until `waiting` gives nothing. A change of what it gives is progress; how many operations
/// wait is told on standard error.
pub(super) async fn run_until<T: PartialEq>(
    site: &Site,
    queue: &Queue,
    clock: Arc<dyn Clock>,
    patience: Patience,
    begin: impl FnOnce(&SyncHandle),
    mut waiting: impl AsyncFnMut() -> Result<Option<T>, Failure>,
) -> Result<Ran, Failure> {
    let cloud = site.cloud(&queue.identity(), &queue.station_keys(), clock)?;
    let (sync, runner) = SyncHandle::prepare(queue.clone(), cloud, Settings::default(), seed()?).await?;
    let (stop, stopped) = oneshot::channel::<()>();
    let running = tokio::spawn(runner.shown_in(&site.places).run(async {
        let _ = stopped.await;
    }));
    begin(&sync);
    let (status, state) = (sync.status(), queue.state());
    let (mut before, mut changed) = (None, Instant::now());
    let mut told = None::<(Instant, u64)>;
    let ran = loop {
        let now = match waiting().await {
            Ok(Some(now)) => Some(now),
            Ok(None) => break Ok(Ran::Done),
            Err(error) => break Err(error),
        };
        if now != before {
            (before, changed) = (now, Instant::now());
        }
        let queued = state.borrow().queued;
        if told.is_none_or(|(at, count)| count != queued && at.elapsed() >= TELL) {
            told = Some((Instant::now(), queued));
            tell(queued, &status.borrow());
        }
        if changed.elapsed() >= Duration::from_secs(patience.wait) {
            break Ok(Ran::Stalled(Box::new(status.borrow().clone())));
        }
        tokio::time::sleep(LOOK).await;
    };
    let _ = stop.send(());
    let _ = running.await;
    ran
}

fn tell(waiting: u64, status: &SyncStatus) {
    let code = status.engine.failure.map(|code| code.as_str());
    let text = code.map(|code| language().text(code));
    tracing::info!(waiting, code, text, "sync.progress");
}
