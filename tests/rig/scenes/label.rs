//! A label and its print job: real bytes, a real picture of them, and the station's own job machine.

use super::scan::accepted;
use super::site::{Values, ago, now};
use super::{Scene, scene};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use lotgate_devices::event::{Job, PrinterEvent, PrinterState, Written};
use lotgate_domain::ids::{Hash, OperationId};
use lotgate_domain::label::{ContainerLabel, TEMPLATE};
use lotgate_domain::operation::body::{Body, Device, Element, JobState, LabelQueued, LabelState};
use lotgate_domain::text::Language;
use lotgate_station::preview;
use lotgate_station::print::{Input, Jobs};
use lotgate_station::screen::{Act, JobNow, Known, Page, Works};
use lotgate_sync::engine::status::Link;
use lotgate_sync::queue::QueueAlarm;

const PRINTER: &str = "tcp:10.20.4.31:9100";
const JOB: OperationId = OperationId(uuid::Uuid::from_u128(0x0198_0000_0000_7000_8000_0000_0000_0001));

/// What happens to the job, in order.
enum Step {
    /// An operation is durable.
    State(JobState, Option<&'static str>, Option<&'static str>),
    /// The printer says something.
    Printer(PrinterEvent),
}

fn state(state: JobState) -> Step {
    Step::State(state, None, None)
}

fn printer(state: PrinterState) -> Step {
    Step::Printer(PrinterEvent::State(state))
}

fn shown(values: &Values, copy: u64, steps: &[Step]) -> JobNow {
    let scan = accepted(values);
    let label = ContainerLabel {
        item: "RM-1042".to_owned(),
        name: values.item.to_owned(),
        gtin: crate::plant::GTIN.to_owned(),
        lot: values.lot(7),
        expiry: "2027-09-30".parse().ok(),
        serial: "7Q4M9Z2K1XW5C".to_owned(),
        station: values.station.to_owned(),
        made: "23 Nov 2026 14:07 CET".to_owned(),
        copy,
        training: copy > 1,
        language: Language::En,
    };
    let compiled = label.compile().expect("the label's values fit");
    let queued = LabelQueued {
        printer: Device {
            role: "printer".to_owned(),
            transport: "tcp".to_owned(),
            id: PRINTER.to_owned(),
            simulated: false,
        },
        template: TEMPLATE.to_owned(),
        language: "en".to_owned(),
        scan: scan.id,
        item: label.item,
        lot: label.lot,
        snapshot_lot: scan.snapshot_lot.expect("the lot is known"),
        serial: label.serial,
        copy,
        of: (copy > 1).then_some(OperationId(uuid::Uuid::from_u128(9))),
        elements: compiled.elements.iter().map(element).collect(),
        sha256: Hash::of(&compiled.zpl),
        bytes: compiled.zpl.len() as u64,
    };
    let mut jobs = Jobs::new(Some(PRINTER.to_owned()));
    jobs.start(0);
    jobs.handle(Input::Printer(PrinterEvent::State(PrinterState::Ready)), 0);
    jobs.handle(Input::Committed { id: JOB, at: ago(30), body: &Body::LabelQueued(queued) }, 0);
    for (second, step) in (1i64..).zip(steps) {
        match step {
            Step::State(state, evidence, cause) => {
                let body = Body::LabelState(LabelState {
                    job: JOB,
                    state: *state,
                    evidence: evidence.map(str::to_owned),
                    cause: cause.map(str::to_owned),
                });
                let id = OperationId(uuid::Uuid::from_u128(100 + u128::from(second.unsigned_abs())));
                jobs.handle(
                    Input::Committed { id, at: now().plus_ms((second - 29) * 1_000), body: &body },
                    0,
                );
            }
            Step::Printer(event) => drop(jobs.handle(Input::Printer(*event), 0)),
        }
    }
    let picture = preview::png(&compiled.zpl).expect("the label can be drawn");
    JobNow {
        job: jobs.get(JOB).expect("the job is there").clone(),
        asked: jobs.question().is_some_and(|job| job.id == JOB),
        blocked: jobs.blocked(),
        may_cancel: jobs.may_cancel() == Some(JOB),
        may_copy: jobs.copy_of(JOB).is_some(),
        may_doubt: jobs.may_doubt(JOB),
        behind: jobs.behind(JOB),
        preview: STANDARD.encode(picture),
        words: compiled.words,
    }
}

fn element(element: &lotgate_domain::barcode::Element) -> Element {
    Element { ai: element.ai.to_string(), value: element.value.to_string() }
}

pub(super) fn scenes(values: &Values) -> Vec<Scene> {
    use JobState::{Cancelled, Confirmed, ResolvedNotPrinted, ResolvedPrinted, Sending, Sent, Unknown};
    let prepared = || Step::Printer(PrinterEvent::Prepared(Job(JOB.0.as_u128())));
    let written = || Step::Printer(PrinterEvent::Written(Job(JOB.0.as_u128()), Written::All));
    let sending = || vec![prepared(), state(Sending)];
    let sent = || vec![prepared(), state(Sending), written(), state(Sent)];
    let with = |mut steps: Vec<Step>, more: Vec<Step>| {
        steps.extend(more);
        steps
    };
    let doubt = |cause| Step::State(Unknown, None, Some(cause));
    let unknown = |cause| with(sent(), vec![doubt(cause)]);
    let partly = || with(sending(), vec![doubt("partly_sent")]);
    let answer = |state, cause| Step::State(state, Some("operator"), cause);
    let answered = |state| with(unknown("printer_silent"), vec![answer(state, None)]);
    let evidence = |how| with(sent(), vec![Step::State(Confirmed, Some(how), None)]);
    let doubted = || with(evidence("status_transition"), vec![doubt("operator_doubts")]);
    let ways: Vec<(&str, u64, Vec<Step>)> = vec![
        ("label-waits", 1, Vec::new()),
        ("label-paper-out", 1, vec![printer(PrinterState::PaperOut)]),
        ("label-unreachable", 1, vec![printer(PrinterState::Unreachable)]),
        ("label-sending", 1, sending()),
        ("label-sent", 1, sent()),
        ("label-busy", 1, with(sent(), vec![printer(PrinterState::Busy)])),
        ("label-silent", 1, with(sent(), vec![printer(PrinterState::Silent)])),
        ("label-hot", 1, with(sent(), vec![printer(PrinterState::Temperature)])),
        ("label-no-printer-any-more", 1, with(sent(), vec![printer(PrinterState::NotZpl)])),
        ("label-roll-ends", 1, with(sent(), vec![printer(PrinterState::PaperOut)])),
        ("label-confirmed", 1, evidence("status_transition")),
        ("label-read", 1, evidence("verify_scan")),
        ("label-unknown-silent", 1, unknown("printer_silent")),
        ("label-unknown-stopped", 2, unknown("station_stopped")),
        ("label-unknown-partly", 1, partly()),
        ("label-unknown-lost", 1, with(sending(), vec![doubt("connection_lost")])),
        ("label-unknown-record", 1, vec![doubt("record_incomplete")]),
        ("label-unknown-doubted", 1, doubted()),
        ("label-answered-printed", 1, answered(ResolvedPrinted)),
        ("label-answered-not-printed", 1, answered(ResolvedNotPrinted)),
        ("label-answered-damaged", 1, with(doubted(), vec![answer(ResolvedNotPrinted, Some("damaged"))])),
        ("label-answered-partly", 1, with(partly(), vec![answer(ResolvedNotPrinted, None)])),
        (
            "label-answered-lost",
            1,
            with(sending(), vec![doubt("connection_lost"), answer(ResolvedPrinted, None)]),
        ),
        (
            "label-nothing-left",
            1,
            vec![prepared(), state(Sending), Step::State(ResolvedNotPrinted, Some("nothing_written"), None)],
        ),
        ("label-cancelled", 1, vec![state(Cancelled)]),
    ];
    let known = |job: JobNow, change: &dyn Fn(&mut Works)| -> Known {
        let mut known = values.known_with(|works| {
            works.job = Some(job);
            change(works);
        });
        (known.page, known.act, known.sound) = (Page::Label, Act::Job, 2);
        known
    };
    let mut scenes: Vec<Scene> = ways
        .iter()
        .map(|(name, copy, steps)| scene(name, values.suffix, &known(shown(values, *copy, steps), &|_| ())))
        .collect();
    let offline = known(shown(values, 1, &unknown("printer_silent")), &|works| {
        values.demonstration(works);
        values.offline(works, Link::Offline);
    });
    scenes.push(scene("label-unknown-demonstration-offline", values.suffix, &offline));
    let behind = |steps: &[Step], change: &dyn Fn(&mut Works)| {
        known(JobNow { behind: 2, ..shown(values, 1, steps) }, change)
    };
    let alarmed =
        |works: &mut Works| works.queue.alarms = [QueueAlarm::DiskLow, QueueAlarm::QueueSetAside].into();
    let copied = |steps: &[Step]| known(JobNow { may_copy: false, ..shown(values, 1, steps) }, &|_| ());
    let damaged = with(doubted(), vec![answer(ResolvedNotPrinted, Some("damaged"))]);
    scenes.extend([
        scene("label-not-printed-copied", values.suffix, &copied(&answered(ResolvedNotPrinted))),
        scene("label-damaged-copied", values.suffix, &copied(&damaged)),
        scene("label-sent-behind", values.suffix, &behind(&sent(), &|_| ())),
        scene("label-unknown-behind", values.suffix, &behind(&unknown("printer_silent"), &|_| ())),
        scene("label-confirmed-alarm", values.suffix, &behind(&evidence("status_transition"), &alarmed)),
        scene("label-paper-out-alarm", values.suffix, &behind(&[printer(PrinterState::PaperOut)], &alarmed)),
    ]);
    scenes
}
