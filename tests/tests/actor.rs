//! What the station's actor tells, and when: nothing of an operation before it is durable.

use anyhow::{Context as _, Result};
use lotgate_devices::event::{DeviceEvent, DeviceEventKind, DeviceInfo, Role, Transport};
use lotgate_domain::barcode::SitePatterns;
use lotgate_domain::ids::{BootId, Hash};
use lotgate_domain::operation::Program;
use lotgate_domain::text::Language;
use lotgate_station::actor::{Ended, LabelSource, Printing, Report, Station};
use lotgate_station::print::Jobs;
use lotgate_sync::clock::SystemClock;
use lotgate_sync::queue::{CapacityLimits, Queue, QueueOptions};
use lotgate_sync::secure::{Places, Secure, SystemRandom};
use lotgate_tests::plant::{Plant, lot_scan};
use std::sync::Arc;
use std::time::Instant;
use tokio::sync::{mpsc, watch};

fn scanned(raw: &[u8]) -> DeviceEvent {
    let device = DeviceInfo {
        role: Role::Scanner,
        transport: Transport::Serial,
        id: "scanner".to_owned(),
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
        Report::Repeated { of },
        Report::Committed { appended: repeated, refusal: None, .. },
        Report::Committed { appended: other, refusal: Some("no_reference_data"), .. },
    ] = &told[..]
    else {
        panic!("refused, repeated, told of the repetition, refused: {told:?}");
    };
    assert_eq!(*of, first.id, "answered from the operation that is durable");
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
