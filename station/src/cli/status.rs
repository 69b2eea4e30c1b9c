//! `lotgate status [--json]`: what the station is, how its queue stands, and how its agent gets on.

use super::site::Site;
use super::{Failure, language, print_json, system_clock, word};
use crate::retired::Retirement;
use lotgate_sync::clock::{Clock as _, ClockReading};
use lotgate_sync::queue::{Identity, QueueState, QueueView, set_aside_files};
use lotgate_sync::runner::{Shown, read_status};
use lotgate_sync::secure::{Places, Secure};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::io::Write;
use std::process::ExitCode;

pub(super) fn run(site: &Site, json: bool, out: &mut impl Write) -> Result<ExitCode, Failure> {
    let secure = Secure::view(site.places.clone())?;
    let view = QueueView::open(&secure)?;
    let (identity, state, reading) = (view.identity(), view.state()?, system_clock().read());
    let around = Around::of(&site.places, &state);
    if json {
        print_json(out, &describe(site, identity, &state, &around, &reading))?;
    } else {
        for line in lines(identity, &state, &around, &reading) {
            writeln!(out, "{line}").map_err(|error| Failure::output(&error))?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// What is known besides the queue.
struct Around {
    /// What the running agent shows.
    sync: Option<Shown>,
    alarms: BTreeSet<String>,
    set_aside: Vec<String>,
    retirement: Option<Retirement>,
}

impl Around {
    fn of(places: &Places, state: &QueueState) -> Self {
        let sync = running_sync(places);
        let mut alarms: BTreeSet<String> =
            state.alarms.iter().map(|alarm| alarm.as_str().to_owned()).collect();
        alarms.extend(sync.iter().flat_map(|sync| sync.alarms.iter().cloned()));
        Self {
            sync,
            alarms,
            set_aside: set_aside_files(places).unwrap_or_default(),
            retirement: Retirement::read(places).ok().flatten(),
        }
    }
}

/// What the running agent last showed; `None` where none runs, whatever an earlier one left.
pub(super) fn running_sync(places: &Places) -> Option<Shown> {
    let pid = running_agent(places)?;
    read_status(&places.data).ok().flatten().filter(|shown| shown.pid == pid)
}

/// The pid of the process that holds the queue, if it runs. Its lock is not tried: an agent that starts at
/// this moment would be refused.
pub(super) fn running_agent(places: &Places) -> Option<u32> {
    let text = places.storage.read(&places.data.join("lock.pid")).ok()?;
    let pid: u32 = String::from_utf8(text).ok()?.trim().parse().ok()?;
    let running = std::fs::read_link(std::path::Path::new("/proc").join(pid.to_string()).join("exe")).ok();
    running.filter(|program| std::env::current_exe().is_ok_and(|own| own == *program)).map(|_| pid)
}

fn lines(identity: &Identity, state: &QueueState, around: &Around, reading: &ClockReading) -> Vec<String> {
    let age = state
        .oldest_wall
        .map_or(String::new(), |oldest| format!(", oldest {} s old", reading.wall.ms_since(oldest) / 1000));
    let training = if identity.certificate.value.training { " (training)" } else { "" };
    let epoch = state.head.epoch.map_or(0, |epoch| epoch.n);
    let unconfirmed = if state.unconfirmed { ", unconfirmed" } else { "" };
    let mut lines = vec![
        format!("{}{training} at {}", identity.station_name, identity.site.name),
        format!("  station {}", identity.station),
        format!(
            "  queue: {} waiting{age}; head {} of epoch {epoch}{unconfirmed}",
            state.queued, state.head.seq
        ),
        format!(
            "  capacity: {} of {} ({})",
            state.capacity.queued,
            state.capacity.limit,
            word(&state.capacity.level)
        ),
        format!("  clock: {}", word(&state.clock.state(reading))),
        format!("  key protection: {}", identity.key_protection.as_str()),
    ];
    lines.push(match state.log.last {
        Some(mark) => format!("  log: generation {}, {} leaves verified", mark.generation, mark.head.size),
        None => "  log: no checkpoint yet".to_owned(),
    });
    lines.push(match &around.sync {
        Some(sync) => {
            let failure = sync
                .failure
                .as_deref()
                .map_or(String::new(), |code| format!(", {code}: {}", language().text(code)));
            let retry = sync.retry_at.map_or(String::new(), |at| format!("; next try {at}"));
            format!("  cloud: {}{failure}{retry}", word(&sync.link))
        }
        None => "  cloud: no agent runs".to_owned(),
    });
    lines.extend(around.set_aside.iter().map(|name| format!("  set aside: {name}")));
    lines.extend(around.alarms.iter().map(|code| format!("  ALARM {code}: {}", language().text(code))));
    if let Some(retirement) = &around.retirement {
        lines.push(format!("  {}: {}", retirement.code(), language().text(retirement.code())));
    }
    lines
}

fn describe(
    site: &Site,
    identity: &Identity,
    state: &QueueState,
    around: &Around,
    reading: &ClockReading,
) -> Value {
    let alarms: Vec<Value> =
        around.alarms.iter().map(|code| json!({"code": code, "text": language().text(code)})).collect();
    let offset = state.clock.trusted_now(reading).map(|now| reading.wall.ms_since(now));
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
            "capacity": state.capacity,
            "unconfirmed": state.unconfirmed,
            "set_aside": around.set_aside,
        },
        "log": state.log.last.map(|mark| json!({"generation": mark.generation, "head": mark.head})),
        "clock": {"state": state.clock.state(reading), "offset_ms": offset},
        "sync": around.sync,
        "alarms": alarms,
        "retirement": around.retirement,
        "reference": state.page.as_ref().map(|page| json!({"cursor": page.cursor, "hash": page.hash, "time": page.time})),
        "last_server_time": state.clock.server.as_ref().map(|server| server.time),
    })
}
