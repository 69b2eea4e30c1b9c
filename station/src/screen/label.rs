//! The label screen: the label as it is printed, and how far its print job has come (LBL-4).

use super::compose::{action, clock_time};
use super::known::{JobNow, Known, Works};
use super::{Action, Answer, JobStep, Label, Main, Place, Request, StepState, Text};
use crate::print::{Came, Doubt, Evidence, Standing};
use lotgate_devices::event::PrinterState;
use lotgate_domain::time::Timestamp;

pub(super) fn main(known: &Known, works: &Works) -> Main {
    let Some(now) = &works.job else { return super::scan::main(known, works) };
    let label = &now.job.label;
    let title = match label.copy {
        0 | 1 => Text::of("label_original"),
        copy => Text::of("label_copy").with("n", copy),
    };
    Main::Label(Label {
        preview: now.preview.clone(),
        size: Text::of("label_size"),
        words: now.words.clone(),
        printer: printer_name(works),
        title: title.with("serial", &label.serial),
        steps: steps(known, now),
        record: Text::of("label_record")
            .with("n", label.bytes)
            .with("hash", label.sha256.to_string().chars().take(8).collect::<String>()),
        behind: (now.behind > 0).then(|| Text::of("label_behind").with("n", now.behind)),
        answers: if now.asked { answers(now) } else { Vec::new() },
    })
}

pub(super) fn actions(works: &Works) -> Vec<Action> {
    let Some(now) = &works.job else { return Vec::new() };
    let job = now.job.id;
    let back = action(Place::Back, "chevron-left", "act_back", Some(Request::ShowScan));
    let devices = action(Place::Middle, "activity", "act_devices", Some(Request::ShowDevices));
    let waits = |key| action(Place::Waits, "printer", key, None);
    let scan = |key| action(Place::ScanSlot, "scan-barcode", key, None);
    match now.job.standing {
        Standing::Waiting if now.may_cancel => vec![
            devices,
            action(Place::Middle, "x", "act_cancel_print", Some(Request::CancelPrint { job })),
            waits("act_waits_printer"),
        ],
        Standing::Waiting => vec![devices, waits("act_waits_printer")],
        Standing::Sending | Standing::Sent => vec![devices, waits("act_printing")],
        Standing::Unknown(_) => vec![devices, action(Place::Waits, "hand", "act_answer_above", None)],
        Standing::Confirmed(_) | Standing::ResolvedPrinted(_) if now.job.is_read() => {
            vec![back, devices, scan("act_scan_lot")]
        }
        Standing::Confirmed(_) | Standing::ResolvedPrinted(_) if now.may_doubt => {
            let doubt = action(Place::Middle, "x", "act_doubt_label", Some(Request::DoubtLabel { job }));
            vec![back, devices, doubt, scan("act_scan_label")]
        }
        Standing::Confirmed(_) | Standing::ResolvedPrinted(_) => vec![back, devices, scan("act_scan_label")],
        Standing::NotPrinted(_) | Standing::Damaged if now.may_copy => {
            let again = Some(Request::PrintAgain { job });
            vec![back, devices, action(Place::Primary, "printer", "act_print_again", again)]
        }
        Standing::NotPrinted(_) | Standing::Damaged | Standing::Cancelled => {
            vec![back, devices, scan("act_scan_lot")]
        }
    }
}

/// Why the printer holds the label up. What the printer's state says of a label that waits is not so of one that has
/// left.
pub(super) fn held_up(standing: Standing, state: PrinterState) -> &'static str {
    match (standing, state) {
        (Standing::Sending | Standing::Sent, PrinterState::NotZpl) => "band_sent_not_zpl",
        _ => state.code(),
    }
}

pub(super) fn printer_name(works: &Works) -> String {
    works.printer.as_ref().map_or_else(String::new, |printer| {
        printer.name.clone().unwrap_or_else(|| printer.id.trim_start_matches("tcp:").to_owned())
    })
}

fn answers(now: &JobNow) -> Vec<Answer> {
    let answer = |key: &str, icon: &str, came| Answer {
        title: Text::of(&format!("answer_{key}")),
        sentence: Text::of(&format!("answer_{key}_next")),
        icon: icon.to_owned(),
        request: Request::Printed { job: now.job.id, came },
    };
    vec![
        answer("printed", "check", Came::One),
        answer("not_printed", "x", Came::Nothing),
        answer("damaged", "copy-x", Came::Damaged),
    ]
}

fn steps(known: &Known, now: &JobNow) -> Vec<JobStep> {
    let job = &now.job;
    let reached = |wanted: fn(&Standing) -> bool| {
        let at = job.reached.iter().rev().find(|(standing, _)| wanted(standing)).map(|(_, at)| *at);
        at.map(|at| clock_time(at, &known.zone))
    };
    let step = |key: &str, sentence: Text, at: Option<String>, state| JobStep {
        title: Text::of(key),
        sentence,
        at,
        state,
    };
    let held_up = now.blocked.map(|state| held_up(job.standing, state));
    let queued = reached(|standing| *standing == Standing::Waiting);
    let first = match (job.standing, held_up) {
        (Standing::Waiting, Some(why)) => step("job_queued", Text::of(why), queued, StepState::Fault),
        (Standing::Waiting, None) => step("job_queued", Text::of("job_queued_is"), queued, StepState::Now),
        _ => step("job_queued", Text::of("job_queued_is"), queued, StepState::Done),
    };
    let at_sending = reached(|standing| *standing == Standing::Sending);
    let partly = job.reached.iter().any(|(standing, _)| *standing == Standing::Unknown(Doubt::PartlySent));
    // Only what is recorded as handed over is called sent: an end says nothing of the bytes.
    let sent = match (job.standing, reached(|standing| *standing == Standing::Sent)) {
        (_, Some(at)) => step("job_sent", Text::of("job_sent_is"), Some(at), StepState::Done),
        (Standing::Sending, None) => match held_up {
            Some(why) => step("job_sent", Text::of(why), at_sending, StepState::Fault),
            None => step("job_sent", Text::of("job_sent_now"), at_sending, StepState::Now),
        },
        (Standing::Waiting | Standing::Cancelled | Standing::NotPrinted(Evidence::NothingWritten), None) => {
            step("job_sent", Text::of("job_sent_open"), None, StepState::Open)
        }
        (_, None) if partly => step("job_sent", Text::of("job_sent_part"), None, StepState::Open),
        (_, None) => step("job_sent", Text::of("job_sent_unknown"), None, StepState::Open),
    };
    // A label that was read after it was known to be printed keeps the line that says by whom it was known.
    let ended = match job.reached.as_slice() {
        [.., before @ (Standing::Confirmed(_) | Standing::ResolvedPrinted(_), _), _] if job.is_read() => {
            Some(before)
        }
        reached => reached.last(),
    };
    let (standing, shown_at) = ended.map_or((job.standing, None), |(standing, at)| (*standing, Some(*at)));
    let (key, sentence, state) = match standing {
        Standing::Confirmed(Evidence::VerifyScan) | Standing::ResolvedPrinted(Evidence::VerifyScan) => {
            ("job_printed", "job_printed_scan", StepState::Done)
        }
        Standing::Confirmed(_) => ("job_printed", "job_printed_status", StepState::Done),
        Standing::ResolvedPrinted(_) => ("job_printed", "job_printed_person", StepState::Done),
        Standing::NotPrinted(Evidence::NothingWritten) => {
            ("job_not_printed", "job_not_printed_nothing", StepState::Fault)
        }
        Standing::NotPrinted(_) => ("job_not_printed", "job_not_printed_person", StepState::Fault),
        Standing::Damaged => ("job_not_good", "job_not_printed_damaged", StepState::Fault),
        Standing::Unknown(doubt) => ("job_unknown", doubt.text(), StepState::NeedsYou),
        Standing::Cancelled => ("job_cancelled", "job_cancelled_is", StepState::Done),
        Standing::Sent => match held_up {
            Some(why) => ("job_printed", why, StepState::Fault),
            None => ("job_printed", "job_printed_open", StepState::Now),
        },
        Standing::Waiting | Standing::Sending => ("job_printed", "job_printed_open", StepState::Open),
    };
    let at_clock = |at: Timestamp| clock_time(at, &known.zone);
    let shown_at = shown_at.filter(|_| !standing.is_open()).map(at_clock);
    let printed = step(key, Text::of(sentence), shown_at, state);
    let is_printed = matches!(job.standing, Standing::Confirmed(_) | Standing::ResolvedPrinted(_));
    let scan = match (job.is_read(), is_printed) {
        (true, _) => {
            let read_at = job.reached.last().map(|(_, at)| at_clock(*at));
            step("job_read", Text::of("job_read_is"), read_at, StepState::Done)
        }
        (false, true) => step("job_read", Text::of("job_read_now"), None, StepState::Now),
        (false, false) => step("job_read", Text::of("job_read_open"), None, StepState::Open),
    };
    vec![first, sent, printed, scan]
}
