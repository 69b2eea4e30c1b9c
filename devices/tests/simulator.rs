//! The program `lotgate-sim`, as a person or a script uses it.
#![cfg(unix)]
#![allow(clippy::expect_used, clippy::panic, reason = "a failed expectation is a failed test")]

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Output, Stdio};
use std::sync::mpsc::{Receiver, sync_channel};
use std::time::{Duration, Instant};

use lotgate_devices::binding::{ScannerBinding, Timing};
use lotgate_devices::event::{DeviceEvent, DeviceEventKind, DeviceFault, DeviceState};
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
