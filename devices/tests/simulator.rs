//! The program `lotgate-sim`, as a person or a script uses it.
#![cfg(unix)]
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a failed expectation is a failed test"
)]

use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Output, Stdio};
use std::sync::mpsc::{Receiver, sync_channel};
use std::time::{Duration, Instant};

use lotgate_devices::binding::{ScannerBinding, Timing};
use lotgate_devices::event::{DeviceEvent, DeviceEventKind, DeviceFault, DeviceState, PrinterState};
use lotgate_devices::printer::{PrinterBinding, PrinterTiming, try_printer};
use lotgate_devices::serial::SerialScanner;

const DEADLINE: Duration = Duration::from_secs(20);

/// A running simulator and a reader on its port.
struct Simulated {
    folder: tempfile::TempDir,
    program: Child,
    input: ChildStdin,
    events: Receiver<DeviceEvent>,
    _reader: SerialScanner,
}

impl Simulated {
    fn start(arguments: &[&str]) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let link = folder.path().join("scanner");
        let mut program = simulator()
            .args(["scanner", "--link"])
            .arg(&link)
            .arg("--control")
            .arg(folder.path().join("control"))
            .args(arguments)
            .stdin(Stdio::piped())
            .spawn()
            .expect("the simulator starts");
        let input = program.stdin.take().expect("its standard input");
        let (sender, events) = sync_channel(64);
        let timing = Timing { retry_first: Duration::from_millis(10), ..Timing::default() };
        let reader = SerialScanner::start(ScannerBinding::at_path(link), timing, sender).expect("a reader");
        let simulated = Self { folder, program, input, events, _reader: reader };
        while simulated.next() != DeviceEventKind::State(DeviceState::Ready) {}
        simulated
    }

    fn control(&self) -> PathBuf {
        self.folder.path().join("control")
    }

    fn type_line(&mut self, line: &str) {
        writeln!(self.input, "{line}").expect("the simulator reads its standard input");
    }

    fn next(&self) -> DeviceEventKind {
        self.events.recv_timeout(DEADLINE).expect("a report before the deadline").kind
    }

    fn expect_scan(&self, bytes: &[u8]) {
        assert_eq!(self.next(), DeviceEventKind::Scanned(bytes.to_vec()), "the next report is this scan");
    }
}

impl Drop for Simulated {
    fn drop(&mut self) {
        let _ = self.program.kill();
        let _ = self.program.wait();
    }
}

fn simulator() -> Command {
    Command::new(env!("CARGO_BIN_EXE_lotgate-sim"))
}

fn scan_to(socket: &Path, data: &str) -> Output {
    simulator().args(["scan", "--to"]).arg(socket).arg(data).output().expect("the program runs")
}

#[test]
fn lines_typed_are_scanned() {
    let mut simulated = Simulated::start(&[]);
    simulated.type_line(r#""]d201040123456789010\u001d21A""#);
    simulated.expect_scan(b"]d201040123456789010\x1d21A");
    simulated.type_line("LOT-42");
    simulated.expect_scan(b"LOT-42");
    simulated.type_line("!double ]C1LOT");
    simulated.expect_scan(b"]C1LOT");
    simulated.expect_scan(b"]C1LOT");
    simulated.type_line("!noise 41000d");
    simulated.expect_scan(b"A\0");
    simulated.type_line("!half ABCDE");
    let fault = DeviceEventKind::Fault(DeviceFault::ScanUnterminated { bytes: 3 });
    assert_eq!(simulated.next(), fault, "the half is announced");
}

#[test]
fn another_terminal_scans_pulls_the_cable_and_is_told_what_came_of_it() {
    let simulated = Simulated::start(&[]);
    let socket = simulated.control();
    assert!(scan_to(&socket, "]C1LOT\n42").status.success(), "any text can be scanned");
    simulated.expect_scan(b"]C1LOT\n42");
    assert!(scan_to(&socket, "!unplug").status.success(), "commands go the same way");
    assert_eq!(simulated.next(), DeviceEventKind::State(DeviceState::Unplugged), "the cable is out");
    assert!(!simulated.folder.path().join("scanner").exists(), "the port is gone");
    let refused = scan_to(&socket, "]C1LOT");
    assert!(!refused.status.success(), "nothing can be scanned");
    assert!(String::from_utf8_lossy(&refused.stderr).contains("not connected"), "{refused:?}");
    assert!(scan_to(&socket, "!replug").status.success(), "the cable is in");
    assert_eq!(simulated.next(), DeviceEventKind::State(DeviceState::Ready), "it works again");
    assert!(scan_to(&socket, r#""]C1\u001d""#).status.success(), "JSON strings too");
    simulated.expect_scan(b"]C1\x1d");
}

#[test]
fn a_scanner_without_aim_identifiers_leaves_them_out_and_ends_scans_as_told() {
    let mut simulated = Simulated::start(&["--aim", "off", "--terminator", "crlf"]);
    simulated.type_line("]C1LOT");
    simulated.expect_scan(b"LOT");
    simulated.type_line("LOT");
    simulated.expect_scan(b"LOT");
}

#[test]
fn a_socket_or_link_of_a_killed_simulator_is_taken_over_and_a_live_one_is_not() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let start = |link: &str| {
        simulator()
            .args(["scanner", "--link"])
            .arg(folder.path().join(link))
            .arg("--control")
            .arg(folder.path().join("control"))
            .stdin(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("the simulator starts")
    };
    let wait_for_answer = || {
        let started = Instant::now();
        while !scan_to(&folder.path().join("control"), "!replug").status.success() {
            assert!(started.elapsed() < DEADLINE, "the simulator answers");
        }
    };
    let mut first = start("scanner");
    wait_for_answer();
    let mut second = start("other");
    assert!(!second.wait().expect("it ends").success(), "a second simulator does not take a socket in use");
    first.kill().expect("SIGKILL");
    first.wait().expect("it is gone");
    assert!(folder.path().join("scanner").is_symlink(), "a killed simulator leaves its link");
    let mut third = start("scanner");
    wait_for_answer();
    third.kill().expect("SIGKILL");
    third.wait().expect("it is gone");
}

/// A running simulated printer.
struct SimulatedPrinter {
    folder: tempfile::TempDir,
    program: Child,
    input: ChildStdin,
    binding: PrinterBinding,
}

impl SimulatedPrinter {
    fn start() -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let mut program = simulator()
            .args(["printer", "--listen", "127.0.0.1:0", "--out"])
            .arg(folder.path().join("labels"))
            .arg("--control")
            .arg(folder.path().join("control"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("the simulator starts");
        let input = program.stdin.take().expect("its standard input");
        let mut output = BufReader::new(program.stdout.take().expect("its standard output"));
        let mut address = String::new();
        output.read_line(&mut address).expect("it says where it listens");
        let binding = PrinterBinding::at_address(address.trim()).expect("an address");
        Self { folder, program, input, binding }
    }

    fn tell(&self, line: &str) -> Output {
        let control = self.folder.path().join("control");
        simulator().args(["tell", "--to"]).arg(control).arg(line).output().expect("the program runs")
    }

    fn state(&self) -> PrinterState {
        try_printer(&self.binding, &PrinterTiming::default())
    }

    fn print(&self, zpl: &[u8]) {
        let mut stream = TcpStream::connect(self.binding.address()).expect("the printer listens");
        stream.write_all(zpl).expect("it reads");
    }

    fn label(&self, name: &str) -> Vec<u8> {
        let file = self.folder.path().join("labels").join(name);
        let started = Instant::now();
        while !file.exists() {
            assert!(started.elapsed() < DEADLINE, "{} appears", file.display());
            std::thread::yield_now();
        }
        std::fs::read(file).expect("the label")
    }
}

impl Drop for SimulatedPrinter {
    fn drop(&mut self) {
        let _ = self.program.kill();
        let _ = self.program.wait();
    }
}

/// Width and height of a PNG picture, from its header.
fn size(png: &[u8]) -> (u32, u32) {
    let number = |at: usize| u32::from_be_bytes(png[at..at + 4].try_into().expect("four bytes"));
    assert_eq!(&png[1..4], b"PNG");
    (number(16), number(20))
}

#[test]
fn each_label_lies_in_the_folder_as_it_was_sent_and_as_a_picture_of_its_size() {
    let printer = SimulatedPrinter::start();
    let one = b"^XA^PW480^LL320^FO30,30^BXN,6,200,,,,_,1^FD_1010401234567890110LOT42^FS^XZ";
    printer.print(&[one.as_slice(), b"^XA^FDtwo^FS^XZ"].concat());
    assert_eq!(printer.label("label-001.zpl"), one);
    assert_eq!(size(&printer.label("label-001.png")), (480, 320), "60 by 40 mm at 8 dots a millimetre");
    assert_eq!(printer.label("label-002.zpl"), b"^XA^FDtwo^FS^XZ");
}

#[test]
fn a_printer_fails_as_it_is_told_from_its_terminal_and_from_another() {
    let mut printer = SimulatedPrinter::start();
    assert_eq!(printer.state(), PrinterState::Ready);
    assert!(printer.tell("says_paper_out").status.success());
    assert_eq!(printer.state(), PrinterState::PaperOut);
    let refused = printer.tell("jam");
    assert!(!refused.status.success() && String::from_utf8_lossy(&refused.stderr).contains("no such fault"));
    writeln!(printer.input, "paused").expect("it reads");
    let started = Instant::now();
    while printer.state() != PrinterState::Paused {
        assert!(started.elapsed() < DEADLINE, "it is paused");
    }
    printer.print(b"^XA^FDheld^FS^XZ");
    assert!(printer.tell("ok").status.success());
    assert_eq!(printer.label("label-001.zpl"), b"^XA^FDheld^FS^XZ", "what it held comes out");
}
