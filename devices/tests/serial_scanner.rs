//! The serial scanner on real pseudo-terminals: what is sent arrives whole, once, in order, or is announced.
#![cfg(unix)]
#![allow(clippy::expect_used, clippy::panic, reason = "a failed expectation is a failed test")]

use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, sync_channel};
use std::time::{Duration, Instant};

use lotgate_devices::binding::{PortSelector, ScannerBinding, Timing};
use lotgate_devices::event::{DeviceEvent, DeviceEventKind, DeviceFault, DeviceState};
use lotgate_devices::frame::Terminator;
use lotgate_devices::serial::{ScannerStatus, SerialScanner};
use lotgate_devices::sim::scanner::{PATIENCE, SimScanner};

const DEADLINE: Duration = Duration::from_secs(20);
const SCAN: &[u8] = b"]d201040123456789011726043010LOT42\x1d21SN9";

/// A folder with a simulated scanner's link in it.
struct Bench {
    folder: tempfile::TempDir,
}

impl Bench {
    fn new() -> Self {
        Self { folder: tempfile::tempdir().expect("a temporary folder") }
    }

    fn link(&self) -> PathBuf {
        self.folder.path().join("scanner")
    }

    fn plug_in(&self) -> SimScanner {
        SimScanner::new(&self.link()).expect("a simulated scanner")
    }

    fn read(&self) -> Station {
        self.read_with(quick())
    }

    fn read_with(&self, timing: Timing) -> Station {
        Station::reading(ScannerBinding::at_path(self.link()), timing, 4_096)
    }
}

/// The consumer's end of one reader.
struct Station {
    scanner: SerialScanner,
    events: Receiver<DeviceEvent>,
}

impl Station {
    fn reading(binding: ScannerBinding, timing: Timing, room: usize) -> Self {
        let (sender, events) = sync_channel(room);
        let scanner = SerialScanner::start(binding, timing, sender).expect("a reader thread");
        Self { scanner, events }
    }

    fn next(&self) -> DeviceEvent {
        self.events.recv_timeout(DEADLINE).expect("the reader reports something before the deadline")
    }

    fn next_kind(&self) -> DeviceEventKind {
        self.next().kind
    }

    fn expect_state(&self, state: DeviceState) {
        assert_eq!(self.next_kind(), DeviceEventKind::State(state), "the next report is the change of state");
    }

    fn expect_scan(&self, bytes: &[u8]) {
        assert_eq!(
            self.next_kind(),
            DeviceEventKind::Scanned(bytes.to_vec()),
            "the next report is this scan"
        );
    }

    fn expect_fault(&self, fault: DeviceFault) {
        assert_eq!(self.next_kind(), DeviceEventKind::Fault(fault), "the next report is this fault");
    }

    fn wait_until(&self, what: &str, holds: impl Fn(&ScannerStatus) -> bool) {
        let start = Instant::now();
        while !holds(&self.scanner.status()) {
            assert!(start.elapsed() < DEADLINE, "{what}: {:?}", self.scanner.status());
            std::thread::yield_now();
        }
    }

    /// Ends the reader and returns what it had reported that nobody has looked at.
    fn stop(self) -> Vec<DeviceEventKind> {
        self.scanner.stop();
        self.events.try_iter().map(|event| event.kind).collect()
    }
}

/// The production order of waits, a few times faster. The gap stays: it is what is proven.
fn quick() -> Timing {
    Timing {
        retry_first: Duration::from_millis(10),
        retry_max: Duration::from_millis(80),
        missing_max: Duration::from_millis(40),
        read_wait: Duration::from_millis(40),
        ..Timing::default()
    }
}

/// For what must happen within a scan, on a busy machine too.
fn with_gap(gap: Duration) -> Timing {
    Timing { gap, ..quick() }
}

fn nothing() -> Vec<DeviceEventKind> {
    Vec::new()
}

#[test]
fn a_scan_arrives_whole_and_names_its_device() {
    let bench = Bench::new();
    let sim = bench.plug_in();
    let station = bench.read();
    station.expect_state(DeviceState::Ready);
    sim.scan(SCAN).expect("the scan is sent");
    let event = station.next();
    assert_eq!(event.kind, DeviceEventKind::Scanned(SCAN.to_vec()), "GS survives");
    assert_eq!(
        serde_json::to_value(&event.device).expect("a device is JSON"),
        serde_json::json!({
            "role": "scanner", "transport": "serial", "id": bench.link().to_str(), "simulated": true,
        }),
        "the id is the configured path, and a pseudo-terminal behind a link is simulated"
    );
    assert_eq!(station.stop(), nothing(), "nothing else was reported");
}

#[test]
fn every_byte_value_survives_except_the_terminator() {
    let bench = Bench::new();
    let sim = bench.plug_in();
    let station = bench.read();
    station.expect_state(DeviceState::Ready);
    let all: Vec<u8> = (0..=255).filter(|byte| *byte != b'\r').collect();
    sim.scan(&all).expect("the scan is sent");
    station.expect_scan(&all);

    let other = SimScanner::with(&bench.folder.path().join("other"), Terminator::Etx, PATIENCE)
        .expect("a simulated scanner");
    let mut binding = ScannerBinding::at_path(other.path());
    binding.settings.terminator = Terminator::Etx;
    let etx = Station::reading(binding, quick(), 16);
    etx.expect_state(DeviceState::Ready);
    let all: Vec<u8> = (0..=255).filter(|byte| *byte != 3).collect();
    other.scan(&all).expect("the scan is sent");
    etx.expect_scan(&all);
}

#[test]
fn a_scan_with_an_aim_identifier_counts_as_soon_as_the_port_is_open() {
    let bench = Bench::new();
    let sim = bench.plug_in();
    let station = bench.read();
    sim.scan(SCAN).expect("the scan waits for the port to be opened, and is sent");
    station.expect_state(DeviceState::Ready);
    station.expect_scan(SCAN);
}

#[test]
fn a_burst_of_a_thousand_scans_arrives_in_order() {
    let bench = Bench::new();
    let sim = bench.plug_in();
    let station = bench.read();
    station.expect_state(DeviceState::Ready);
    let scan = |n: usize| format!("]C10104012345678901{n:04}");
    std::thread::scope(|threads| {
        threads.spawn(|| (0..1_000).for_each(|n| sim.scan(scan(n).as_bytes()).expect("the scan is sent")));
        (0..1_000).for_each(|n| station.expect_scan(scan(n).as_bytes()));
    });
    assert_eq!(station.stop(), nothing(), "no fault, and nothing twice");
}

#[test]
fn a_consumer_that_is_too_slow_is_announced_and_loses_nothing() {
    let bench = Bench::new();
    let sim = bench.plug_in();
    let timing = Timing { queue: 8, ..quick() };
    let station = Station::reading(ScannerBinding::at_path(bench.link()), timing, 1);
    let scan = |n: usize| format!("]C1{n:097}");
    let mut scans = 0;
    let mut faults = 0;
    std::thread::scope(|threads| {
        threads.spawn(|| (0..300).for_each(|n| sim.scan(scan(n).as_bytes()).expect("the scan is sent")));
        station.wait_until("the overrun is counted while nobody takes events", |status| status.overruns == 1);
        while scans < 300 {
            match station.next_kind() {
                DeviceEventKind::Scanned(bytes) => {
                    assert_eq!(bytes, scan(scans).into_bytes(), "the scans come whole and in order");
                    scans += 1;
                }
                DeviceEventKind::Fault(DeviceFault::Overrun { waiting }) => {
                    assert!(waiting >= 8, "the queue was full");
                    faults += 1;
                }
                DeviceEventKind::State(DeviceState::Ready) => {}
                other => panic!("unexpected report {other:?}"),
            }
        }
    });
    assert!(faults >= 1, "the overrun is reported to the consumer too");
}

#[test]
fn a_pulled_cable_discards_the_half_scan_and_a_replug_works_without_restart() {
    let bench = Bench::new();
    let sim = bench.plug_in();
    let station = bench.read_with(with_gap(Duration::from_secs(1)));
    station.expect_state(DeviceState::Ready);
    for _ in 0..3 {
        sim.half_scan(b"]C1LOT42X").expect("half a scan is sent");
        station.wait_until("the half scan is read", |status| status.unfinished_bytes == 5);
        sim.unplug().expect("the cable is pulled");
        station.expect_fault(DeviceFault::ScanInterrupted { bytes: 5 });
        station.expect_state(DeviceState::Unplugged);
        sim.replug().expect("the cable is plugged in");
        station.expect_state(DeviceState::Ready);
        sim.scan(b"T42X").expect("the scan is sent");
        station.expect_scan(b"T42X");
    }
    assert_eq!(station.stop(), nothing(), "each change was reported once");
}

#[test]
fn a_scan_without_terminator_is_announced_and_never_joined_to_the_next() {
    let bench = Bench::new();
    let sim = bench.plug_in();
    let station = bench.read();
    station.expect_state(DeviceState::Ready);
    sim.send(b"]C1LOT4").expect("bytes are sent");
    station.expect_fault(DeviceFault::ScanUnterminated { bytes: 7 });
    sim.scan(b"]C1LOT42").expect("the scan is sent");
    station.expect_scan(b"]C1LOT42");
}

#[test]
fn the_end_of_a_scan_that_a_dead_reader_began_is_not_a_scan() {
    let bench = Bench::new();
    let sim = bench.plug_in();
    let first = bench.read_with(with_gap(Duration::from_secs(1)));
    first.expect_state(DeviceState::Ready);
    sim.send(b"]C1LOT").expect("bytes are sent");
    first.wait_until("the first half is read", |status| status.unfinished_bytes == 6);
    assert_eq!(
        first.stop(),
        [DeviceEventKind::Fault(DeviceFault::ScanInterrupted { bytes: 6 })],
        "the half that the first reader had is announced"
    );
    std::thread::scope(|threads| {
        threads.spawn(|| sim.send(b"42\r]C1LOT43\r").expect("the rest waits for a reader"));
        let second = bench.read_with(with_gap(DEADLINE));
        second.expect_state(DeviceState::Ready);
        second.expect_fault(DeviceFault::ScanWithoutStart { bytes: 2 });
        second.expect_scan(b"]C1LOT43");
    });
}

/// The reader that [`a_killed_reader_leaves_a_port_that_the_next_can_open`] kills; nothing by itself.
#[test]
fn reader_to_be_killed() {
    let Ok(link) = std::env::var("LOTGATE_TEST_READER") else { return };
    let station = Station::reading(ScannerBinding::at_path(link), quick(), 4_096);
    station.wait_until("somebody kills it", |_| false);
}

#[test]
fn a_killed_reader_leaves_a_port_that_the_next_can_open() {
    let bench = Bench::new();
    let sim = bench.plug_in();
    let mut killed = std::process::Command::new(std::env::current_exe().expect("this test program"))
        .args(["--exact", "reader_to_be_killed"])
        .env("LOTGATE_TEST_READER", bench.link())
        .stdout(std::process::Stdio::null())
        .spawn()
        .expect("another process");
    sim.send(b"]C1LOT").expect("the bytes wait for the other process to open the port");
    killed.kill().expect("SIGKILL");
    killed.wait().expect("it is gone");
    let station = bench.read_with(with_gap(DEADLINE));
    sim.scan(b"42").expect("the scan is sent");
    sim.scan(SCAN).expect("the scan is sent");
    let mut reports = vec![station.next_kind()];
    while reports.last() != Some(&DeviceEventKind::Scanned(SCAN.to_vec())) {
        reports.push(station.next_kind());
    }
    let scans = reports.iter().filter(|kind| matches!(kind, DeviceEventKind::Scanned(_))).count();
    assert!(reports.contains(&DeviceEventKind::State(DeviceState::Ready)), "{reports:?}");
    // What the killed reader had not taken waits in the terminal; then "42" ends a scan whose start is there.
    let whole = DeviceEventKind::Scanned(b"]C1LOT42".to_vec());
    assert!(scans == 1 || reports.contains(&whole), "no part of a scan is a scan: {reports:?}");
}

#[test]
fn a_port_in_use_by_another_program_is_busy_until_it_is_free() {
    let bench = Bench::new();
    let sim = bench.plug_in();
    let other =
        serialport::new(bench.link().to_string_lossy(), 9_600).open().expect("another program has it");
    let station = bench.read();
    station.expect_state(DeviceState::Busy);
    drop(other);
    station.expect_state(DeviceState::Ready);
    sim.scan(SCAN).expect("the scan is sent");
    station.expect_scan(SCAN);

    let second = bench.read();
    second.expect_state(DeviceState::Busy);
    assert_eq!(second.stop(), nothing(), "two readers never share the bytes of one scanner");
    assert_eq!(station.stop(), nothing(), "the second did not disturb the first");
}

#[test]
fn a_missing_port_is_reported_once_and_ready_when_it_appears() {
    let bench = Bench::new();
    let station = bench.read();
    station.expect_state(DeviceState::Missing);
    let sim = bench.plug_in();
    station.expect_state(DeviceState::Ready);
    sim.scan(SCAN).expect("the scan is sent");
    station.expect_scan(SCAN);
    assert_eq!(station.stop(), nothing(), "Missing was reported once, however often opening was tried");
}

#[test]
fn a_port_that_may_not_be_opened_is_denied_and_not_missing() {
    use std::os::unix::fs::{MetadataExt, PermissionsExt};
    let bench = Bench::new();
    let sim = bench.plug_in();
    let allow = |mode| {
        let allowed = std::fs::Permissions::from_mode(mode);
        std::fs::set_permissions(sim.path(), allowed).expect("the terminal is ours");
    };
    allow(0o000);
    let station = bench.read();
    // The superuser is not denied anything.
    if std::fs::metadata("/proc/self").expect("this process").uid() != 0 {
        station.expect_state(DeviceState::Denied);
        allow(0o600);
    }
    station.expect_state(DeviceState::Ready);
}

#[test]
fn what_is_not_a_serial_port_is_unusable_and_not_missing() {
    let bench = Bench::new();
    std::fs::write(bench.link(), "not a port").expect("a file");
    let station = bench.read();
    station.expect_state(DeviceState::Unusable);
    assert!(SimScanner::new(&bench.link()).is_err(), "the simulator does not replace a file that is no link");
    std::fs::remove_file(bench.link()).expect("the file goes");
    station.expect_state(DeviceState::Missing);
    let _sim = bench.plug_in();
    station.expect_state(DeviceState::Ready);
}

#[test]
fn a_reader_stops_promptly_whatever_it_is_doing() {
    let bench = Bench::new();
    let prompt = Duration::from_millis(300);
    let production =
        |path: &Path, room| Station::reading(ScannerBinding::at_path(path), Timing::default(), room);

    let waiting = production(&bench.folder.path().join("nowhere"), 16);
    waiting.expect_state(DeviceState::Missing);
    let sim = bench.plug_in();
    let reading = production(sim.path(), 16);
    reading.expect_state(DeviceState::Ready);
    let blocked_sim = SimScanner::new(&bench.folder.path().join("blocked")).expect("a simulated scanner");
    let timing = Timing { queue: 2, ..Timing::default() };
    let blocked = Station::reading(ScannerBinding::at_path(blocked_sim.path()), timing, 1);
    (0..8).for_each(|_| blocked_sim.scan(SCAN).expect("the scan is sent"));
    blocked.wait_until("the queue is full", |status| status.overruns == 1);

    for (what, station) in [("waiting for a port", waiting), ("reading", reading), ("blocked", blocked)] {
        let start = Instant::now();
        station.stop();
        assert!(start.elapsed() < prompt, "{what}: {:?}", start.elapsed());
    }
}

#[test]
fn a_reader_ends_by_itself_when_the_consumer_is_gone() {
    let bench = Bench::new();
    let sim = bench.plug_in();
    let station = bench.read();
    station.expect_state(DeviceState::Ready);
    let Station { scanner, events } = station;
    drop(events);
    sim.scan(SCAN).expect("the scan is sent");
    let start = Instant::now();
    while sim.is_open() {
        assert!(start.elapsed() < DEADLINE, "the port is closed when nobody wants its scans");
        std::thread::yield_now();
    }
    drop(scanner);
}

#[test]
fn a_usb_identity_that_is_not_plugged_in_is_missing_and_names_the_device() {
    let usb =
        lotgate_devices::binding::UsbIdentity { vid: 0xffff, pid: 0xfffe, serial: Some("SN1".to_owned()) };
    let binding = ScannerBinding { port: PortSelector::Usb(usb), ..ScannerBinding::at_path("") };
    let station = Station::reading(binding, quick(), 16);
    let event = station.next();
    assert_eq!(event.kind, DeviceEventKind::State(DeviceState::Missing), "no such device here");
    assert_eq!(event.device.id, "usb:ffff:fffe:SN1", "the identity, not a port name");
}
