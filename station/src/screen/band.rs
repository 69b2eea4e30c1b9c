//! The band: the one place where the station speaks (RULES.md, States). What happened last stays until the next act.

use super::compose::{clock_time, is_away, page};
use super::known::{Act, DEMO_TRAY, DeviceNow, EnrolNow, JobNow, Known, Page, Phase, ScanAct, Works};
use super::{Band, BandState, Echo, ScreenLanguage, Text, label, scan};
use crate::print::{Evidence, Standing};
use lotgate_devices::event::{DeviceState, PrinterState};
use lotgate_domain::operation::Clock;
use lotgate_domain::text::Language;
use lotgate_domain::time::Timestamp;
use lotgate_sync::engine::status::Link;

/// What fits the echo; a longer code is in the record whole, and its end is what tells codes apart.
const ECHO: usize = 26;

pub(super) fn compose(known: &Known) -> Band {
    let said = match &known.phase {
        Phase::Starting => Said::asks("band_starting", "band_starting_why"),
        Phase::Fault(fault) => Said::new(
            BandState::Fault,
            Text::of("band_fault"),
            Text::of("band_fault_what"),
        )
        .since(known, fault.since, what_follows(fault.code)),
        Phase::Enrol(enrol) => enrol_said(known, enrol),
        Phase::Works(works) => works_said(known, works),
    };
    let Said { state, title, sentence, echo } = said;
    Band { state, sound: known.sound, title, sentence, echo }
}

struct Said {
    state: BandState,
    title: Text,
    sentence: Text,
    echo: Option<Echo>,
}

impl Said {
    const fn new(state: BandState, title: Text, sentence: Text) -> Self {
        Self { state, title, sentence, echo: None }
    }

    fn asks(title: &str, sentence: &str) -> Self {
        Self::new(BandState::Asks, Text::of(title), Text::of(sentence))
    }

    fn fault(title: Text, code: &str) -> Self {
        Self::new(BandState::Fault, title, Text::of(code))
    }

    fn since(self, known: &Known, at: Timestamp, detail: &str) -> Self {
        let code = clock_time(at, &known.zone);
        Self { echo: Some(Echo { label: Text::of("echo_since"), code, detail: Text::of(detail) }), ..self }
    }
}

/// What becomes of a station that cannot work, if nobody touches it.
fn what_follows(code: &str) -> &'static str {
    match code {
        "station_retired" => "band_retired",
        code if code.starts_with("config_") => "band_until_corrected",
        _ => "band_call_it",
    }
}

fn enrol_said(known: &Known, enrol: &EnrolNow) -> Said {
    match &known.act {
        _ if enrol.working => Said::asks("band_enrolling", "band_enrolling_why"),
        Act::EnrolFailed { code, at } => {
            Said::fault(Text::of("band_enrol_failed"), code).since(known, *at, "band_nothing_changed")
        }
        Act::NoToken { at } => {
            let said =
                Said::new(BandState::Refused, Text::of("band_no_token"), Text::of("band_no_token_why"));
            said.since(known, *at, "band_nothing_changed")
        }
        Act::DeviceFault { id, code, at } => {
            let said = device_fault(name(known, &enrol.devices, id), code);
            said.since(known, *at, "band_nothing_changed")
        }
        _ if enrol.fingerprint.is_some() => {
            Said::new(BandState::NeedsYou, Text::of("band_token_whole"), Text::of("band_token_whole_why"))
        }
        _ => Said::asks("band_enrol", "band_enrol_why"),
    }
}

fn works_said(known: &Known, works: &Works) -> Said {
    if let Some(reason) = works.queue.stopped {
        return Said::fault(Text::of("band_stopped"), reason.code());
    }
    match &known.act {
        Act::Scan(scan) => scan_said(known, works, scan),
        Act::LabelRead(scan) => Said {
            echo: Some(read(known, works, scan)),
            ..Said::new(BandState::Accepted, Text::of("band_label_read"), Text::of("band_label_read_why"))
        },
        // The queue itself tells at the next start; until then nobody may say that nothing was stored.
        Act::NotKept { code: code @ "unknown_outcome", at } => {
            Said::fault(Text::of("band_outcome_unknown"), code).since(known, *at, "band_maybe_stored")
        }
        Act::NotKept { code, at } => {
            Said::fault(Text::of("band_not_kept"), code).since(known, *at, "band_nothing_stored")
        }
        Act::DeviceAway { id, code, at } => {
            let title = Text::of("band_device_away").with("device", name(known, &works.devices, id));
            Said::fault(title, code).since(known, *at, besides(works, id))
        }
        Act::DeviceFault { id, code, at } => {
            let said = device_fault(name(known, &works.devices, id), code);
            said.since(known, *at, besides(works, id))
        }
        Act::NoLabel { code, at } => {
            let said = Said::new(BandState::Refused, Text::of("band_no_label"), Text::of(code));
            said.since(known, *at, "band_nothing_printed")
        }
        Act::Gone { at } => {
            let said = Said::new(BandState::Refused, Text::of("band_act_gone"), Text::of("act_gone"));
            said.since(known, *at, "band_nothing_changed")
        }
        Act::Job => match &works.job {
            Some(job) => job_said(known, works, job),
            None => standing(known, works),
        },
        Act::None | Act::TokenRead | Act::NoToken { .. } | Act::EnrolFailed { .. } => standing(known, works),
        Act::Enrolled => Said {
            echo: None,
            ..Said::new(BandState::Accepted, Text::of("band_enrolled"), Text::of("band_enrolled_why"))
        },
    }
}

/// What is so without anything having happened.
fn standing(known: &Known, works: &Works) -> Said {
    if let Some(job) = works.job.as_ref().filter(|job| job.asked || page(known, works) == Page::Label) {
        return job_said(known, works, job);
    }
    if works.sync.engine.link == Link::OwnQueueFault {
        return Said::fault(Text::of("band_own_queue"), "own_queue_fault");
    }
    if let Some(device) = works.devices.iter().find(|device| is_broken(device)) {
        let title = Text::of("band_device_away").with("device", name(known, &works.devices, &device.id));
        return Said::fault(title, device.state.code());
    }
    if works.clock == Clock::RolledBack {
        return Said::fault(Text::of("band_clock"), "band_clock_why");
    }
    if works.reference.is_none() {
        let why = if is_away(works.sync.engine.link) { "no_reference_data" } else { "band_loading_why" };
        return Said::asks("band_loading", why);
    }
    if page(known, works) == Page::Devices {
        return Said::asks("band_devices", "band_devices_why");
    }
    Said::asks("band_scan", "band_scan_why")
}

const fn is_broken(device: &DeviceNow) -> bool {
    !matches!(device.state, DeviceState::Ready | DeviceState::Opening)
}

/// Whether anything fails besides that scanner.
fn besides(works: &Works, id: &str) -> &'static str {
    let scanner = works.devices.iter().any(|device| device.id != id && is_broken(device));
    let printer = works.printer.as_ref().is_some_and(|printer| {
        !matches!(printer.state, PrinterState::Ready | PrinterState::Opening | PrinterState::Busy)
    });
    let own = works.clock == Clock::RolledBack || !works.alarms().is_empty();
    if scanner || printer || own || is_away(works.sync.engine.link) {
        "band_more_fails"
    } else {
        "band_others_work"
    }
}

fn device_fault(device: String, code: &str) -> Said {
    let title = match code {
        // It only comes too fast: none is lost.
        "overrun" => "band_device_waits",
        _ => "band_device_fault",
    };
    Said::fault(Text::of(title).with("device", device), code)
}

/// What a person calls the device.
fn name(known: &Known, devices: &[DeviceNow], id: &str) -> String {
    let language = Language::from(known.language);
    let named = |device: &DeviceNow| {
        let nameless = || language.text("dev_scanner").replace("{n}", &device.number.to_string());
        device.name.clone().unwrap_or_else(nameless)
    };
    let other = || if id == DEMO_TRAY { language.text("dev_demo_tray").to_owned() } else { id.to_owned() };
    devices.iter().find(|device| device.id == id).map_or_else(other, named)
}

fn scan_said(known: &Known, works: &Works, act: &ScanAct) -> Said {
    let lot = act.lot.clone().unwrap_or_default();
    let snapshot = works.reference.as_ref().map(|reference| &*reference.snapshot);
    let item = act.item.as_ref().map(|item| match snapshot {
        Some(snapshot) => scan::item_name(snapshot, item),
        None => item.clone(),
    });
    let said = match act.refusal {
        None => Said::new(
            BandState::Accepted,
            Text::of("band_accepted").with("lot", lot),
            Text::of("band_accepted_why").with("item", item.unwrap_or_default()),
        ),
        Some(code) => {
            let title = match code {
                "lot_held" | "lot_quarantined" | "lot_rejected" | "lot_expired" | "expiry_mismatch" => {
                    format!("band_refused_{code}")
                }
                "unknown_lot" | "no_reference_data" | "ambiguous" => format!("band_refused_{code}"),
                _ => "band_refused_code".to_owned(),
            };
            Said::new(BandState::Refused, Text::of(&title).with("lot", lot), Text::of(code))
        }
    };
    Said { echo: Some(read(known, works, act)), ..said }
}

fn read(known: &Known, works: &Works, act: &ScanAct) -> Echo {
    let time = clock_time(act.at, &known.zone);
    let key = if act.repeats > 0 { "echo_read_again" } else { "echo_read" };
    let device = name(known, &works.devices, &act.device);
    let symbology = symbology(known.language, &act.symbology);
    let detail = if symbology.is_empty() { Text::of("echo_detail_plain") } else { Text::of("echo_detail") };
    Echo {
        label: Text::of(key).with("n", act.repeats.saturating_add(1)),
        code: shown(act.lot.as_deref().unwrap_or(&act.text)),
        detail: detail.with("symbology", symbology).with("device", device).with("time", time),
    }
}

/// Control characters as their symbols; of a long code its end, with a sign that something stands before it.
fn shown(text: &str) -> String {
    let visible: Vec<char> = text
        .chars()
        .map(|c| match u32::from(c) {
            code @ 0..=0x1f => char::from_u32(0x2400 + code).unwrap_or('\u{fffd}'),
            0x7f => '\u{2421}',
            _ => c,
        })
        .collect();
    match visible.len().checked_sub(ECHO) {
        None | Some(0) => visible.into_iter().collect(),
        Some(over) => std::iter::once('\u{2039}').chain(visible.into_iter().skip(over + 1)).collect(),
    }
}

/// The trade's name, which is nearly always the same in every language.
fn symbology(language: ScreenLanguage, code: &str) -> &'static str {
    match code {
        "gs1_128" => "GS1-128",
        "gs1_databar" => "GS1 DataBar",
        "gs1_datamatrix" => "GS1 DataMatrix",
        "gs1_qr" => "GS1 QR",
        "gs1_dotcode" => "GS1 DotCode",
        "ean13" => "EAN-13",
        "ean8" => "EAN-8",
        "ean_add_on" => Language::from(language).text("echo_ean_add_on"),
        "itf_checked" | "itf" => "ITF",
        "code_128" => "Code 128",
        "code_39" => "Code 39",
        "code_93" => "Code 93",
        "codabar" => "Codabar",
        "datamatrix" => "DataMatrix",
        "qr" => "QR",
        "dotcode" => "DotCode",
        "pdf_417" => "PDF417",
        "aztec" => "Aztec",
        "maxicode" => "MaxiCode",
        _ => "",
    }
}

fn job_said(known: &Known, works: &Works, now: &JobNow) -> Said {
    let job = &now.job;
    let echo = |at: Option<Timestamp>| Echo {
        label: Text::of("echo_label"),
        code: job.label.serial.clone(),
        detail: Text::of("echo_label_detail")
            .with("printer", label::printer_name(works))
            .with("time", at.map_or_else(String::new, |at| clock_time(at, &known.zone))),
    };
    let last = job.reached.last().map(|(_, at)| *at);
    let said = match (job.standing, now.blocked) {
        (Standing::Unknown(doubt), _) => {
            Said::new(BandState::NeedsYou, Text::of("band_label_unknown"), Text::of(doubt.text()))
        }
        (Standing::Waiting | Standing::Sending | Standing::Sent, Some(state)) => {
            let needs_you = matches!(
                state,
                PrinterState::PaperOut
                    | PrinterState::RibbonOut
                    | PrinterState::HeadOpen
                    | PrinterState::Paused
            );
            let kind = if needs_you { BandState::NeedsYou } else { BandState::Fault };
            let title = match (needs_you, job.standing) {
                (true, _) => "band_printer_held",
                (false, Standing::Waiting) => "band_printer_fails",
                // It has left, at least in part.
                (false, _) => "band_printer_look",
            };
            Said::new(kind, Text::of(title), Text::of(label::held_up(job.standing, state)))
        }
        (Standing::Waiting, None) => Said::asks("band_label_waits", "band_label_waits_why"),
        (Standing::Sending | Standing::Sent, None) => {
            Said::asks("band_label_prints", "band_label_prints_why")
        }
        (Standing::Confirmed(Evidence::VerifyScan) | Standing::ResolvedPrinted(Evidence::VerifyScan), _) => {
            Said::new(BandState::Accepted, Text::of("band_label_read"), Text::of("band_label_read_why"))
        }
        (Standing::Confirmed(_) | Standing::ResolvedPrinted(_), _) => {
            Said::asks("band_label_stick", "band_label_stick_why")
        }
        (Standing::NotPrinted(_), _) if !now.may_copy => {
            Said::asks("band_label_copied", "band_label_copied_why")
        }
        (Standing::Damaged, _) if !now.may_copy => {
            Said::new(BandState::NeedsYou, Text::of("band_label_copied"), Text::of("band_label_destroy_this"))
        }
        (Standing::NotPrinted(Evidence::NothingWritten), _) => {
            Said::fault(Text::of("band_label_failed"), "job_not_printed_nothing")
        }
        (Standing::NotPrinted(_), _) => {
            Said::new(BandState::NeedsYou, Text::of("band_label_not_printed"), Text::of("band_label_again"))
        }
        (Standing::Damaged, _) => {
            Said::new(BandState::NeedsYou, Text::of("band_label_not_printed"), Text::of("band_label_destroy"))
        }
        (Standing::Cancelled, _) => Said::asks("band_label_cancelled", "job_cancelled_is"),
    };
    Said { echo: Some(echo(last)), ..said }
}
