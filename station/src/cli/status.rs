//! `lotgate status [--json]`: what the station is and how its queue stands.

use super::{Failure, Site, print_json, system_clock};
use lotgate_sync::clock::Clock as _;
use lotgate_sync::queue::{Identity, QueueState, QueueView};
use lotgate_sync::secure::Secure;
use serde_json::{Value, json};
use std::io::Write;
use std::process::ExitCode;

pub(super) fn run(site: &Site, json: bool, out: &mut impl Write) -> Result<ExitCode, Failure> {
    let secure = Secure::view(site.places.clone())?;
    let view = QueueView::open(&secure)?;
    let (identity, state) = (view.identity(), view.state()?);
    let value = describe(site, identity, &state);
    if json {
        print_json(out, &value)?;
    } else {
        let age = state.oldest_wall.map_or(String::new(), |oldest| {
            let seconds = system_clock().read().wall.ms_since(oldest) / 1000;
            format!(", oldest {seconds} s old")
        });
        let training = if identity.certificate.value.training { " (training)" } else { "" };
        writeln!(
            out,
            "{}{training} at {}\n  station {}\n  queue: {} waiting{age}; head {}\n  key protection: {}",
            identity.station_name,
            identity.site.name,
            identity.station,
            state.queued,
            state.head.seq,
            identity.key_protection.as_str(),
        )
        .map_err(|error| Failure::output(&error))?;
    }
    Ok(ExitCode::SUCCESS)
}

fn describe(site: &Site, identity: &Identity, state: &QueueState) -> Value {
    json!({
        "enrolled": true,
        "tenant": identity.tenant,
        "site": identity.site,
        "station": identity.station,
        "station_name": identity.station_name,
        "training": identity.certificate.value.training,
        "root_fingerprint": identity.root_fingerprint,
        "key": identity.certificate.value.public_key.key_id(),
        "key_protection": identity.key_protection.as_str(),
        "server": site.server().ok(),
        "program": site.program(),
        "queue": {
            "head": state.head,
            "queued": state.queued,
            "oldest_wall": state.oldest_wall,
            "sent_through": state.sent_through,
            "settled_through": state.settled_through,
        },
        "reference": state.page.as_ref().map(|page| json!({"cursor": page.cursor, "hash": page.hash, "time": page.time})),
        "last_server_time": state.clock.server.as_ref().map(|server| server.time),
    })
}
