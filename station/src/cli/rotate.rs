//! `lotgate rotate`: a new key of the station, as planned. What was signed before stays signed with the old one.

use super::site::{Site, shared_clock};
use super::sync::{Patience, Ran, run_until};
use super::{Exit, Failure, log_to_stderr, print_json, refuse_retired, runtime};
use clap::Args;
use serde_json::json;
use std::io::Write;
use std::process::ExitCode;

#[derive(Debug, Clone, Copy, Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    patience: Patience,
}

pub(super) fn run(site: &Site, arguments: Arguments, out: &mut impl Write) -> Result<ExitCode, Failure> {
    log_to_stderr(site);
    let secure = site.lock()?;
    // Under the lock: nobody retires it from now on.
    refuse_retired(&site.places)?;
    let clock = shared_clock();
    let queue = site.open_queue(secure, clock.clone())?;
    runtime()?.block_on(async {
        let before = queue.identity().public_key();
        let state = queue.state();
        let old_key = async || Ok((queue.identity().public_key() == before).then(|| state.borrow().queued));
        let begin = |sync: &lotgate_sync::runner::SyncHandle| sync.rotate();
        let ran = run_until(site, &queue, clock, arguments.patience, begin, old_key).await;
        let identity = queue.identity();
        queue.close().await?;
        if let Ran::Stalled(status) = ran? {
            let failure = status.engine.failure.map_or("no answer", |code| code.as_str());
            return Err(Failure::new(Exit::Unreachable, "rotate_unanswered", failure));
        }
        let rotated = json!({
            "station": identity.station,
            "key": identity.public_key().key_id(),
            "previous": before.key_id(),
            "certificate": identity.certificate.hash,
        });
        print_json(out, &rotated)?;
        Ok(ExitCode::SUCCESS)
    })
}
