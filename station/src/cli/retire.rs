//! `lotgate retire`: the end of this station. Its queue is emptied, the cloud closes its chain at the last
//! operation, and nothing starts here any more (PROTOCOL §5). Asked again it tells the same.

use super::site::{Site, shared_clock};
use super::sync::{Patience, Ran, run_until};
use super::{Exit, Failure, chain, log_to_stderr, print_json, runtime};
use crate::retired::Retirement;
use clap::Args;
use lotgate_domain::chain::Head;
use lotgate_domain::operation::body::ChainPoint;
use lotgate_domain::protocol::care::RetireRequest;
use lotgate_domain::protocol::problem::ProblemCode;
use lotgate_domain::protocol::{CloudApi as _, HexBytes};
use lotgate_domain::statement;
use lotgate_domain::statement::event::{Closing, StationClosed};
use lotgate_sync::engine::failure::FailureClass;
use lotgate_sync::http::{CallError, HttpCloud};
use lotgate_sync::queue::Queue;
use serde_json::json;
use std::io::Write;
use std::process::ExitCode;

#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// Why, in a few words; the cloud signs them.
    #[arg(long, value_name = "TEXT")]
    reason: String,
    /// Close the station at what the cloud holds, though not everything here is confirmed. What is not stays in
    /// the data directory as evidence.
    #[arg(long)]
    force_evidence: bool,
    #[command(flatten)]
    patience: Patience,
}

pub(super) fn run(site: &Site, arguments: &Arguments, out: &mut impl Write) -> Result<ExitCode, Failure> {
    log_to_stderr(site);
    let unreadable = |error: std::io::Error| Failure::new(Exit::KeyStore, "key_store", error.to_string());
    let secure = site.lock()?;
    let asked = match Retirement::read(&site.places).map_err(unreadable)? {
        Some(done @ Retirement::Retired { .. }) => return tell(&done, out),
        asked => asked,
    };
    let clock = shared_clock();
    let queue = site.open_queue(secure, clock.clone())?;
    runtime()?.block_on(async {
        let (through, reason) = match asked {
            // Asked before: nothing was appended since, and only the same question gets the same answer.
            Some(Retirement::Asked { through, reason }) => (through, reason),
            _ => (drain(site, arguments, &queue).await?, arguments.reason.clone()),
        };
        let cloud = site.cloud(&queue.identity(), &queue.station_keys(), clock)?;
        let retired = close(site, &queue, &cloud, through, reason).await;
        queue.close().await?;
        tell(&retired?, out)
    })
}

/// Empties the queue; gives the point that the station ends at.
async fn drain(site: &Site, arguments: &Arguments, queue: &Queue) -> Result<ChainPoint, Failure> {
    let state = queue.state();
    let settled = || state.borrow().queued == 0;
    let ran = run_until(site, queue, shared_clock(), arguments.patience, |_| (), settled).await?;
    let evidence = queue.evidence(1).await?.is_some();
    let stalled = match ran {
        Ran::Done if !evidence => {
            let Head { epoch, seq, hash } = state.borrow().head;
            let epoch = epoch.ok_or_else(|| Failure::new(Exit::Queue, "damaged", ""))?;
            return Ok(ChainPoint { epoch, seq, hash });
        }
        Ran::Done => "evidence is waiting".to_owned(),
        Ran::Stalled(status) => status.engine.failure.map_or("no answer", |code| code.as_str()).to_owned(),
    };
    let waiting = state.borrow().queued;
    let blocked = |detail| Err(Failure::new(Exit::BlockedByUnsynced, "retire_blocked", detail));
    if !arguments.force_evidence {
        return blocked(format!("{waiting} operations waiting; {stalled}"));
    }
    let cloud = site.cloud(&queue.identity(), &queue.station_keys(), shared_clock())?;
    let head = cloud.head().await.map_err(asking)?.head();
    match head.epoch {
        Some(epoch) if queue.holds(head).await? => Ok(ChainPoint { epoch, seq: head.seq, hash: head.hash }),
        _ => blocked(format!("the cloud's last operation, {}, is not one of this queue", head.seq)),
    }
}

/// Asks the cloud to close the chain, and notes that before and after.
async fn close(
    site: &Site,
    queue: &Queue,
    cloud: &HttpCloud,
    through: ChainPoint,
    reason: String,
) -> Result<Retirement, Failure> {
    let unwritable = |error: std::io::Error| Failure::new(Exit::KeyStore, "key_store", error.to_string());
    let asked = Retirement::Asked { through, reason: reason.clone() };
    asked.write(&site.places).map_err(unwritable)?;
    let reply = match cloud.retire(RetireRequest { through, reason: reason.clone() }).await {
        Ok(reply) => reply,
        Err(error) => {
            // Only a clear no takes the note back: a lost answer, or a fault after the change, may be a yes.
            if matches!(&error, CallError::Rejected(no) if no.code != ProblemCode::Internal) {
                Retirement::withdraw(&site.places).map_err(unwritable)?;
            }
            return Err(asking(error));
        }
    };
    let (identity, HexBytes(bytes)) = (queue.identity(), reply.statement);
    let trust = &identity.trust;
    let untrusted = |detail: String| Failure::new(Exit::Unreachable, "retire_untrusted", detail);
    let closed = statement::read::<StationClosed>(&bytes, trust.tenant, &trust.statement)
        .map_err(|error| untrusted(chain(&error)))?
        .value;
    if (closed.station, closed.closing, closed.through) != (identity.station, Closing::Retired, Some(through))
    {
        return Err(untrusted("the statement is about another end".to_owned()));
    }
    let retired = Retirement::Retired { through, reason: closed.reason, statement: HexBytes(bytes) };
    retired.write(&site.places).map_err(unwritable)?;
    Ok(retired)
}

fn asking(error: CallError) -> Failure {
    let exit = match error.class() {
        FailureClass::OwnQueueFault => Exit::Queue,
        FailureClass::Offline
        | FailureClass::Unreachable
        | FailureClass::Unauthorised
        | FailureClass::RequestRefused
        | FailureClass::ServerInconsistent => Exit::Unreachable,
    };
    Failure::new(exit, error.code().as_str(), chain(&error))
}

fn tell(retired: &Retirement, out: &mut impl Write) -> Result<ExitCode, Failure> {
    print_json(out, &json!(retired))?;
    Ok(ExitCode::SUCCESS)
}
