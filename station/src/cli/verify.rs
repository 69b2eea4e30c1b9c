//! `lotgate queue verify [--json]`: every entry of the local queue, beside a running agent.

use super::{Exit, Failure, Site, print_json};
use lotgate_sync::queue::QueueView;
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
    if json {
        let value = json!({
            "ok": ok,
            "entries": verification.entries,
            "epochs": verification.epochs,
            "settled": verification.settled,
            "first_fault": verification.first_fault,
        });
        print_json(out, &value)?;
    } else if ok {
        let (entries, settled) = (verification.entries, verification.settled);
        writeln!(out, "{entries} operations, chain intact, {settled} of them settled by the cloud")
            .map_err(|error| Failure::output(&error))?;
    }
    match verification.first_fault {
        None => Ok(ExitCode::SUCCESS),
        Some(_) if json => Ok(ExitCode::from(Exit::Queue as u8)),
        Some(fault) => {
            let at = format!("epoch {}, operation {}: {}", fault.epoch, fault.seq, json!(fault.code));
            Err(Failure::new(Exit::Queue, "damaged", at))
        }
    }
}
