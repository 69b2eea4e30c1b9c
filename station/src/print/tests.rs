//! The rules of LBL-4, one by one.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "a test fails by panicking")]

use super::*;
use lotgate_devices::event::JobDoubt;
use lotgate_domain::operation::body::{Device, LabelQueued, SnapshotLot};
use lotgate_domain::reference::LotStatus;

pub(super) const PRINTER: &str = "tcp:10.1.4.20:9100";

pub(super) fn id(n: u64) -> OperationId {
    OperationId::from_parts(n, &[7; 10])
}

pub(super) fn at(ms: u64) -> Timestamp {
    Timestamp::from_unix_ms(i64::try_from(ms).unwrap())
}

fn serial(n: u64) -> String {
    format!("{n:013}")
}

pub(super) fn elements(n: u64) -> Vec<Element> {
    [("01", "09506000134352".to_owned()), ("10", "LOT-7".to_owned()), ("21", serial(n))]
        .map(|(ai, value)| Element { ai: ai.to_owned(), value })
        .to_vec()
}

pub(super) fn label(n: u64) -> LabelQueued {
    let id_of_printer = PRINTER.to_owned();
    LabelQueued {
        printer: Device {
            role: "printer".to_owned(),
            transport: "tcp".to_owned(),
            id: id_of_printer,
            simulated: false,
        },
        template: "container/1".to_owned(),
        language: "en".to_owned(),
        scan: id(1_000 + n),
        item: "API-100".to_owned(),
        lot: "LOT-7".to_owned(),
        snapshot_lot: SnapshotLot { status: LotStatus::Released, expiry: None },
        serial: serial(n),
        copy: 1,
        of: None,
        elements: elements(n),
        sha256: Hash::of(&n.to_be_bytes()),
        bytes: 8,
    }
}

/// The machine with the record of what was committed.
struct Rig {
    jobs: Jobs,
    record: Vec<(OperationId, Body)>,
    now_ms: u64,
    printer: Option<String>,
}

impl Rig {
    fn new() -> Self {
        let printer = Some(PRINTER.to_owned());
        Self { jobs: Jobs::new(printer.clone()), record: Vec::new(), now_ms: 0, printer }
    }

    fn give(&mut self, input: Input<'_>) -> Vec<Action> {
        self.jobs.handle(input, self.now_ms)
    }

    fn commit(&mut self, body: Body) -> Vec<Action> {
        let id = match &body {
            Body::LabelQueued(label) => id(label.serial.parse().unwrap()),
            _ => id(10_000 + u64::try_from(self.record.len()).unwrap()),
        };
        self.record.push((id, body.clone()));
        self.give(Input::Committed { id, at: at(self.now_ms), body: &body })
    }

    fn queue(&mut self, n: u64) -> Vec<Action> {
        self.commit(Body::LabelQueued(label(n)))
    }

    /// Commits the one state that was asked for; what comes of it.
    fn keep(&mut self, actions: &[Action]) -> Vec<Action> {
        let [Action::Commit(state)] = actions else { panic!("one commit was expected: {actions:?}") };
        self.commit(Body::LabelState(state.clone()))
    }

    fn tell(&mut self, event: PrinterEvent) -> Vec<Action> {
        self.give(Input::Printer(event))
    }

    /// A job whose bytes were all given to the printer, `sent` committed.
    fn sent(&mut self, n: u64) {
        self.queue(n);
        let actions = self.tell(PrinterEvent::Prepared(job(id(n))));
        self.keep(&actions);
        let actions = self.tell(PrinterEvent::Written(job(id(n)), Written::All));
        assert_eq!(self.keep(&actions), [], "the printer's answer is waited for");
    }

    /// A job that nobody knows of whether it was printed.
    fn unknown(&mut self, n: u64) {
        self.sent(n);
        let actions = self.tell(PrinterEvent::Doubtful(job(id(n)), JobDoubt::PrinterSilent));
        self.keep(&actions);
    }

    /// The power goes and comes back: only the record is left.
    fn restart(&mut self) -> Vec<Action> {
        let wall = at(self.now_ms);
        let operation = |(id, body): &(_, Body)| LabelOperation { id: *id, wall, body: Some(body.clone()) };
        let record: Vec<_> = self.record.iter().map(operation).collect();
        self.jobs = Jobs::fold(self.printer.clone(), &record);
        self.jobs.start(self.now_ms)
    }

    fn standing(&self, n: u64) -> Standing {
        self.jobs.get(id(n)).unwrap().standing
    }

    fn asked(&self) -> Option<OperationId> {
        self.jobs.question().map(|job| job.id)
    }
}

fn committing(n: u64, state: JobState, evidence: Option<&str>, cause: Option<&str>) -> Vec<Action> {
    let (evidence, cause) = (evidence.map(str::to_owned), cause.map(str::to_owned));
    vec![Action::Commit(LabelState { job: id(n), state, evidence, cause })]
}

#[test]
fn a_label_that_is_printed_goes_from_waiting_to_confirmed_with_its_evidence() {
    let mut rig = Rig::new();
    assert_eq!(rig.queue(1), [Action::Prepare(job(id(1)))]);
    let ready = rig.tell(PrinterEvent::Prepared(job(id(1))));
    assert_eq!(ready, committing(1, JobState::Sending, None, None), "nothing is sent before this is durable");
    let sending = rig.keep(&ready);
    assert_eq!(sending, [Action::Send { job: job(id(1)), sha256: label(1).sha256 }]);
    let written = rig.tell(PrinterEvent::Written(job(id(1)), Written::All));
    assert_eq!(written, committing(1, JobState::Sent, None, None));
    assert_eq!(rig.keep(&written), []);
    let confirmed = rig.tell(PrinterEvent::Confirmed(job(id(1))));
    assert_eq!(confirmed, committing(1, JobState::Confirmed, Some("status_transition"), None));
    assert_eq!(rig.keep(&confirmed), []);
    let reached: Vec<_> =
        rig.jobs.get(id(1)).unwrap().reached.iter().map(|(standing, _)| *standing).collect();
    let confirmed = Standing::Confirmed(Evidence::StatusTransition);
    assert_eq!(reached, [Standing::Waiting, Standing::Sending, Standing::Sent, confirmed]);
    assert_eq!((rig.jobs.current().is_none(), rig.asked()), (true, None));
}

#[test]
fn an_answer_before_sent_is_durable_is_recorded_after_it() {
    let mut rig = Rig::new();
    rig.queue(1);
    let ready = rig.tell(PrinterEvent::Prepared(job(id(1))));
    rig.keep(&ready);
    let sent = rig.tell(PrinterEvent::Written(job(id(1)), Written::All));
    assert_eq!(rig.tell(PrinterEvent::Confirmed(job(id(1)))), [], "one state after the other");
    let confirmed = rig.keep(&sent);
    assert_eq!(confirmed, committing(1, JobState::Confirmed, Some("status_transition"), None));
}

#[test]
fn every_doubt_after_sending_becomes_one_question_and_is_never_sent_again_by_itself() {
    let lost = PrinterEvent::Doubtful(job(id(1)), JobDoubt::ConnectionLost);
    let partial = PrinterEvent::Written(job(id(1)), Written::Partial);
    for (event, cause) in [(lost, "connection_lost"), (partial, "partly_sent")] {
        let mut rig = Rig::new();
        rig.queue(1);
        let ready = rig.tell(PrinterEvent::Prepared(job(id(1))));
        rig.keep(&ready);
        let doubt = rig.tell(event);
        assert_eq!(doubt, committing(1, JobState::Unknown, None, Some(cause)));
        assert_eq!(rig.keep(&doubt), []);
        assert_eq!(rig.asked(), Some(id(1)));
        assert_eq!(rig.jobs.admits(), Err(PrintRefusal::QuestionOpen));
        rig.now_ms = 3_600_000;
        assert_eq!(rig.give(Input::Tick), []);
        assert_eq!(rig.tell(PrinterEvent::Prepared(job(id(1)))), [Action::Forget(job(id(1)))]);
    }
}

#[test]
fn the_question_holds_up_the_labels_behind_it_until_the_answer_is_durable() {
    let mut rig = Rig::new();
    rig.queue(1);
    rig.queue(2);
    let ready = rig.tell(PrinterEvent::Prepared(job(id(1))));
    rig.keep(&ready);
    let doubt = rig.tell(PrinterEvent::Written(job(id(1)), Written::Partial));
    assert_eq!(rig.keep(&doubt), [], "the next label waits");
    assert_eq!(rig.give(Input::Answered { job: id(2), came: Came::One }), [], "that was not the question");
    let answer = rig.give(Input::Answered { job: id(1), came: Came::Nothing });
    assert_eq!(answer, committing(1, JobState::ResolvedNotPrinted, Some("operator"), None));
    assert_eq!(rig.give(Input::Answered { job: id(1), came: Came::One }), [], "a second tap changes nothing");
    assert_eq!(rig.asked(), None, "it was answered");
    assert_eq!(rig.keep(&answer), [Action::Prepare(job(id(2)))]);
    assert_eq!(rig.standing(1), Standing::NotPrinted(Evidence::Operator));
    assert_eq!(rig.jobs.copy_of(id(1)), Some(2), "only a copy prints it, and only on request");
    let copy = LabelQueued { copy: 2, of: Some(id(1)), ..label(3) };
    rig.commit(Body::LabelQueued(copy));
    assert_eq!(rig.jobs.copy_of(id(1)), None, "one copy for one label");
}

#[test]
fn after_a_crash_what_waited_prints_and_what_was_under_way_is_asked_once() {
    let mut rig = Rig::new();
    rig.queue(1);
    assert_eq!(rig.restart(), [Action::Prepare(job(id(1)))], "nothing of it can have left");
    let ready = rig.tell(PrinterEvent::Prepared(job(id(1))));
    rig.keep(&ready);
    for _ in 0..2 {
        let doubt = rig.restart();
        assert_eq!(doubt, committing(1, JobState::Unknown, None, Some("station_stopped")));
    }
    let doubt = rig.restart();
    assert_eq!(rig.keep(&doubt), []);
    assert_eq!(rig.restart(), [], "the question stands in the record");
    assert_eq!(rig.asked(), Some(id(1)));
    let answer = rig.give(Input::Answered { job: id(1), came: Came::One });
    rig.keep(&answer);
    assert_eq!(rig.restart(), []);
    assert_eq!((rig.asked(), rig.standing(1)), (None, Standing::ResolvedPrinted(Evidence::Operator)));
}

#[test]
fn what_was_sent_and_not_confirmed_is_asked_after_a_crash_too() {
    let mut rig = Rig::new();
    rig.sent(1);
    assert_eq!(rig.restart(), committing(1, JobState::Unknown, None, Some("station_stopped")));
}

#[test]
fn a_job_of_which_no_byte_left_says_so_and_is_tried_again_but_not_for_ever() {
    let mut rig = Rig::new();
    rig.queue(1);
    for attempt in 1..=ATTEMPTS {
        let ready = rig.tell(PrinterEvent::Prepared(job(id(1))));
        assert_eq!(ready, committing(1, JobState::Sending, None, None), "attempt {attempt}");
        rig.keep(&ready);
        let nothing = rig.tell(PrinterEvent::Written(job(id(1)), Written::Nothing));
        let said = committing(1, JobState::ResolvedNotPrinted, Some("nothing_written"), None);
        assert_eq!(nothing, said, "attempt {attempt}");
        assert_eq!(rig.keep(&nothing), [], "not at once");
        rig.now_ms = rig.jobs.next_tick_ms().unwrap_or(rig.now_ms);
        let again = rig.give(Input::Tick);
        if attempt < ATTEMPTS {
            assert_eq!(again, [Action::Prepare(job(id(1)))]);
        } else {
            assert_eq!(again, []);
        }
    }
    assert_eq!(rig.standing(1), Standing::NotPrinted(Evidence::NothingWritten));
    assert_eq!((rig.asked(), rig.jobs.copy_of(id(1))), (None, Some(2)), "nobody needs to be asked");
    assert_eq!(rig.restart(), [], "the record says the same");
}

#[test]
fn a_job_may_be_given_up_only_before_anything_can_leave() {
    let mut rig = Rig::new();
    rig.queue(1);
    rig.queue(2);
    assert_eq!(rig.jobs.may_cancel(), Some(id(1)));
    assert_eq!(rig.give(Input::Cancelled(id(2))), [], "only the first");
    let cancel = rig.give(Input::Cancelled(id(1)));
    assert_eq!(cancel, committing(1, JobState::Cancelled, None, None));
    assert_eq!(rig.tell(PrinterEvent::Prepared(job(id(1)))), [], "too late for it");
    assert_eq!(rig.keep(&cancel), [Action::Forget(job(id(1))), Action::Prepare(job(id(2)))]);
    let ready = rig.tell(PrinterEvent::Prepared(job(id(2))));
    assert_eq!(rig.jobs.may_cancel(), None, "sending is being committed");
    assert_eq!(rig.give(Input::Cancelled(id(2))), []);
    rig.keep(&ready);
    assert_eq!(rig.jobs.may_cancel(), None);
}

#[test]
fn a_scan_of_the_label_proves_it_whatever_was_said() {
    let mut rig = Rig::new();
    rig.sent(1);
    let scanned = rig.give(Input::Scanned(&elements(1)));
    assert_eq!(scanned, committing(1, JobState::Confirmed, Some("verify_scan"), None));
    assert_eq!(rig.keep(&scanned), [Action::Forget(job(id(1)))], "the printer need not be watched any more");

    rig.unknown(2);
    assert_eq!(rig.give(Input::Scanned(&elements(3))), [], "another label");
    let mut other_item = elements(2);
    other_item[0].value = "04012345678901".to_owned();
    assert_eq!(rig.give(Input::Scanned(&other_item)), [], "the serial of another item");
    let scanned = rig.give(Input::Scanned(&elements(2)));
    assert_eq!(scanned, committing(2, JobState::ResolvedPrinted, Some("verify_scan"), None));
    rig.keep(&scanned);

    rig.unknown(4);
    let answer = rig.give(Input::Answered { job: id(4), came: Came::Nothing });
    rig.keep(&answer);
    let scanned = rig.give(Input::Scanned(&elements(4)));
    assert_eq!(scanned, committing(4, JobState::ResolvedPrinted, Some("verify_scan"), None));
    rig.keep(&scanned);
    assert_eq!(rig.jobs.copy_of(id(4)), None);
}

#[test]
fn a_printed_label_that_is_scanned_is_recorded_as_read_once() {
    let mut rig = Rig::new();
    rig.sent(1);
    let told = rig.tell(PrinterEvent::Confirmed(job(id(1))));
    rig.keep(&told);
    assert_eq!(rig.standing(1), Standing::Confirmed(Evidence::StatusTransition));
    let scanned = rig.give(Input::Scanned(&elements(1)));
    assert_eq!(scanned, committing(1, JobState::Confirmed, Some("verify_scan"), None));
    assert_eq!(rig.keep(&scanned), []);
    assert_eq!(rig.give(Input::Scanned(&elements(1))), [], "once");

    rig.unknown(2);
    let answer = rig.give(Input::Answered { job: id(2), came: Came::One });
    rig.keep(&answer);
    let scanned = rig.give(Input::Scanned(&elements(2)));
    assert_eq!(scanned, committing(2, JobState::ResolvedPrinted, Some("verify_scan"), None));
    rig.keep(&scanned);
    assert_eq!(rig.standing(2), Standing::ResolvedPrinted(Evidence::VerifyScan));
}

#[test]
fn a_label_that_never_left_cannot_be_proven_by_its_code() {
    let mut rig = Rig::new();
    rig.queue(1);
    assert_eq!(rig.give(Input::Scanned(&elements(1))), []);
    assert_eq!(rig.standing(1), Standing::Waiting);
}

#[test]
fn what_was_not_kept_is_asked_for_again_and_nothing_is_sent_until_it_is() {
    let mut rig = Rig::new();
    rig.queue(1);
    let ready = rig.tell(PrinterEvent::Prepared(job(id(1))));
    let [Action::Commit(sending)] = ready.as_slice() else { panic!("{ready:?}") };
    assert_eq!(rig.give(Input::NotKept(sending)), [Action::Forget(job(id(1)))]);
    assert_eq!(rig.give(Input::Tick), []);
    rig.now_ms = rig.jobs.next_tick_ms().unwrap();
    assert_eq!(rig.give(Input::Tick), [Action::Prepare(job(id(1)))]);
    let ready = rig.tell(PrinterEvent::Prepared(job(id(1))));
    rig.keep(&ready);
    let sent = rig.tell(PrinterEvent::Written(job(id(1)), Written::All));
    let [Action::Commit(state)] = sent.as_slice() else { panic!("{sent:?}") };
    assert_eq!(rig.give(Input::NotKept(state)), []);
    rig.now_ms = rig.jobs.next_tick_ms().unwrap();
    assert_eq!(rig.give(Input::Tick), sent);
}

#[test]
fn a_printer_that_never_answers_at_all_is_not_waited_for_for_ever() {
    let mut rig = Rig::new();
    rig.sent(1);
    rig.now_ms = rig.jobs.next_tick_ms().unwrap();
    let doubt = rig.give(Input::Tick);
    assert_eq!(doubt, committing(1, JobState::Unknown, None, Some("printer_silent")));
    assert_eq!(rig.jobs.next_tick_ms(), None, "nothing is due while it is being committed");
    assert_eq!(rig.keep(&doubt), [Action::Forget(job(id(1)))]);
}

#[test]
fn what_waits_for_a_printer_that_is_gone_is_given_up_with_the_reason() {
    let mut rig = Rig::new();
    rig.queue(1);
    rig.printer = None;
    assert_eq!(rig.restart(), [], "without a printer it waits");
    assert_eq!(rig.jobs.admits(), Err(PrintRefusal::NoPrinter));
    rig.printer = Some("tcp:10.1.4.21:9100".to_owned());
    let cancel = rig.restart();
    assert_eq!(cancel, committing(1, JobState::Cancelled, None, Some("printer_changed")));
    rig.keep(&cancel);
    assert_eq!(rig.standing(1), Standing::Cancelled);
}

#[test]
fn a_label_that_seems_to_wait_in_a_queue_that_was_put_back_is_asked_about_and_not_sent() {
    let body = |body| LabelOperation { id: id(1), wall: at(0), body };
    let queued = body(Some(Body::LabelQueued(label(1))));
    let opened = |reason: EpochReason| {
        let reason = reason.as_str().to_owned();
        body(Some(Body::EpochOpened { reason, last: None, anchor: None }))
    };
    let unknown = committing(1, JobState::Unknown, None, Some("record_incomplete"));
    let waits = vec![Action::Prepare(job(id(1)))];
    for (after, then) in [
        (opened(EpochReason::RolledBack), &unknown),
        (opened(EpochReason::Forked), &unknown),
        (opened(EpochReason::KeyRotated), &waits),
        (opened(EpochReason::Stopped), &waits),
        (body(None), &unknown),
    ] {
        let said = format!("{after:?}");
        let mut jobs = Jobs::fold(Some(PRINTER.to_owned()), &[queued.clone(), after]);
        assert_eq!(jobs.start(0), *then, "{said}");
    }
}

#[test]
fn a_label_that_others_have_overtaken_is_asked_about_and_not_sent() {
    let mut rig = Rig::new();
    rig.sent(2);
    let told = rig.tell(PrinterEvent::Confirmed(job(id(2))));
    rig.keep(&told);
    rig.queue(3);
    rig.record.insert(0, (id(1), Body::LabelQueued(label(1))));
    let asked = rig.restart();
    assert_eq!(asked[0], committing(1, JobState::Unknown, None, Some("record_incomplete"))[0]);
    assert_eq!(asked.len(), 1, "the label that is in its place waits: {asked:?}");
    rig.keep(&asked);
    assert_eq!(rig.asked(), Some(id(1)));
    let answer = rig.give(Input::Answered { job: id(1), came: Came::Nothing });
    assert_eq!(rig.keep(&answer), [Action::Prepare(job(id(3)))]);
}

#[test]
fn a_printer_that_works_on_a_label_that_left_holds_nothing_up() {
    let mut rig = Rig::new();
    rig.queue(1);
    rig.tell(PrinterEvent::State(PrinterState::Busy));
    assert_eq!(rig.jobs.blocked(), Some(PrinterState::Busy), "what waits cannot leave");
    let mut rig = Rig::new();
    rig.sent(1);
    rig.tell(PrinterEvent::State(PrinterState::Busy));
    assert_eq!(rig.jobs.blocked(), None);
    rig.tell(PrinterEvent::State(PrinterState::PaperOut));
    assert_eq!(rig.jobs.blocked(), Some(PrinterState::PaperOut));
}

#[test]
fn a_label_is_not_asked_about_while_the_printer_that_holds_it_needs_a_hand() {
    use PrinterState::{HeadOpen, PaperOut, Paused, RibbonOut, Temperature};
    for state in [PaperOut, RibbonOut, HeadOpen, Paused, Temperature] {
        let mut rig = Rig::new();
        rig.sent(1);
        rig.tell(PrinterEvent::State(state));
        rig.now_ms = ANSWER_MS + 10_000;
        assert_eq!(rig.jobs.next_tick_ms(), None);
        assert_eq!(rig.give(Input::Tick), [], "{state:?}");
        assert_eq!(rig.tell(PrinterEvent::State(PrinterState::Ready)), [], "it has its time again");
        rig.now_ms += ANSWER_MS - 1;
        assert_eq!(rig.give(Input::Tick), []);
        rig.now_ms += 1;
        assert_eq!(rig.give(Input::Tick), committing(1, JobState::Unknown, None, Some("printer_silent")));
    }
}

#[test]
fn a_damaged_label_ends_its_job_with_the_cause_and_a_copy_may_be_asked_for() {
    let mut rig = Rig::new();
    rig.unknown(1);
    let answer = rig.give(Input::Answered { job: id(1), came: Came::Damaged });
    assert_eq!(answer, committing(1, JobState::ResolvedNotPrinted, Some("operator"), Some("damaged")));
    rig.keep(&answer);
    assert_eq!((rig.standing(1), rig.jobs.copy_of(id(1))), (Standing::Damaged, Some(2)));
    assert_eq!(rig.restart(), [], "it is over");
    assert_eq!((rig.standing(1), rig.jobs.copy_of(id(1))), (Standing::Damaged, Some(2)));
}

#[test]
fn a_label_that_was_taken_for_printed_may_be_doubted_until_it_is_read() {
    let mut rig = Rig::new();
    assert!(!rig.jobs.may_doubt(id(1)));
    rig.sent(1);
    assert!(!rig.jobs.may_doubt(id(1)), "the printer has not said so");
    let told = rig.tell(PrinterEvent::Confirmed(job(id(1))));
    rig.keep(&told);
    for _ in 0..2 {
        assert!(rig.jobs.may_doubt(id(1)));
        let doubt = rig.give(Input::Doubted(id(1)));
        assert_eq!(doubt, committing(1, JobState::Unknown, None, Some("operator_doubts")));
        assert_eq!(rig.give(Input::Doubted(id(1))), [], "once");
        rig.keep(&doubt);
        assert_eq!(rig.asked(), Some(id(1)));
        let answer = rig.give(Input::Answered { job: id(1), came: Came::One });
        assert_eq!(answer, committing(1, JobState::ResolvedPrinted, Some("operator"), None));
        rig.keep(&answer);
    }
    let read = rig.give(Input::Scanned(&elements(1)));
    rig.keep(&read);
    assert!(!rig.jobs.may_doubt(id(1)));
    assert_eq!(rig.give(Input::Doubted(id(1))), []);
}

#[test]
fn no_label_leaves_while_a_person_looks_for_another() {
    let mut rig = Rig::new();
    rig.sent(1);
    rig.queue(2);
    let told = rig.tell(PrinterEvent::Confirmed(job(id(1))));
    assert_eq!(rig.keep(&told), [Action::Prepare(job(id(2)))]);
    let doubt = rig.give(Input::Doubted(id(1)));
    assert_eq!(doubt[0], Action::Forget(job(id(2))));
    assert_eq!(doubt[1..], committing(1, JobState::Unknown, None, Some("operator_doubts")));
    assert_eq!(rig.tell(PrinterEvent::Prepared(job(id(2)))), [Action::Forget(job(id(2)))], "too late for it");
    assert_eq!(rig.keep(&doubt[1..]), []);
    let answer = rig.give(Input::Answered { job: id(1), came: Came::Nothing });
    assert_eq!(rig.keep(&answer), [Action::Prepare(job(id(2)))]);
}

#[test]
fn a_label_that_was_not_printed_is_owed_until_it_is_copied_or_left_and_after_a_restart_too() {
    let owed = |rig: &Rig| rig.jobs.owed().map(|job| job.id);
    let mut rig = Rig::new();
    rig.unknown(1);
    rig.queue(2);
    assert_eq!(owed(&rig), None);
    let answer = rig.give(Input::Answered { job: id(1), came: Came::Nothing });
    rig.keep(&answer);
    assert_eq!(owed(&rig), Some(id(1)), "though another is in work");
    rig.restart();
    assert_eq!(owed(&rig), Some(id(1)));
    rig.commit(Body::LabelQueued(LabelQueued { copy: 2, of: Some(id(1)), ..label(3) }));
    assert_eq!(owed(&rig), None, "copied");

    let mut rig = Rig::new();
    rig.unknown(1);
    let answer = rig.give(Input::Answered { job: id(1), came: Came::Damaged });
    rig.keep(&answer);
    rig.jobs.leave(id(1));
    assert_eq!(owed(&rig), None, "left");
    rig.queue(2);
    rig.restart();
    assert_eq!(owed(&rig), None, "somebody went on with another label");
}

#[test]
fn a_state_of_the_printer_holds_up_what_waits_and_is_shown() {
    let mut rig = Rig::new();
    assert_eq!(rig.jobs.blocked(), None);
    rig.tell(PrinterEvent::State(PrinterState::PaperOut));
    assert_eq!(rig.jobs.blocked(), None, "nothing waits");
    rig.queue(1);
    assert_eq!(rig.jobs.blocked(), Some(PrinterState::PaperOut));
    rig.tell(PrinterEvent::State(PrinterState::Ready));
    assert_eq!(rig.jobs.blocked(), None);
}

#[test]
fn only_so_many_labels_wait() {
    let mut rig = Rig::new();
    for n in 1..=20 {
        assert_eq!(rig.jobs.admits(), Ok(()), "{n}");
        rig.queue(n);
    }
    assert_eq!(rig.jobs.admits(), Err(PrintRefusal::TooManyWaiting));
}

#[test]
fn ended_jobs_are_remembered_for_a_while_and_open_ones_always() {
    let mut rig = Rig::new();
    rig.queue(1);
    for n in 2..200 {
        let cancel = rig.give(Input::Cancelled(id(n - 1)));
        rig.keep(&cancel);
        rig.queue(n);
    }
    assert!(rig.jobs.get(id(1)).is_none() && rig.jobs.get(id(198)).is_some());
    assert_eq!(rig.jobs.current().map(|job| job.id), Some(id(199)));
    assert!(rig.jobs.jobs.len() <= KEPT + 1);
}
