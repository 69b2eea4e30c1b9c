//! From what is known to one screen: a pure function, so that every screen can be made, seen and tested without a
//! station.

use super::known::{EnrolNow, FaultNow, Known, Page, Phase, Works};
use super::{
    Action, Alarm, Enrol, FaultView, Main, Offline, Place, Request, Screen, ScreenLanguage, Text, Top, band,
    devices, label, scan,
};
use jiff::tz::TimeZone;
use lotgate_domain::time::Timestamp;
use lotgate_sync::engine::status::Link;

const SECOND_MS: u64 = 1_000;
const MINUTE_MS: u64 = 60 * SECOND_MS;
const HOUR_MS: u64 = 60 * MINUTE_MS;
const DAY_MS: u64 = 24 * HOUR_MS;

/// Composes the screen. Its revision is 0; whoever shows it numbers it.
#[must_use]
pub fn compose(known: &Known) -> Screen {
    let works = match &known.phase {
        Phase::Works(works) => Some(&**works),
        Phase::Starting | Phase::Enrol(_) | Phase::Fault(_) => None,
    };
    let (main, actions) = match &known.phase {
        Phase::Starting => (Main::Starting, Vec::new()),
        Phase::Enrol(enrol) => (enrol_main(enrol), enrol_actions(known, enrol)),
        Phase::Fault(fault) => (fault_main(fault), fault_actions(known)),
        Phase::Works(works) => match page(known, works) {
            Page::Scan => (scan::main(known, works), scan::actions(known, works)),
            Page::Label => (label::main(known, works), label::actions(works)),
            Page::Devices => (devices::main(known, works), devices::actions(known, works)),
        },
    };
    Screen {
        revision: 0,
        language: known.language,
        top: top(known, works),
        offline: works.and_then(|works| offline(known, works)),
        band: band::compose(known),
        main,
        actions,
        alarm: alarm(known, works),
        demo: works.map(|works| works.demo.clone()).unwrap_or_default(),
    }
}

/// Words of what needs a person, what presses most first.
const ALARMS: [(&str, &[&str]); 9] = [
    ("alarm_disk_full", &["disk_full"]),
    ("alarm_queue_full", &["queue_full"]),
    (CALL_IT, &[]),
    ("alarm_revoked", &["revoked"]),
    ("alarm_set_aside", &["queue_set_aside"]),
    ("alarm_disk_low", &["disk_very_low", "disk_low"]),
    ("alarm_queue_filling", &["queue_nearly_full", "queue_filling"]),
    ("alarm_unconfirmed", &["epoch_unconfirmed"]),
    ("alarm_cloud_restored", &["log_recovered"]),
];
/// The word of every other: a contradiction of the cloud, a fault of the queue.
const CALL_IT: &str = "alarm_call_it";

fn alarm(known: &Known, works: Option<&Works>) -> Alarm {
    let all = works.map(Works::alarms).unwrap_or_default();
    let place = |code: &str| {
        let named = ALARMS.iter().position(|(_, codes)| codes.contains(&code));
        named.or_else(|| ALARMS.iter().position(|(word, _)| *word == CALL_IT))
    };
    let first = all.iter().filter_map(|code| place(code)).min().and_then(|place| ALARMS.get(place));
    Alarm {
        word: first.map(|(word, _)| Text::of(word)),
        more: u32::try_from(all.len().saturating_sub(1)).unwrap_or(u32::MAX),
        sound: known.alarm_sound,
    }
}

/// An open question about a label comes before scanning, since nothing is printed until it is answered.
pub(super) fn page(known: &Known, works: &Works) -> Page {
    match known.page {
        Page::Scan if works.job.as_ref().is_some_and(|job| job.asked) => Page::Label,
        Page::Label if works.job.is_none() => Page::Scan,
        page => page,
    }
}

fn top(known: &Known, works: Option<&Works>) -> Top {
    let local = known.now.local(&known.zone);
    let simulated = works.is_some_and(|works| {
        works.devices.iter().any(|device| device.simulated)
            || works.printer.as_ref().is_some_and(|printer| printer.simulated)
    });
    let link = works.map(|works| works.sync.engine.link);
    Top {
        station: works.map(|works| works.station.clone()),
        site: works.map(|works| works.site.clone()),
        training: works.is_some_and(|works| works.training),
        simulated,
        date: local.date.to_string(),
        time: minutes(&local.time),
        zone: local.zone,
        network: Text::of(link.map_or("net_none", net_key)),
        offline: link.is_some_and(is_away),
        waiting: works.map_or(0, |works| works.queue.queued),
        oldest: works.and_then(|works| {
            let oldest = works.queue.oldest_wall.filter(|_| works.queue.queued > 0)?;
            Some(age(u64::try_from(known.now.ms_since(oldest)).unwrap_or(0)))
        }),
    }
}

pub(super) const fn net_key(link: Link) -> &'static str {
    match link {
        Link::Online => "net_online",
        Link::Connecting => "net_connecting",
        Link::Paused => "net_paused",
        Link::Offline | Link::Unreachable => "net_offline",
        Link::Unauthorised | Link::RequestRefused | Link::ServerInconsistent | Link::OwnQueueFault => {
            "net_trouble"
        }
    }
}

/// The cloud cannot be reached, or does not take what is sent.
pub(crate) const fn is_away(link: Link) -> bool {
    !matches!(link, Link::Online | Link::Connecting)
}

fn offline(known: &Known, works: &Works) -> Option<Offline> {
    let link = works.sync.engine.link;
    if !is_away(link) {
        return None;
    }
    let since = works.away_since.unwrap_or(known.now);
    let key = match link {
        Link::Paused => "offline_paused_since",
        Link::Offline | Link::Unreachable => "offline_since",
        _ => "offline_trouble_since",
    };
    let can = if works.printer.is_some() { "offline_works_print" } else { "offline_works" };
    let (safe, can, todo) = match link {
        Link::Offline | Link::Unreachable | Link::Paused => ("offline_safe", can, "offline_todo"),
        // Nothing is known of what it holds, so nobody may be told to go on.
        Link::OwnQueueFault => ("offline_waiting", "offline_works_not", "offline_todo_stop"),
        _ => ("offline_safe", can, "offline_todo_it"),
    };
    Some(Offline {
        since: Text::of(key).with("time", since_when(known, since)),
        safe: Text::of(safe).with("n", works.queue.queued),
        works: Text::of(can),
        todo: Text::of(todo),
    })
}

/// The time of today, with its date from yesterday on.
pub(super) fn since_when(known: &Known, at: Timestamp) -> String {
    let (then, today) = (at.local(&known.zone), known.now.local(&known.zone).date);
    let time = minutes(&then.time);
    if then.date == today { time } else { format!("{time}, {}", then.date) }
}

/// The same as a text, in which every language writes the date in its own way.
pub(super) fn when(known: &Known, at: Timestamp) -> Text {
    Text::of("plain").with("time", since_when(known, at))
}

/// `HH:MM` of `HH:MM:SS`.
fn minutes(time: &str) -> String {
    time.chars().take(5).collect()
}

/// `HH:MM:SS` at the site.
pub(super) fn clock_time(at: Timestamp, zone: &TimeZone) -> String {
    at.local(zone).time
}

/// A duration in the largest unit that is not nought.
pub(super) fn age(ms: u64) -> Text {
    let (key, unit) = match ms {
        DAY_MS.. => ("age_d", DAY_MS),
        HOUR_MS.. => ("age_h", HOUR_MS),
        MINUTE_MS.. => ("age_min", MINUTE_MS),
        _ => ("age_s", SECOND_MS),
    };
    Text::of(key).with("n", ms / unit)
}

pub(super) fn action(place: Place, icon: &str, key: &str, request: Option<Request>) -> Action {
    Action { label: Text::of(key), icon: icon.to_owned(), place, request }
}

/// The language that the screen has not.
pub(super) fn language_action(known: &Known) -> Action {
    let (key, language) = match known.language {
        ScreenLanguage::En => ("act_german", ScreenLanguage::De),
        ScreenLanguage::De => ("act_english", ScreenLanguage::En),
    };
    action(Place::Middle, "languages", key, Some(Request::Language { language }))
}

fn enrol_main(enrol: &EnrolNow) -> Main {
    Main::Enrol(Enrol {
        server: enrol.server.clone(),
        typed: u32::try_from(enrol.typed).unwrap_or(u32::MAX),
        fingerprint: enrol.fingerprint.clone(),
        working: enrol.working,
        keyboard: enrol.keyboard,
    })
}

fn enrol_actions(known: &Known, enrol: &EnrolNow) -> Vec<Action> {
    let mut actions = Vec::new();
    if enrol.keyboard {
        let close = Some(Request::Keyboard { open: false });
        actions.push(action(Place::Back, "chevron-left", "act_back", close));
    }
    actions.push(language_action(known));
    if enrol.typed > 0 && !enrol.working {
        actions.push(action(Place::Middle, "x", "act_discard_token", Some(Request::Discard)));
    }
    if !enrol.keyboard && !enrol.working {
        let open = Some(Request::Keyboard { open: true });
        actions.push(action(Place::Middle, "keyboard", "act_keyboard", open));
    }
    actions.push(match (enrol.working, &enrol.fingerprint) {
        (true, _) => action(Place::Waits, "cloud", "act_enrolling", None),
        (false, Some(_)) => action(Place::Primary, "check", "act_enrol", Some(Request::Enrol)),
        (false, None) => action(Place::ScanSlot, "scan-barcode", "act_scan_token", None),
    });
    actions
}

fn fault_main(fault: &FaultNow) -> Main {
    Main::Fault(FaultView {
        code: fault.code.to_owned(),
        sentence: Text::of(fault.code),
        detail: fault.detail.clone(),
        safe: Text::of("fault_safe"),
    })
}

fn fault_actions(known: &Known) -> Vec<Action> {
    vec![language_action(known), action(Place::Primary, "rotate-cw", "act_restart", Some(Request::Restart))]
}
