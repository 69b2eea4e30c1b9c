//! The network printer on real TCP connections: nothing goes out twice, nothing is called printed without evidence,
//! and every way of failing has its name.
#![allow(clippy::expect_used, clippy::panic, reason = "a failed expectation is a failed test")]

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, RecvTimeoutError, sync_channel};
use std::time::{Duration, Instant};

use lotgate_devices::event::{
    DeviceEvent, DeviceEventKind, Job, JobDoubt, PrinterEvent, PrinterState, Written,
};
use lotgate_devices::printer::{NetworkPrinter, PrinterBinding, PrinterTiming, try_printer};
use lotgate_devices::sim::printer::{Fault, Said, SimPrinter};

const DEADLINE: Duration = Duration::from_secs(20);
const LABEL: &[u8] = b"^XA^PW480^LL320^FO10,10^A0N,30,30^FDLOT42^FS^XZ";
const ONE: Job = Job(1);
const TWO: Job = Job(2);

/// The production order of waits, many times faster; a busy machine still answers within `status`.
fn quick() -> PrinterTiming {
    PrinterTiming {
        connect: Duration::from_secs(5),
        write: Duration::from_secs(5),
        status: Duration::from_secs(5),
        idle: Duration::from_millis(20),
        idle_stranger: Duration::from_millis(40),
        retry: Duration::from_millis(10),
        watch: Duration::from_millis(10),
        apart: Duration::from_millis(60),
        doubtful: Duration::from_secs(60),
        queue: 64,
    }
}

/// For printers that do not answer.
fn impatient() -> PrinterTiming {
    PrinterTiming { status: Duration::from_millis(300), doubtful: Duration::from_millis(900), ..quick() }
}

/// A simulated printer and a station that drives it.
struct Bench {
    sim: SimPrinter,
    printer: NetworkPrinter,
    events: Receiver<DeviceEvent>,
}

impl Bench {
    fn new(timing: PrinterTiming) -> Self {
        Self::with(timing, Duration::from_millis(40), Fault::None)
    }

    fn with(timing: PrinterTiming, label_time: Duration, fault: Fault) -> Self {
        let sim = SimPrinter::new(loopback(), None, label_time).expect("a simulated printer");
        sim.set(fault);
        let (sender, events) = sync_channel(1_024);
        let printer = NetworkPrinter::start(at(sim.address()), timing, sender).expect("a thread");
        Self { sim, printer, events }
    }

    fn next(&self) -> PrinterEvent {
        let event = self.events.recv_timeout(DEADLINE).expect("the printer's thread reports something");
        match event.kind {
            DeviceEventKind::Printer(event) => event,
            other => panic!("{other:?} is no report of a printer"),
        }
    }

    #[track_caller]
    fn expect(&self, event: PrinterEvent) {
        assert_eq!(self.next(), event, "the next report");
    }

    #[track_caller]
    fn expect_state(&self, state: PrinterState) {
        self.expect(PrinterEvent::State(state));
    }

    /// The next report about a job; changes of state are passed over.
    fn next_of_job(&self) -> PrinterEvent {
        loop {
            match self.next() {
                PrinterEvent::State(_) => {}
                event => return event,
            }
        }
    }

    /// The printer is ready and has a connection for the job.
    fn prepared(&self, job: Job) {
        self.printer.prepare(job);
        assert_eq!(self.next_of_job(), PrinterEvent::Prepared(job), "prepared");
    }

    /// All of the job's bytes have left.
    fn sent(&self, job: Job, bytes: &[u8]) {
        self.printer.send(job, bytes.to_vec());
        assert_eq!(self.next_of_job(), PrinterEvent::Written(job, Written::All), "all bytes left");
    }

    fn expect_nothing(&self, time: Duration) {
        let heard = self.events.recv_timeout(time).map(|event| event.kind);
        assert_eq!(heard, Err(RecvTimeoutError::Timeout), "nothing is reported");
    }

    fn wait_until(&self, what: &str, holds: impl Fn(&SimPrinter) -> bool) {
        let start = Instant::now();
        while !holds(&self.sim) {
            assert!(start.elapsed() < DEADLINE, "{what}");
            std::thread::yield_now();
        }
    }
}

fn loopback() -> SocketAddr {
    "127.0.0.1:0".parse().expect("an address")
}

fn at(address: SocketAddr) -> PrinterBinding {
    PrinterBinding::at_address(&address.to_string()).expect("an address")
}

#[test]
fn a_label_goes_out_once_and_is_confirmed_after_the_printer_was_seen_at_work_and_at_rest() {
    let bench = Bench::with(quick(), Duration::from_millis(400), Fault::None);
    bench.expect_state(PrinterState::Ready);
    bench.printer.prepare(ONE);
    bench.expect(PrinterEvent::Prepared(ONE));
    assert!(bench.sim.labels().is_empty() && bench.sim.waiting() == 0, "no byte has left");
    bench.printer.send(ONE, LABEL.to_vec());
    bench.expect(PrinterEvent::Written(ONE, Written::All));
    bench.expect_state(PrinterState::Busy);
    bench.expect_state(PrinterState::Ready);
    bench.expect(PrinterEvent::Confirmed(ONE));
    assert_eq!(bench.sim.labels(), [LABEL], "byte for byte");
}

#[test]
fn events_name_the_printer_by_its_address_and_as_simulated_on_loopback() {
    let bench = Bench::new(quick());
    let device = bench.events.recv_timeout(DEADLINE).expect("its first state").device;
    let id = format!("tcp:{}", bench.sim.address());
    let wanted = serde_json::json!({"role": "printer", "transport": "tcp", "id": id, "simulated": true});
    assert_eq!(serde_json::to_value(&device).expect("JSON"), wanted);
    let status = bench.printer.status();
    assert_eq!((status.device, status.state), (device, PrinterState::Ready));
    assert!(status.last_heard.is_some());
}

#[test]
fn a_job_waits_for_a_printer_that_says_what_is_wrong_and_no_byte_of_it_leaves() {
    let faults = [
        (Fault::Says(Said::PaperOut), PrinterState::PaperOut),
        (Fault::Says(Said::RibbonOut), PrinterState::RibbonOut),
        (Fault::Says(Said::HeadOpen), PrinterState::HeadOpen),
        (Fault::Says(Said::Hot), PrinterState::Temperature),
        (Fault::Paused, PrinterState::Paused),
        (Fault::BufferFull, PrinterState::Busy),
        (Fault::WrongLanguage, PrinterState::NotZpl),
    ];
    for (fault, state) in faults {
        let bench = Bench::with(quick(), Duration::ZERO, fault);
        bench.printer.prepare(ONE);
        bench.expect_state(state);
        let asked = bench.sim.questions();
        bench.wait_until("it is asked again", |sim| sim.questions() > asked + 2);
        bench.sim.set(Fault::None);
        bench.expect_state(PrinterState::Ready);
        bench.expect(PrinterEvent::Prepared(ONE));
        assert!(bench.sim.labels().is_empty() && bench.sim.waiting() == 0, "{fault:?}");
    }
}

#[test]
fn a_job_waits_for_a_printer_that_goes_silent_as_its_manual_says() {
    for fault in [Fault::PaperOut, Fault::HeadOpen] {
        let bench = Bench::with(impatient(), Duration::ZERO, fault);
        bench.printer.prepare(ONE);
        bench.expect_state(PrinterState::Silent);
        bench.sim.set(Fault::None);
        assert_eq!(bench.next_of_job(), PrinterEvent::Prepared(ONE), "{fault:?}");
    }
}

#[test]
fn paper_that_runs_out_under_a_job_is_said_at_once_and_the_job_goes_on_with_new_paper() {
    let bench = Bench::new(PrinterTiming { doubtful: DEADLINE, ..impatient() });
    bench.prepared(ONE);
    bench.sim.set(Fault::PaperOut);
    bench.sent(ONE, LABEL);
    bench.expect_state(PrinterState::Silent);
    assert!(bench.sim.labels().is_empty(), "nothing came out");
    bench.sim.set(Fault::None);
    assert_eq!(bench.next_of_job(), PrinterEvent::Confirmed(ONE));
    assert_eq!(bench.sim.labels(), [LABEL], "once");
}

#[test]
fn a_job_under_which_the_printer_stays_silent_is_doubtful_and_never_sent_again() {
    let bench = Bench::new(impatient());
    bench.prepared(ONE);
    bench.sim.set(Fault::PaperOut);
    bench.sent(ONE, LABEL);
    bench.expect_state(PrinterState::Silent);
    bench.expect(PrinterEvent::Doubtful(ONE, JobDoubt::PrinterSilent));
    bench.sim.set(Fault::None);
    assert!(bench.sim.wait_labels(1, DEADLINE), "the printer prints what it had");
    bench.prepared(TWO);
    bench.sent(TWO, b"^XA^FDtwo^FS^XZ");
    assert_eq!(bench.next_of_job(), PrinterEvent::Confirmed(TWO));
    assert_eq!(bench.sim.labels(), [LABEL, b"^XA^FDtwo^FS^XZ"], "the first label once");
}

#[test]
fn a_printer_that_prints_and_never_answers_leaves_the_job_doubtful() {
    let bench = Bench::new(impatient());
    bench.prepared(ONE);
    bench.sim.set(Fault::Silent);
    bench.sent(ONE, LABEL);
    assert_eq!(bench.next_of_job(), PrinterEvent::Doubtful(ONE, JobDoubt::PrinterSilent));
    assert_eq!(bench.sim.labels(), [LABEL], "it was printed all the same: sending again would make two");
}

#[test]
fn a_printer_whose_answers_become_foreign_under_a_job_leaves_it_doubtful() {
    let bench = Bench::new(impatient());
    bench.prepared(ONE);
    bench.sim.set(Fault::WrongLanguage);
    bench.sent(ONE, LABEL);
    bench.expect_state(PrinterState::NotZpl);
    bench.expect(PrinterEvent::Doubtful(ONE, JobDoubt::PrinterSilent));
}

#[test]
fn a_paused_printer_holds_a_job_for_as_long_as_it_says_so_and_the_job_ends_confirmed() {
    let timing = PrinterTiming { doubtful: Duration::from_millis(400), ..quick() };
    let bench = Bench::new(timing);
    bench.prepared(ONE);
    bench.sim.set(Fault::Paused);
    bench.sent(ONE, LABEL);
    bench.expect_state(PrinterState::Paused);
    bench.expect_nothing(timing.doubtful * 3);
    bench.sim.set(Fault::None);
    assert_eq!(bench.next_of_job(), PrinterEvent::Confirmed(ONE));
    assert_eq!(bench.sim.labels(), [LABEL]);
}

#[test]
fn a_slow_printers_job_is_not_confirmed_before_the_label_is_out() {
    let bench = Bench::with(quick(), Duration::from_millis(50), Fault::Slow);
    bench.prepared(ONE);
    bench.sent(ONE, LABEL);
    assert_eq!(bench.next_of_job(), PrinterEvent::Confirmed(ONE));
    assert_eq!(bench.sim.labels(), [LABEL]);
}

#[test]
fn a_printer_at_work_for_another_takes_the_job_when_it_is_done() {
    let bench = Bench::with(quick(), Duration::from_millis(30), Fault::Paused);
    let mut other = TcpStream::connect(bench.sim.address()).expect("a connection");
    other.write_all(b"^XA^FDother^FS^XZ").expect("another program's label");
    bench.wait_until("it has the label", |sim| sim.waiting() == 1);
    drop(other);
    bench.sim.set(Fault::Slow);
    bench.prepared(ONE);
    assert_eq!(bench.sim.labels().len(), 1, "the other's label first");
}

#[test]
fn a_connection_lost_behind_any_byte_leaves_the_job_doubtful_whether_it_was_printed_or_not() {
    for (byte, printed) in [(1, 0), (10, 0), (LABEL.len() - 1, 0), (LABEL.len(), 1)] {
        let bench = Bench::new(quick());
        bench.prepared(ONE);
        bench.sim.set(Fault::DropAt(byte));
        bench.sent(ONE, LABEL);
        assert_eq!(bench.next_of_job(), PrinterEvent::Doubtful(ONE, JobDoubt::ConnectionLost), "{byte}");
        bench.prepared(TWO);
        assert_eq!(bench.sim.labels().len(), printed, "{byte}");
    }
}

#[test]
fn a_job_that_broke_off_in_the_middle_is_said_to_be_partly_sent() {
    let bench = Bench::new(PrinterTiming { write: Duration::from_millis(300), ..quick() });
    bench.prepared(ONE);
    bench.sim.set(Fault::BufferFull);
    let endless = [b"^XA^FX".as_slice(), &vec![b'0'; 64 << 20]].concat();
    bench.printer.send(ONE, endless);
    assert_eq!(bench.next_of_job(), PrinterEvent::Written(ONE, Written::Partial));
    bench.sim.set(Fault::None);
    bench.prepared(TWO);
    assert!(bench.sim.labels().is_empty(), "nothing came out, and nothing was sent again");
}

#[test]
fn a_connection_that_broke_before_the_first_byte_means_nothing_was_sent_and_it_may_be_tried_again() {
    let bench = Bench::new(quick());
    bench.prepared(ONE);
    bench.sim.set(Fault::Off);
    bench.wait_until("nothing listens any more", |sim| TcpStream::connect(sim.address()).is_err());
    bench.printer.send(ONE, LABEL.to_vec());
    assert_eq!(bench.next_of_job(), PrinterEvent::Written(ONE, Written::Nothing));
    bench.sim.set(Fault::None);
    bench.prepared(ONE);
    bench.sent(ONE, LABEL);
    assert_eq!(bench.next_of_job(), PrinterEvent::Confirmed(ONE));
    assert_eq!(bench.sim.labels(), [LABEL], "once");
}

#[test]
fn a_job_that_was_not_prepared_is_not_sent() {
    let bench = Bench::new(quick());
    bench.printer.send(ONE, LABEL.to_vec());
    assert_eq!(bench.next_of_job(), PrinterEvent::Written(ONE, Written::Nothing));
    bench.prepared(ONE);
    bench.printer.send(TWO, LABEL.to_vec());
    assert_eq!(bench.next_of_job(), PrinterEvent::Written(TWO, Written::Nothing));
    bench.sent(ONE, LABEL);
    assert_eq!(bench.next_of_job(), PrinterEvent::Confirmed(ONE), "the prepared one was still prepared");
    assert_eq!(bench.sim.labels(), [LABEL]);
}

#[test]
fn a_job_told_to_be_sent_twice_is_sent_once() {
    let bench = Bench::with(quick(), Duration::from_millis(300), Fault::None);
    bench.prepared(ONE);
    bench.printer.send(ONE, LABEL.to_vec());
    bench.printer.send(ONE, LABEL.to_vec());
    assert_eq!(bench.next_of_job(), PrinterEvent::Written(ONE, Written::All));
    assert_eq!(bench.next_of_job(), PrinterEvent::Confirmed(ONE));
    assert_eq!(bench.sim.labels(), [LABEL]);
}

#[test]
fn of_a_forgotten_job_nothing_more_is_told() {
    let bench = Bench::with(quick(), Duration::from_millis(40), Fault::Paused);
    bench.printer.prepare(ONE);
    bench.expect_state(PrinterState::Paused);
    bench.printer.forget(ONE);
    bench.sim.set(Fault::None);
    bench.expect_state(PrinterState::Ready);
    bench.prepared(TWO);
    bench.sim.set(Fault::Paused);
    bench.sent(TWO, LABEL);
    bench.expect_state(PrinterState::Paused);
    bench.printer.forget(TWO);
    bench.sim.set(Fault::None);
    assert!(bench.sim.wait_labels(1, DEADLINE), "what has left is printed");
    bench.printer.prepare(Job(3));
    assert_eq!(bench.next_of_job(), PrinterEvent::Prepared(Job(3)), "no word of the others");
}

#[test]
fn the_next_job_is_prepared_when_the_one_under_way_is_done() {
    let bench = Bench::new(quick());
    bench.prepared(ONE);
    bench.sim.set(Fault::Paused);
    bench.sent(ONE, LABEL);
    bench.printer.prepare(TWO);
    bench.expect_state(PrinterState::Paused);
    bench.sim.set(Fault::None);
    assert_eq!(bench.next_of_job(), PrinterEvent::Confirmed(ONE));
    assert_eq!(bench.next_of_job(), PrinterEvent::Prepared(TWO));
}

/// What a status cannot show: only a scan of the label can.
#[test]
fn a_printer_that_loses_labels_and_says_that_all_is_well_is_believed() {
    let bench = Bench::new(quick());
    bench.prepared(ONE);
    bench.sim.set(Fault::Lose);
    let sent = Instant::now();
    bench.sent(ONE, LABEL);
    assert_eq!(bench.next_of_job(), PrinterEvent::Confirmed(ONE));
    assert!(sent.elapsed() >= quick().apart, "two answers that far apart");
    assert!(bench.sim.labels().is_empty());
}

#[test]
fn a_printer_that_prints_twice_gets_one_job_and_confirms_it_once() {
    let bench = Bench::with(quick(), Duration::from_millis(40), Fault::Twice);
    bench.prepared(ONE);
    bench.sent(ONE, LABEL);
    assert_eq!(bench.next_of_job(), PrinterEvent::Confirmed(ONE));
    assert_eq!(bench.sim.labels(), [LABEL, LABEL], "both bear the same serial");
    bench.expect_nothing(Duration::from_millis(100));
}

#[test]
fn each_change_of_state_is_told_once_however_often_the_printer_is_asked() {
    let bench = Bench::new(quick());
    bench.expect_state(PrinterState::Ready);
    for (fault, state) in [
        (Fault::Paused, PrinterState::Paused),
        (Fault::None, PrinterState::Ready),
        (Fault::Off, PrinterState::Unreachable),
        (Fault::None, PrinterState::Ready),
    ] {
        bench.sim.set(fault);
        bench.expect_state(state);
        let asked = bench.sim.questions();
        if fault != Fault::Off {
            bench.wait_until("it is asked again", |sim| sim.questions() > asked + 3);
        }
    }
    bench.sim.set(Fault::Says(Said::HeadOpen));
    bench.expect_state(PrinterState::HeadOpen);
}

#[test]
fn another_program_gets_its_turn_while_there_is_no_job() {
    let bench = Bench::new(quick());
    bench.expect_state(PrinterState::Ready);
    for _ in 0..5 {
        let mut other = TcpStream::connect(bench.sim.address()).expect("a connection");
        other.set_read_timeout(Some(DEADLINE)).expect("a socket");
        other.write_all(b"~HI").expect("a question");
        let mut answer = [0; 12];
        other.read_exact(&mut answer).expect("an answer");
        assert_eq!(&answer, b"\x02LOTGATE-SIM");
    }
}

#[test]
fn an_address_that_never_answered_as_a_printer_is_asked_more_and_more_rarely() {
    let idle = Duration::from_millis(10);
    let timing = PrinterTiming { idle, idle_stranger: DEADLINE, ..quick() };
    let started = Instant::now();
    let bench = Bench::with(timing, Duration::ZERO, Fault::WrongLanguage);
    bench.expect_state(PrinterState::NotZpl);
    bench.wait_until("it is asked six times", |sim| sim.questions() >= 6);
    assert!(started.elapsed() >= idle * (1 + 2 + 4 + 8 + 16), "{:?}", started.elapsed());
}

#[test]
fn a_thread_ends_promptly_whatever_it_waits_for() {
    let patient = PrinterTiming { status: DEADLINE, idle: DEADLINE, retry: DEADLINE, ..quick() };
    let timed = |bench: Bench| {
        let Bench { sim, printer, events } = bench;
        let started = Instant::now();
        drop(printer);
        assert!(started.elapsed() < Duration::from_secs(1), "{:?}", started.elapsed());
        assert_eq!(events.try_iter().count(), 0, "nothing is told any more");
        drop(sim);
    };
    let idle = Bench::with(patient, Duration::ZERO, Fault::None);
    idle.expect_state(PrinterState::Ready);
    timed(idle);
    let asking = Bench::with(patient, Duration::ZERO, Fault::Silent);
    asking.wait_until("it is asked", |sim| sim.questions() > 0);
    timed(asking);
    let prepared = Bench::with(quick(), Duration::ZERO, Fault::None);
    prepared.prepared(ONE);
    timed(prepared);
    let watching = Bench::with(patient, Duration::ZERO, Fault::None);
    watching.prepared(ONE);
    watching.sim.set(Fault::Silent);
    watching.sent(ONE, LABEL);
    timed(watching);
}

#[test]
fn hostile_answers_are_a_state_and_nothing_worse() {
    let status = |line: &str| format!("\u{2}{line}\u{3}\r\n");
    let ready = "030,0,0,1245,000,0,0,0,000,0,0,0";
    let answers: [(&str, Vec<u8>, PrinterState); 7] = [
        ("a web server", b"HTTP/1.1 400 Bad Request\r\n\r\n".to_vec(), PrinterState::NotZpl),
        ("endless digits", [b"\x02".as_slice(), &vec![b'0'; 1 << 20]].concat(), PrinterState::NotZpl),
        ("zeros", vec![0; 64], PrinterState::NotZpl),
        ("three wrong lines", status("1").repeat(3).into_bytes(), PrinterState::NotZpl),
        ("many fields", status(&"0,".repeat(60)).repeat(3).into_bytes(), PrinterState::NotZpl),
        ("half an answer", status(ready).into_bytes(), PrinterState::Silent),
        ("nothing, and closes", Vec::new(), PrinterState::Busy),
    ];
    for (what, answer, wanted) in answers {
        let listener = TcpListener::bind(loopback()).expect("a listener");
        let binding = at(listener.local_addr().expect("its address"));
        let hostile = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().expect("the station");
            let mut question = [0; 3];
            stream.read_exact(&mut question).expect("the question");
            assert_eq!(&question, b"~HS");
            if answer.is_empty() {
                return;
            }
            let _ = stream.write_all(&answer);
            // Until the station leaves.
            while stream.read(&mut question).is_ok_and(|count| count > 0) {}
        });
        let timing = PrinterTiming { status: Duration::from_millis(500), ..quick() };
        assert_eq!(try_printer(&binding, &timing), wanted, "{what}");
        hostile.join().expect("the other end");
    }
}

#[test]
fn a_printer_is_tried_once_for_who_only_wants_to_know() {
    let sim = SimPrinter::new(loopback(), None, Duration::ZERO).expect("a simulated printer");
    assert_eq!(try_printer(&at(sim.address()), &quick()), PrinterState::Ready);
    assert_eq!(sim.questions(), 1);
    sim.set(Fault::Off);
    let start = Instant::now();
    while TcpStream::connect(sim.address()).is_ok() {
        assert!(start.elapsed() < DEADLINE, "nothing listens any more");
    }
    assert_eq!(try_printer(&at(sim.address()), &quick()), PrinterState::Unreachable);
}
