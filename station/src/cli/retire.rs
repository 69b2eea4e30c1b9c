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
        let asked_before = asked.is_some();
        let (through, reason) = match asked {
            // Asked before: nothing was appended since, and only the same question gets the same answer.
            Some(Retirement::Asked { through, reason }) => (through, reason),
            _ => (drain(site, arguments, &queue).await?, arguments.reason.clone()),
        };
        let cloud = site.cloud(&queue.identity(), &queue.station_keys(), clock)?;
        let retired = close(site, &queue, &cloud, (through, reason), asked_before).await;
        queue.close().await?;
        tell(&retired?, out)
    })
}

/// Empties the queue and sends what was set aside; gives the point that the station ends at.
async fn drain(site: &Site, arguments: &Arguments, queue: &Queue) -> Result<ChainPoint, Failure> {
    let state = queue.state();
    let waiting = async || {
        let queued = state.borrow().queued;
        let evidence = if queued == 0 { queue.evidence(1).await?.map(|batch| batch.token) } else { None };
        Ok((queued > 0 || evidence.is_some()).then_some((queued, evidence)))
    };
    let ran = run_until(site, queue, shared_clock(), arguments.patience, |_| (), waiting).await?;
    let stalled = match ran {
        Ran::Done => {
            let Head { epoch, seq, hash } = state.borrow().head;
            let epoch = epoch.ok_or_else(|| Failure::new(Exit::Queue, "damaged", ""))?;
            return Ok(ChainPoint { epoch, seq, hash });
        }
        Ran::Stalled(status) => match status.engine.failure {
            Some(code) => code.as_str(),
            None if state.borrow().queued == 0 => "evidence is waiting",
            None => "no answer",
        },
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
    (through, reason): (ChainPoint, String),
    asked_before: bool,
) -> Result<Retirement, Failure> {
    let unwritable = |error: std::io::Error| Failure::new(Exit::KeyStore, "key_store", error.to_string());
    let asked = Retirement::Asked { through, reason: reason.clone() };
    asked.write(&site.places).map_err(unwritable)?;
    let reply = match cloud.retire(RetireRequest { through, reason: reason.clone() }).await {
        Ok(reply) => reply,
        Err(error) => {
            if matches!(&error, CallError::Rejected(no) if is_open(no.code, asked_before)) {
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

/// Whether this answer shows that the station was not closed. A lost answer may have been a yes; so may one that
/// came from a fault, since the change may have been made before it, and whatever a second question is refused for.
const fn is_open(code: ProblemCode, asked_before: bool) -> bool {
    match code {
        ProblemCode::HeadMismatch => true,
        ProblemCode::Busy | ProblemCode::Internal => false,
        _ => !asked_before,
    }
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
