//! `lotgate queue verify [--json]`: every entry of the local queue, beside a running agent.

use super::site::Site;
use super::{Exit, Failure, print_json, word};
use lotgate_sync::queue::{QueueView, Verification};
use lotgate_sync::secure::Secure;
use serde_json::json;
use std::io::Write;
use std::process::ExitCode;

pub(super) fn run(site: &Site, json: bool, out: &mut impl Write) -> Result<ExitCode, Failure> {
    let secure = Secure::view(site.places.clone())?;
    let view = QueueView::open(&secure)?;
    let verification = view.verify(|_| {})?;
    let ok = verification.ok();
    if ok {
        // An older copy is whole in itself; only the anchor outside tells.
        view.check_anchor()?;
    }
    let Verification { entries, epochs, settled, checkpoints, proofs, contradictions, first_fault } =
        verification;
    if json {
        let value = json!({
            "ok": ok,
            "entries": entries,
            "epochs": epochs,
            "settled": settled,
            "checkpoints": checkpoints,
            "proofs": proofs,
            "contradictions": contradictions,
            "first_fault": first_fault,
        });
        print_json(out, &value)?;
    } else if ok {
        writeln!(
            out,
            "{entries} operations in {epochs} epochs, chain intact, {settled} of them settled by the cloud\n\
             {proofs} verdict batches proven under {checkpoints} checkpoints; the cloud contradicted itself \
             {contradictions} times"
        )
        .map_err(|error| Failure::output(&error))?;
    }
    match first_fault {
        None => Ok(ExitCode::SUCCESS),
        Some(_) if json => Ok(ExitCode::from(Exit::Queue as u8)),
        Some(fault) => {
            let at = format!("epoch {}, operation {}: {}", fault.epoch, fault.seq, word(&fault.code));
            Err(Failure::new(Exit::Queue, "damaged", at))
        }
    }
}
