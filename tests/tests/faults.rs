//! A hostile network: lost replies, cut requests, a cloud that goes and comes. Nothing is lost or doubled.

use anyhow::Result;
use lotgate_tests::plant::{Plant, Station, lot_scan};
use lotgate_tests::programs::wait_for;
use serde_json::json;
use std::collections::HashSet;

fn assert_once_and_in_order(held: &[String], confirmed: &[String]) {
    let once: HashSet<&String> = held.iter().collect();
    assert_eq!(once.len(), held.len(), "no operation is there twice");
    let wanted: HashSet<&String> = confirmed.iter().collect();
    let in_order: Vec<&String> = held.iter().filter(|hash| wanted.contains(hash)).collect();
    assert_eq!(in_order, confirmed.iter().collect::<Vec<_>>(), "every confirmed one, in order");
}

/// A station with forty scans that the cloud has not seen, the cable being out.
fn with_forty_waiting(plant: &mut Plant) -> Result<Station> {
    let mut station = plant.station("dispense-1")?;
    station.start()?;
    station.wait_settled()?;
    plant.network.cut();
    for n in 0..40 {
        station.scanner.scan(&lot_scan(&format!("L-0001\x1d21S{n}")))?;
    }
    station.wait_confirmed(40)?;
    Ok(station)
}

/// Puts the cable in and sees everything settled, once and in order, with `faults` on the way.
fn drains_through(plant: &mut Plant, mut station: Station, faults: u64) -> Result<()> {
    plant.network.restore()?;
    station.wait_settled()?;
    assert_eq!(plant.network.faults_done(), faults, "the faults took place");
    assert_once_and_in_order(&plant.entry_hashes(&station.id()?)?, &station.confirmed_hashes());
    let (code, said) = station.stop()?;
    assert_eq!(code, Some(0), "{said}");
    Ok(())
}

/// The cloud commits, the reply is lost, the station pushes again: success, same rows.
#[test]
fn lost_replies_double_nothing() -> Result<()> {
    let mut plant = Plant::new("lost_replies")?;
    let station = with_forty_waiting(&mut plant)?;
    plant.network.lose_replies(3);
    drains_through(&mut plant, station, 3)
}

/// Pushes cut on their way leave nothing half done.
#[test]
fn cut_requests_leave_nothing_half_done() -> Result<()> {
    let mut plant = Plant::new("cut_requests")?;
    let station = with_forty_waiting(&mut plant)?;
    plant.network.cut_requests(3, 2_500);
    drains_through(&mut plant, station, 3)
}

/// The cloud is stopped and started again: the station drains by itself, and goes on.
#[test]
fn a_cloud_that_comes_back_is_found_without_input() -> Result<()> {
    let mut plant = Plant::new("cloud_returns")?;
    let mut station = plant.station("dispense-1")?;
    station.start()?;
    wait_for("reference data", || Ok((station.status()?["reference"]["cursor"] == json!(1)).then_some(())))?;
    plant.stop_cloud()?;
    for n in 0..10 {
        station.scanner.scan(&lot_scan(&format!("L-0001\x1d21S{n}")))?;
    }
    station.wait_confirmed(10)?;
    assert!(station.status()?["queue"]["queued"].as_u64() >= Some(10), "work goes on without the cloud");
    let back = plant.start_cloud()?;
    station.wait_settled()?;
    let drained = back.elapsed();
    assert!(drained.as_secs() < 5, "drained {drained:?} after the cloud listened again");
    assert_once_and_in_order(&plant.entry_hashes(&station.id()?)?, &station.confirmed_hashes());
    Ok(())
}

/// A cloud that is killed in the middle of its work comes back with everything that it had answered.
#[test]
fn a_killed_cloud_loses_nothing_that_it_confirmed() -> Result<()> {
    let mut plant = Plant::new("cloud_killed")?;
    let mut station = plant.station("dispense-1")?;
    station.start()?;
    for n in 0..60 {
        station.scanner.scan(&lot_scan(&format!("L-0001\x1d21S{n}")))?;
        if n % 20 == 10 {
            if let Some(cloud) = plant.cloud.take() {
                cloud.kill();
            }
            plant.start_cloud()?;
        }
    }
    station.wait_confirmed(60)?;
    station.wait_settled()?;
    assert_once_and_in_order(&plant.entry_hashes(&station.id()?)?, &station.confirmed_hashes());
    Ok(())
}
