//! The whole way, to be read first: a scanner's bytes become a Postgres row that nobody can change.

use anyhow::Result;
use lotgate_tests::plant::{Plant, lot_scan};
use lotgate_tests::programs::{run, wait_for};
use serde_json::json;

/// From the pseudo-terminal over station, queue, engine and cloud to an immutable row and back: the receipt.
#[test]
fn a_scan_becomes_a_row_that_nobody_can_change() -> Result<()> {
    let plant = Plant::new("whole_way")?;
    let mut station = plant.station("dispense-1")?;
    station.start()?;
    wait_for("reference data", || Ok((station.status()?["reference"]["cursor"] == json!(1)).then_some(())))?;

    station.scanner.scan(&lot_scan("L-0001"))?;
    station.wait_confirmed(1)?;
    let line = &station.confirmed[0];
    assert_eq!(line["type"], "scan.accepted", "the lot is released: {line}");
    assert_eq!(line["raw_hex"], hex::encode(lot_scan("L-0001")), "what the scanner sent, byte for byte");

    station.wait_settled()?;
    let hash = line["hash"].as_str().unwrap();
    let id = station.id()?;
    assert!(plant.entry_hashes(&id)?.iter().any(|held| held == hash), "the row is in Postgres");
    let sql = "SELECT accepted, item, lot FROM scan WHERE station_id::text = $1";
    let rows = plant.rows(sql, &[&id])?;
    assert_eq!(rows.len(), 1, "one scan, one row of the projection");
    assert!(rows[0].get::<_, bool>("accepted"));
    assert_eq!(rows[0].get::<_, String>("lot"), "L-0001");

    for change in [
        "UPDATE entry SET bytes = ''::bytea",
        "DELETE FROM entry",
        "TRUNCATE entry CASCADE",
        "SET session_replication_role = replica; DELETE FROM entry",
    ] {
        let refused = plant.execute(change).expect_err(change);
        let state = refused.downcast_ref::<tokio_postgres::Error>().and_then(|error| error.code().cloned());
        let state = state.as_ref().map(tokio_postgres::error::SqlState::code);
        assert_eq!(state, Some("LG001"), "even a superuser's mistake is refused by the trigger: {change}");
    }
    assert!(plant.entry_hashes(&id)?.iter().any(|held| held == hash), "the row is still there");

    let verified = run(station.command()?.args(["queue", "verify", "--json"]))?;
    assert!(verified.status.success(), "{}", String::from_utf8_lossy(&verified.stdout));
    let (code, said) = station.stop()?;
    assert_eq!(code, Some(0), "{said}");
    Ok(())
}

/// Unknown, expired, held, quarantined, rejected, unreadable: each refused with its code, and recorded.
#[test]
fn every_refused_scan_is_an_operation_with_its_reason() -> Result<()> {
    let plant = Plant::new("refusals")?;
    let mut station = plant.station("dispense-1")?;
    station.start()?;
    wait_for("reference data", || Ok((station.status()?["reference"]["cursor"] == json!(1)).then_some(())))?;
    let scans: [(Vec<u8>, &str); 8] = [
        (lot_scan("L-NONE"), "unknown_lot"),
        (lot_scan("L-OLD"), "lot_expired"),
        (lot_scan("L-HELD"), "lot_held"),
        (lot_scan("L-QUAR"), "lot_quarantined"),
        (lot_scan("L-REJ"), "lot_rejected"),
        ([lot_scan("L-0001"), b"\x1d17300101".to_vec()].concat(), "expiry_mismatch"),
        (b"]d20104012345678902".to_vec(), "wrong_check_digit"),
        (b"]C0SOMETHING ELSE".to_vec(), "unknown_lot"),
    ];
    for (scan, _) in &scans {
        station.scanner.scan(scan)?;
    }
    station.wait_confirmed(scans.len())?;
    station.wait_settled()?;
    let sql = "SELECT encode(raw, 'hex'), code FROM scan WHERE station_id::text = $1 ORDER BY index";
    let rows = plant.rows(sql, &[&station.id()?])?;
    let kept: Vec<(String, String)> = rows.iter().map(|row| (row.get(0), row.get(1))).collect();
    let expected: Vec<(String, String)> =
        scans.iter().map(|(scan, code)| (hex::encode(scan), (*code).to_owned())).collect();
    assert_eq!(kept, expected, "in the order of the scans, each with its code");
    assert!(
        station.confirmed.iter().all(|line| line["type"] == "scan.refused" && line["raw_hex"].is_string())
    );
    Ok(())
}

/// The first of identical refused scans is an operation; the others are counted (PROTOCOL §2).
#[test]
fn identical_refused_scans_are_counted_not_repeated() -> Result<()> {
    let plant = Plant::new("repeats")?;
    let mut station = plant.station("dispense-1")?;
    station.start()?;
    wait_for("reference data", || Ok((station.status()?["reference"]["cursor"] == json!(1)).then_some(())))?;
    for _ in 0..5 {
        station.scanner.scan(&lot_scan("L-HELD"))?;
    }
    station.scanner.scan(&lot_scan("L-0001"))?;
    station.wait_confirmed(3)?;
    let kinds: Vec<_> = station.confirmed.iter().map(|line| line["type"].as_str().unwrap()).collect();
    assert_eq!(kinds, ["scan.refused", "scan.repeated", "scan.accepted"]);
    let (code, said) = station.stop()?;
    assert_eq!(code, Some(0), "{said}");
    Ok(())
}
