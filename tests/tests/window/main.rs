//! The built window in front of a real station: an X server, WebKit, the scanner's pseudo-terminal, the printer's
//! port, a cloud on Postgres. Each test runs at both sizes of the screen and keeps a picture of each state that it
//! reaches in `target/window-screens`. Not a part of plain `cargo test`: `tests/window.sh` builds and runs it.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

mod driver;
mod hands;
mod label;
mod outages;
mod passer_by;

use anyhow::{Context as _, Result};
use driver::Window;
use lotgate_domain::text::Language;
use lotgate_tests::display::{Display, Size};
use lotgate_tests::plant::{Plant, Station, lot_scan};
use lotgate_tests::programs::wait_for;

/// Runs a test at both sizes, one after the other, each with a plant of its own.
fn at_both_sizes(name: &str, test: impl Fn(&Display, &mut Plant) -> Result<()>) -> Result<()> {
    for size in Size::ALL {
        let display = Display::start(size)?;
        let mut plant = Plant::new(&format!("window_{name}_{}", size.height))?;
        test(&display, &mut plant).with_context(|| format!("{size:?}"))?;
    }
    Ok(())
}

/// The window of an enrolled station, with the lots loaded.
fn open(station: &Station, display: &Display) -> Result<Window> {
    let window = Window::open(station, display)?;
    window.wait("the lots are there", |shown| shown.main == "scan" && shown.all.contains("L-0001"))?;
    Ok(window)
}

/// The English text of a key without its places.
fn says(key: &'static str) -> &'static str {
    let text = Language::En.text(key);
    assert_ne!(text, key, "{key} is not in the catalogue");
    text
}

/// A machine that is no station says so, takes a token from the scanner, shows the fingerprint that it names, and
/// becomes a station when that is touched.
#[test]
fn a_machine_becomes_a_station_by_a_scanned_token() -> Result<()> {
    at_both_sizes("enrol", |display, plant| {
        let station = plant.machine("dispense-1")?;
        let window = Window::open(&station, display)?;
        window.wait("it asks for a token", |shown| shown.main == "enrol" && shown.state == "asks")?;
        window.picture("enrol")?;
        window.touch(says("act_keyboard"))?;
        window.wait("the keyboard", |shown| shown.all.contains('q'))?;
        window.touch("q")?;
        window.touch(says("act_back"))?;
        window.touch(says("act_discard_token"))?;

        let token = std::fs::read_to_string(plant.token("dispense-1", true)?)?;
        wait_for("the scanner is open", || Ok(station.scanner.is_open().then_some(())))?;
        station.scanner.scan(token.trim().as_bytes())?;
        let shown = window.wait("the token is whole", |shown| shown.state == "needs_you")?;
        let digits: String = shown.all.chars().filter(char::is_ascii_hexdigit).collect();
        assert!(digits.contains(&plant.root_fingerprint), "the fingerprint to compare: {}", shown.all);
        window.picture("enrol-token")?;
        window.touch(says("act_enrol"))?;
        window.wait("it is a station", |shown| shown.main == "scan" && shown.all.contains("dispense-1"))?;
        window.picture("enrolled")?;
        let sql = "SELECT count(*) FROM station WHERE tenant_id::text = $1";
        assert_eq!(plant.rows(sql, &[&plant.tenant])?[0].get::<_, i64>(0), 1, "the cloud knows it");
        window.close()
    })
}

/// A scan of a released lot is green with the lot, and a row in Postgres.
#[test]
fn a_scan_is_green_and_a_row_in_the_cloud() -> Result<()> {
    at_both_sizes("scan", |display, plant| {
        let station = plant.station("dispense-1")?;
        let window = open(&station, display)?;
        window.picture("scan")?;
        station.scanner.scan(&lot_scan("L-0001"))?;
        let shown = window.wait("green", |shown| shown.state == "accepted")?;
        assert!(shown.title.contains("L-0001"), "{shown:#?}");
        window.picture("scan-accepted")?;
        let sql = "SELECT lot FROM scan WHERE accepted";
        let rows = wait_for("the row", || Ok(Some(plant.rows(sql, &[])?).filter(|rows| !rows.is_empty())))?;
        assert_eq!(rows[0].get::<_, String>(0), "L-0001");
        window.close()
    })
}

/// A lot that may not be used is refused with its reason; of an unknown code it is shown what was read.
#[test]
fn a_refusal_says_why_and_what_was_read() -> Result<()> {
    at_both_sizes("refused", |display, plant| {
        let station = plant.station("dispense-1")?;
        let window = open(&station, display)?;
        station.scanner.scan(&lot_scan("L-HELD"))?;
        let shown = window.wait("red", |shown| shown.state == "refused" && shown.said.contains("L-HELD"))?;
        assert!(shown.said.contains(says("lot_held")), "the reason: {shown:#?}");
        window.picture("scan-held")?;
        station.scanner.scan(b"]C0PALLET-004711")?;
        let shown = window.wait("what was read", |shown| shown.said.contains("PALLET-004711"))?;
        assert_eq!(shown.state, "refused");
        assert!(shown.said.contains(says("unknown_lot")), "{shown:#?}");
        window.picture("scan-unknown")?;
        station.scanner.scan(b"]d20104012345678902")?;
        let shown =
            window.wait("the wrong check digit", |shown| shown.said.contains(says("wrong_check_digit")))?;
        assert_eq!(shown.state, "refused");
        window.picture("scan-unreadable")?;
        let rows = wait_for("all are kept", || {
            Ok(Some(plant.rows("SELECT code FROM scan WHERE NOT accepted ORDER BY index", &[])?)
                .filter(|rows| rows.len() == 3))
        })?;
        let codes: Vec<String> = rows.iter().map(|row| row.get(0)).collect();
        assert_eq!(codes, ["lot_held", "unknown_lot", "wrong_check_digit"]);
        window.close()
    })
}

/// German is one touch away and stays.
#[test]
fn the_other_language_is_one_touch_away() -> Result<()> {
    at_both_sizes("language", |display, plant| {
        let station = plant.station("dispense-1")?;
        let window = open(&station, display)?;
        window.touch(says("act_devices"))?;
        window.wait("queue and devices", |shown| shown.main == "devices")?;
        window.picture("devices")?;
        window.touch(says("act_german"))?;
        let german = Language::De.text("dev_keys");
        window.wait("German", |shown| shown.all.contains(german))?;
        window.touch(Language::De.text("act_back"))?;
        station.scanner.scan(&lot_scan("L-HELD"))?;
        window.wait("the refusal in German", |shown| shown.said.contains(Language::De.text("lot_held")))?;
        window.picture("scan-held-german")?;
        window.close()
    })
}
