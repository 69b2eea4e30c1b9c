//! Once an hour: letting go of what the cloud confirmed long ago.

use super::site::{Site, shared_clock};
use lotgate_domain::protocol::CloudApi as _;
use lotgate_sync::queue::Queue;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;

const HOUR: Duration = Duration::from_secs(3_600);
/// Confirmed operations stay so long at the station, for whoever has to look something up without a network.
const RETENTION_S: u64 = 30 * 86_400;

/// Until `stopped` turns true.
pub(crate) async fn run(site: Arc<Site>, queue: Queue, mut stopped: watch::Receiver<bool>) {
    loop {
        let told = async {
            let _ = stopped.wait_for(|stop| *stop).await;
        };
        tokio::select! {
            () = told => return,
            () = tokio::time::sleep(HOUR) => prune(&site, &queue).await,
        }
    }
}

/// Without a trusted time, or without the cloud's word how far back it may be restored, nothing is let go of.
async fn prune(site: &Site, queue: &Queue) {
    let memory = queue.state().borrow().clock;
    let Some(now) = memory.trusted_now(&queue.clock()) else { return };
    let Ok(cloud) = site.cloud(&queue.identity(), &queue.station_keys(), shared_clock()) else { return };
    let Ok(head) = cloud.head().await else { return };
    match queue.prune(now, head.restore_window_s, RETENTION_S).await {
        Ok(pruned) => tracing::info!(operations = pruned.operations, "queue.pruned"),
        Err(error) => tracing::error!(code = error.code(), %error, "queue.not_pruned"),
    }
}
