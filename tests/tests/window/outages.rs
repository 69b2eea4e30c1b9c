//! The cloud or the scanner goes away and comes back, and the person knows it.

use crate::{at_both_sizes, open, says};
use anyhow::Result;
use lotgate_tests::plant::lot_scan;
use lotgate_tests::programs::wait_for;

/// While the cloud is away the screen says so, how much is safe here and how old the oldest of it is; scans go on;
/// when it is back, everything is settled and the bar is gone.
#[test]
fn an_outage_of_the_cloud_is_said_counted_and_settled() -> Result<()> {
    at_both_sizes("offline", |display, plant| {
        let station = plant.station("dispense-1")?;
        let window = open(&station, display)?;
        window.wait("everything is settled", |shown| shown.waiting == Some(0))?;
        plant.stop_cloud()?;
        for lot in ["L-0001", "L-HELD"] {
            station.scanner.scan(&lot_scan(lot))?;
            window.wait(lot, |shown| shown.said.contains(lot))?;
        }
        let shown = window.wait("offline", |shown| shown.all.contains(says("net_offline")))?;
        assert_eq!(shown.state, "refused", "the band still says what the last scan came to");
        let shown = window.wait("count and age", |shown| shown.offline && shown.waiting == Some(2))?;
        assert!(shown.oldest.is_some(), "the age of the oldest: {shown:#?}");
        assert!(shown.all.contains(says("offline_todo")), "what to do: {shown:#?}");
        window.picture("offline")?;
        plant.start_cloud()?;
        window.wait("settled", |shown| !shown.offline && shown.waiting == Some(0))?;
        window.picture("online-again")?;
        let rows = wait_for("both scans are in the cloud", || {
            Ok(Some(plant.rows("SELECT lot FROM scan ORDER BY index", &[])?).filter(|rows| rows.len() == 2))
        })?;
        assert_eq!(rows.iter().map(|row| row.get::<_, String>(0)).collect::<Vec<_>>(), ["L-0001", "L-HELD"]);
        window.close()
    })
}

/// A scanner without its cable is a fault in words with what to do; plugged in again it works without more.
#[test]
fn an_unplugged_scanner_is_said_with_what_to_do() -> Result<()> {
    at_both_sizes("unplugged", |display, plant| {
        let station = plant.station("dispense-1")?;
        let window = open(&station, display)?;
        station.scanner.unplug()?;
        let shown = window.wait("the fault", |shown| shown.state == "fault")?;
        assert!(shown.said.contains(says("unplugged")), "{shown:#?}");
        window.picture("scanner-unplugged")?;
        window.touch(says("act_devices"))?;
        window.wait("the devices say it", |shown| shown.all.contains(says("dev_state_unplugged")))?;
        window.picture("devices-unplugged")?;
        window.touch(says("act_back"))?;
        station.scanner.replug()?;
        wait_for("the scanner is open again", || Ok(station.scanner.is_open().then_some(())))?;
        station.scanner.scan(&lot_scan("L-0001"))?;
        window.wait("green", |shown| shown.state == "accepted")?;
        window.close()
    })
}
