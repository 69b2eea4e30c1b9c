//! What the station's actor tells, and when: nothing of an operation before it is durable.

use anyhow::{Context as _, Result};
use lotgate_devices::event::{Delivery, DeviceEvent, DeviceEventKind, DeviceInfo, Role, Transport};
use lotgate_devices::printer::{NetworkPrinter, PrinterBinding, PrinterTiming};
use lotgate_domain::barcode::SitePatterns;
use lotgate_domain::ids::{BootId, Hash, OperationId};
use lotgate_domain::operation::Program;
use lotgate_domain::operation::body::{Body, Device, JobState, LabelQueued, LabelState, SnapshotLot};
use lotgate_domain::reference::{Item, Lot, LotStatus, ReferenceFile, Snapshot, render_page};
use lotgate_domain::text::Language;
use lotgate_domain::time::Timestamp;
use lotgate_station::actor::{Ended, JobsShown, LabelSource, PrintRequest, Printing, Report, Station};
use lotgate_station::print::Jobs;
use lotgate_sync::clock::{Clock as _, SystemClock};
use lotgate_sync::queue::{CapacityLimits, LabelOperation, PageMark, Queue, QueueOptions};
use lotgate_sync::runner::Reference;
use lotgate_sync::secure::{Places, Secure, SystemRandom};
use lotgate_tests::plant::{GTIN, Plant, lot_scan};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::{mpsc, watch};

fn scanned(raw: &[u8]) -> DeviceEvent {
    scanned_by("scanner", raw)
}

fn scanned_by(scanner: &str, raw: &[u8]) -> DeviceEvent {
    let device = DeviceInfo {
        role: Role::Scanner,
        transport: Transport::Serial,
        id: scanner.to_owned(),
        simulated: true,
    };
    DeviceEvent { device, at_mono: Instant::now(), kind: DeviceEventKind::Scanned(raw.to_vec()) }
}

fn open(plant: &Plant) -> Result<Queue> {
    open_within(plant, CapacityLimits::default())
}

fn open_within(plant: &Plant, limits: CapacityLimits) -> Result<Queue> {
    let station = plant.station("s")?;
    Ok(Queue::open(QueueOptions {
        secure: Secure::open(Places::new(station.dir.join("data"), None, None))?,
        clock: Arc::new(SystemClock::new(BootId::from_parts(0, &[0; 10]))),
        random: Arc::new(SystemRandom),
        program: Program { version: "test".into(), build: "test".into(), config_sha256: Hash::ZERO },
        limits,
    })?)
}

#[test]
fn a_repetition_is_told_after_the_refusal_that_it_repeats() -> Result<()> {
    let plant = Plant::new("actor")?;
    let queue = open(&plant)?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let told: Vec<Report> = runtime.block_on(async {
        let (events, devices) = mpsc::channel(64);
        let (reports, mut heard) = mpsc::channel(64);
        let (stop, shutdown) = watch::channel(false);
        let (_reference, reference) = watch::channel(None);
        // Both lie in the channel before the first can have been committed.
        for scan in [lot_scan("L-0001"), lot_scan("L-0001"), lot_scan("L-0002")] {
            events.send(scanned(&scan)).await?;
        }
        let station = Station {
            queue: queue.clone(),
            site_codes: SitePatterns::default(),
            reference,
            random: Arc::new(SystemRandom),
            devices,
            printing: no_printer(),
            requests: mpsc::channel(1).1,
            reports,
            shutdown,
        };
        let actor = tokio::spawn(station.run());
        let mut told = Vec::new();
        while told.len() < 4 {
            told.push(heard.recv().await.context("the actor ended")?);
        }
        stop.send(true)?;
        assert_eq!(actor.await?, Ended::Shutdown);
        anyhow::Ok(told)
    })?;
    let [
        Report::Committed { appended: first, refusal: Some("no_reference_data"), .. },
        Report::Repeated { appended: of, refusal: "no_reference_data", count: 1, .. },
        Report::Committed { appended: repeated, refusal: None, .. },
        Report::Committed { appended: other, refusal: Some("no_reference_data"), .. },
    ] = &told[..]
    else {
        panic!("refused, repeated, told of the repetition, refused: {told:?}");
    };
    assert_eq!(of.id, first.id, "answered from the operation that is durable");
    assert_eq!((repeated.kind, other.kind), ("scan.repeated", "scan.refused"));
    assert_eq!(other.seq, first.seq + 2, "in the order of the scans");
    runtime.block_on(queue.close())?;
    Ok(())
}

fn no_printer() -> Printing {
    let source = LabelSource { station: "Booth 3".to_owned(), training: true, language: Language::En };
    Printing::new(Jobs::fold(None, &[]), None, source)
}

#[test]
fn a_full_queue_refuses_each_scan_loudly_and_the_station_goes_on() -> Result<()> {
    let plant = Plant::new("actor_full")?;
    let queue = open_within(&plant, CapacityLimits { operations: 20, ..CapacityLimits::default() })?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let told: Vec<Report> = runtime.block_on(async {
        let (events, devices) = mpsc::channel(64);
        let (reports, mut heard) = mpsc::channel(64);
        let (stop, shutdown) = watch::channel(false);
        let (_reference, reference) = watch::channel(None);
        let station = Station {
            queue: queue.clone(),
            site_codes: SitePatterns::default(),
            reference,
            random: Arc::new(SystemRandom),
            devices,
            printing: no_printer(),
            requests: mpsc::channel(1).1,
            reports,
            shutdown,
        };
        let actor = tokio::spawn(station.run());
        let mut told = Vec::new();
        for n in 0..25 {
            events.send(scanned(&lot_scan(&format!("L-{n:04}")))).await?;
            told.push(heard.recv().await.context("the actor ended")?);
        }
        stop.send(true)?;
        assert_eq!(actor.await?, Ended::Shutdown, "it went on to the end");
        anyhow::Ok(told)
    })?;
    let kept = told.iter().filter(|report| matches!(report, Report::Committed { .. })).count();
    let refused: Vec<&str> = told
        .iter()
        .filter_map(|report| match report {
            Report::NotKept(error) => Some(error.code()),
            _ => None,
        })
        .collect();
    assert_eq!(kept + 1, 19, "95 % of 20, the enrolment included");
    assert_eq!(refused, ["queue_full"; 7], "each one is told");
    assert_eq!(runtime.block_on(async { queue.state().borrow().queued }), 19);
    runtime.block_on(queue.close())?;
    Ok(())
}

/// Where no printer is: what is queued for it waits.
const NOBODY: &str = "127.0.0.1:9";
const PATIENCE: Duration = Duration::from_secs(60);
const LOTS: [&str; 2] = ["L-0001", "L-0002"];

/// A station with a printer that is away, between its devices and whoever listens.
struct Booth {
    events: mpsc::Sender<DeviceEvent>,
    requests: mpsc::Sender<PrintRequest>,
    heard: mpsc::Receiver<Report>,
    stop: watch::Sender<bool>,
    reference: watch::Sender<Option<Reference>>,
    actor: tokio::task::JoinHandle<Ended>,
}

impl Booth {
    fn start(queue: &Queue, earlier: &[LabelOperation]) -> Result<Self> {
        let (events, devices) = mpsc::channel(64);
        let (requests, asked) = mpsc::channel(64);
        let (reports, heard) = mpsc::channel(1_024);
        let (stop, shutdown) = watch::channel(false);
        let (reference, known) = watch::channel(Some(reference_data(3)?));
        let binding = PrinterBinding::at_address(NOBODY).context("an address")?;
        let info = binding.info();
        let jobs = Jobs::fold(Some(info.id.clone()), earlier);
        let printer = NetworkPrinter::start(binding, PrinterTiming::default(), |_| Delivery::Taken)?;
        let station = Station {
            queue: queue.clone(),
            site_codes: SitePatterns::default(),
            reference: known,
            random: Arc::new(SystemRandom),
            devices,
            printing: Printing::new(jobs, Some((info, Arc::new(printer))), source()),
            requests: asked,
            reports,
            shutdown,
        };
        Ok(Self { events, requests, heard, stop, reference, actor: tokio::spawn(station.run()) })
    }

    async fn report(&mut self) -> Result<Report> {
        let report = tokio::time::timeout(PATIENCE, self.heard.recv()).await;
        report.context("nothing is told")?.context("the actor ended")
    }

    /// The id of the next operation of this kind.
    async fn committed(&mut self, wanted: &str) -> Result<OperationId> {
        loop {
            if let Report::Committed { appended, .. } = self.report().await?
                && appended.kind == wanted
            {
                return Ok(appended.id);
            }
        }
    }

    /// How the jobs stand when they next stand so.
    async fn jobs(&mut self, wanted: impl Fn(&JobsShown) -> bool) -> Result<JobsShown> {
        loop {
            if let Report::Jobs(shown) = self.report().await?
                && wanted(&shown)
            {
                return Ok(*shown);
            }
        }
    }

    async fn scan(&mut self, lot: &str) -> Result<OperationId> {
        self.events.send(scanned(&lot_scan(lot))).await?;
        self.committed("scan.accepted").await
    }

    async fn ask(&self, request: PrintRequest) -> Result<()> {
        Ok(self.requests.send(request).await?)
    }

    /// Ends it; how many labels were queued, and how often it said that something was gone, since the last look.
    async fn end(mut self) -> Result<(usize, usize)> {
        // Everything that was asked for is taken before this.
        self.ask(PrintRequest::Cancel(OperationId::from_parts(0, &[0; 10]))).await?;
        let (mut labels, mut gone, mut stopped) = (0, 0, false);
        while let Some(report) =
            tokio::time::timeout(PATIENCE, self.heard.recv()).await.context("it does not end")?
        {
            match report {
                Report::Gone => gone += 1,
                Report::Committed { appended, .. } => labels += usize::from(appended.kind == "label.queued"),
                _ => {}
            }
            if self.requests.capacity() == self.requests.max_capacity() && !stopped && gone > 0 {
                stopped = true;
                self.stop.send(true)?;
            }
        }
        assert_eq!(self.actor.await?, Ended::Shutdown);
        Ok((labels, gone - 1))
    }
}

fn source() -> LabelSource {
    LabelSource { station: "Booth 3".to_owned(), training: true, language: Language::En }
}

fn reference_data(cursor: u64) -> Result<Reference> {
    let lot = |lot: &str| Lot {
        lot: lot.to_owned(),
        item: "LACTOSE".to_owned(),
        status: LotStatus::Released,
        expiry: None,
        codes: Vec::new(),
    };
    let item = Item { item: "LACTOSE".to_owned(), name: None, gtin: Some(GTIN.to_owned()) };
    let file = ReferenceFile { items: vec![item], lots: LOTS.map(lot).to_vec() };
    let clock = SystemClock::new(BootId::from_parts(0, &[0; 10])).read();
    let mark = PageMark { cursor, hash: Hash::ZERO, time: clock.wall, confirmed: clock };
    let snapshot = Snapshot::read(&render_page(&file, "UTC")?, mark.cursor, mark.hash)?;
    Ok(Reference { snapshot: Arc::new(snapshot), mark })
}

/// A job of an earlier run, numbered; a person said that nothing came out if `not_printed`.
fn earlier(n: u8, not_printed: bool) -> Vec<LabelOperation> {
    let id = |part: u8| OperationId::from_parts(n.into(), &[part; 10]);
    let label = LabelQueued {
        printer: Device {
            role: "printer".to_owned(),
            transport: "tcp".to_owned(),
            id: format!("tcp:{NOBODY}"),
            simulated: true,
        },
        template: "container/1".to_owned(),
        language: "en".to_owned(),
        scan: id(9),
        item: "LACTOSE".to_owned(),
        lot: "L-0001".to_owned(),
        snapshot_lot: SnapshotLot { status: LotStatus::Released, expiry: None },
        serial: n.to_string(),
        copy: 1,
        of: None,
        elements: Vec::new(),
        sha256: Hash::ZERO,
        bytes: 8,
    };
    let state = |state, evidence: Option<&str>| {
        let evidence = evidence.map(str::to_owned);
        Body::LabelState(LabelState { job: id(0), state, evidence, cause: None })
    };
    let ended = [state(JobState::Sending, None), state(JobState::ResolvedNotPrinted, Some("operator"))];
    let bodies = std::iter::once(Body::LabelQueued(label)).chain(ended.into_iter().filter(|_| not_printed));
    let wall = Timestamp::from_unix_ms(0);
    (0u8..).zip(bodies).map(|(part, body)| LabelOperation { id: id(part), wall, body: Some(body) }).collect()
}

/// Runs a booth on a new plant.
fn in_a_booth<F: Future<Output = Result<()>>>(
    name: &str,
    earlier: &[LabelOperation],
    day: impl FnOnce(Booth) -> F,
) -> Result<()> {
    let plant = Plant::new(name)?;
    let queue = open(&plant)?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async { day(Booth::start(&queue, earlier)?).await })?;
    runtime.block_on(queue.close())?;
    Ok(())
}

#[test]
fn one_scan_gets_one_label_however_often_it_is_asked_for_and_the_screen_hears_that_it_waits() -> Result<()> {
    in_a_booth("actor_twice", &[], |mut booth| async move {
        let first = booth.scan("L-0001").await?;
        booth.ask(PrintRequest::Print(first)).await?;
        booth.committed("label.queued").await?;
        let second = booth.scan("L-0002").await?;
        // A glove that bounces, before the commit.
        booth.ask(PrintRequest::Print(second)).await?;
        booth.ask(PrintRequest::Print(second)).await?;
        let shown = booth.jobs(|shown| shown.behind == 1).await?;
        assert_eq!(shown.newest.map(|(_, scan)| scan), Some(second));
        assert_eq!(shown.job.map(|job| job.label.scan), Some(first), "the first is still in work");
        booth.committed("label.queued").await?;
        // A touch after it.
        booth.ask(PrintRequest::Print(second)).await?;
        assert_eq!(booth.end().await?, (0, 0), "no other label, and nothing is said of it");
        Ok(())
    })
}

#[test]
fn a_label_that_was_not_printed_gets_one_copy_however_often_it_is_asked_for() -> Result<()> {
    in_a_booth("actor_copies", &earlier(1, true), |booth| async move {
        let job = OperationId::from_parts(1, &[0; 10]);
        booth.ask(PrintRequest::Again(job)).await?;
        booth.ask(PrintRequest::Again(job)).await?;
        assert_eq!(booth.end().await?, (1, 0));
        Ok(())
    })
}

#[test]
fn a_label_for_a_scan_that_another_has_replaced_is_not_made_and_that_is_said() -> Result<()> {
    in_a_booth("actor_gone", &[], |mut booth| async move {
        let first = booth.scan("L-0001").await?;
        booth.scan("L-0002").await?;
        booth.ask(PrintRequest::Print(first)).await?;
        assert_eq!(booth.end().await?, (0, 1));
        Ok(())
    })
}

#[test]
fn a_label_that_was_not_printed_is_shown_before_others_until_the_person_leaves_it() -> Result<()> {
    let jobs = [earlier(1, true), earlier(2, false)].concat();
    // Queued before the first had ended.
    let jobs = [&jobs[..1], &jobs[3..], &jobs[1..3]].concat();
    in_a_booth("actor_owed", &jobs, |mut booth| async move {
        let (first, second) = (OperationId::from_parts(1, &[0; 10]), OperationId::from_parts(2, &[0; 10]));
        let shown = booth.jobs(|_| true).await?;
        assert_eq!((shown.job.map(|job| job.id), shown.owed, shown.behind), (Some(first), true, 1));
        booth.ask(PrintRequest::Leave(first)).await?;
        let shown = booth.jobs(|shown| !shown.owed).await?;
        assert_eq!((shown.job.map(|job| job.id), shown.behind), (Some(second), 0));
        assert_eq!(booth.end().await?, (0, 0));
        Ok(())
    })
}

#[test]
fn a_repetition_at_one_scanner_after_a_scan_at_another_says_all_of_the_refusal_again() -> Result<()> {
    in_a_booth("actor_scanners", &[], |mut booth| async move {
        let unknown = lot_scan("L-9999");
        booth.events.send(scanned_by("a", &unknown)).await?;
        let refused = booth.committed("scan.refused").await?;
        booth.events.send(scanned_by("b", &lot_scan("L-0001"))).await?;
        booth.committed("scan.accepted").await?;
        // It is what was known then that is said.
        booth.reference.send_replace(Some(reference_data(4)?));
        booth.events.send(scanned_by("a", &unknown)).await?;
        loop {
            let Report::Repeated { appended, refusal, scanned, count } = booth.report().await? else {
                continue;
            };
            assert_eq!((appended.id, refusal, count, scanned.snapshot), (refused, "unknown_lot", 1, Some(3)));
            assert!(matches!(&scanned.body, Body::ScanRefused(scan) if scan.device.id == "a"));
            break;
        }
        assert_eq!(booth.end().await?, (0, 0));
        Ok(())
    })
}
