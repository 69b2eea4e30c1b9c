//! The label: what is shown is what is printed, once.

use crate::driver::Window;
use crate::{at_both_sizes, open, says};
use anyhow::{Context as _, Result, ensure};
use lotgate_devices::sim::printer::{Fault, SimPrinter};
use lotgate_tests::plant::{GTIN, Plant, Station, lot_scan, reference_data};
use lotgate_tests::programs::{PATIENCE, run, wait_for, write};
use serde_json::json;
use std::fs::File;
use std::io::BufReader;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

/// So slow that whatever a test does happens in mid-print.
const NEVER_READY: Duration = Duration::from_secs(600);
const QUICK: Duration = Duration::from_millis(100);

/// An enrolled station with a printer, which keeps its labels in the folder that is returned.
fn with_printer(plant: &Plant, label_time: Duration) -> Result<(Station, SimPrinter, PathBuf)> {
    let mut reference = reference_data();
    // A label's code has two digits for the year, which end in 2075.
    reference["lots"][0]["expiry"] = json!("2070-12-31");
    plant.import(&reference)?;
    let station = plant.station("dispense-1")?;
    let labels = station.dir.join("labels");
    let printer = SimPrinter::new(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)), Some(&labels), label_time)?;
    let file = station.dir.join("lotgate.toml");
    let config = std::fs::read_to_string(&file)?;
    let address = printer.address();
    let device = format!("[[device]]\nrole = \"printer\"\ntransport = \"tcp\"\naddress = \"{address}\"\n");
    write(&file, &format!("{config}{device}"))?;
    Ok((station, printer, labels))
}

/// Scans a released lot and asks for its label.
fn print(station: &Station, window: &Window) -> Result<()> {
    station.scanner.scan(&lot_scan("L-0001"))?;
    window.wait("green", |shown| shown.state == "accepted")?;
    window.touch(says("act_print"))?;
    window.wait("the label", |shown| shown.main == "label").map(drop)
}

/// How many operations in the cloud hold all these words of a body.
fn operations(plant: &Plant, words: &[&str]) -> Result<usize> {
    let quoted: Vec<String> = words.iter().map(|word| format!("\"{word}\"")).collect();
    let holds = |n: usize| format!("position(convert_to(${n}, 'UTF8') in bytes) > 0");
    let all: Vec<String> = (1..=quoted.len()).map(holds).collect();
    let sql = format!("SELECT 1 FROM entry WHERE {}", all.join(" AND "));
    let parameters: Vec<_> =
        quoted.iter().map(|word| word as &(dyn tokio_postgres::types::ToSql + Sync)).collect();
    Ok(plant.rows(&sql, &parameters)?.len())
}

fn wait_operations(plant: &Plant, words: &[&str], count: usize) -> Result<()> {
    wait_for(&format!("{count} operations with {words:?}"), || {
        let there = operations(plant, words)?;
        ensure!(there <= count, "{there} operations with {words:?}, not {count}");
        Ok((there == count).then_some(()))
    })
}

/// What ZXing, which is not ours, reads of a printed label. It looks for a code around the middle of a picture only,
/// so it gets the right upper quarter, at which a scanner would be aimed.
fn decoded(label: &Path) -> Result<String> {
    let mut picture = png::Decoder::new(BufReader::new(File::open(label)?)).read_info()?;
    let mut pixels = vec![0; picture.output_buffer_size().context("too large")?];
    let frame = picture.next_frame(&mut pixels)?;
    let (row, rows) = (frame.line_size, usize::try_from(frame.height)? * 3 / 5);
    let quarter: Vec<u8> = pixels.chunks(row).take(rows).flat_map(|line| line[row / 2..].to_vec()).collect();
    let aimed = label.with_extension("code.png");
    let mut encoder = png::Encoder::new(File::create(&aimed)?, frame.width / 2, u32::try_from(rows)?);
    encoder.set_color(frame.color_type);
    encoder.set_depth(frame.bit_depth);
    encoder.write_header()?.write_image_data(&quarter)?;
    let output = run(Command::new("ZXingReader").args(["-format", "DataMatrix"]).arg(&aimed))
        .context("ZXingReader: tests/setup.sh installs it")?;
    Ok(String::from_utf8(output.stdout)?)
}

/// Print touched → one label at the printer, whose code a reader that is not ours reads as the lot and the serial
/// on the screen → rows in Postgres; the label scanned back is green.
#[test]
fn a_label_comes_out_once_as_shown_and_is_read_back() -> Result<()> {
    at_both_sizes("label", |display, plant| {
        let (station, printer, labels) = with_printer(plant, QUICK)?;
        let window = open(&station, display)?;
        print(&station, &window)?;
        window.picture("label")?;
        assert!(printer.wait_labels(1, PATIENCE), "a label comes out: {:#?}", window.shown()?);
        let shown = window.wait("printed", |shown| shown.all.contains(says("job_printed_status")))?;
        window.picture("label-printed")?;

        let code = wait_for("the picture of the label is whole", || {
            Ok(decoded(&labels.join("label-001.png")).ok().filter(|code| code.contains(GTIN)))
        })?;
        assert!(code.contains("10L-0001"), "the lot: {code}");
        let (_, serial) = code.rsplit_once("21").context("no serial")?;
        let serial: String = serial.chars().filter(char::is_ascii_alphanumeric).take(13).collect();
        assert!(shown.all.contains(&serial), "the serial {serial} on the screen: {}", shown.all);
        wait_operations(plant, &["label.queued", &serial], 1)?;
        wait_operations(plant, &["label.state", "confirmed", "status_transition"], 1)?;

        station.scanner.scan(format!("]d201{GTIN}10L-0001\x1d21{serial}").as_bytes())?;
        let shown = window.wait("read back", |shown| shown.said.contains(says("band_label_read")))?;
        assert_eq!(shown.state, "accepted");
        window.picture("label-read-back")?;
        assert_eq!(printer.labels().len(), 1, "and nothing more");
        window.close()
    })
}

/// A printer that says nothing is named with what to do; the label waits, and comes out once as soon as it can.
#[test]
fn a_silent_printer_is_said_and_the_label_waits_for_it() -> Result<()> {
    at_both_sizes("silent", |display, plant| {
        let (station, printer, _) = with_printer(plant, QUICK)?;
        let window = open(&station, display)?;
        printer.set(Fault::PaperOut);
        print(&station, &window)?;
        let shown = window.wait("the words", |shown| shown.said.contains(says("printer_silent")))?;
        assert!(["fault", "needs_you"].contains(&shown.state.as_str()), "{shown:#?}");
        window.picture("printer-silent")?;
        window.touch(says("act_devices"))?;
        window.wait("the devices say it", |shown| shown.all.contains(says("dev_state_printer_silent")))?;
        window.picture("devices-printer-silent")?;
        assert_eq!((printer.waiting(), operations(plant, &["sending"])?), (0, 0), "nothing left the station");
        printer.set(Fault::None);
        window.touch(says("act_back"))?;
        assert!(printer.wait_labels(1, PATIENCE), "it comes out: {:#?}", window.shown()?);
        wait_operations(plant, &["label.state", "confirmed"], 1)?;
        assert_eq!(printer.labels().len(), 1);
        window.close()
    })
}

/// The power goes while the label is at the printer. After it, one question stands there, nothing is printed by
/// itself, the touched answer is recorded, and the question does not come again.
#[test]
fn a_kill_in_mid_print_leaves_exactly_one_question() -> Result<()> {
    at_both_sizes("kill", |display, plant| {
        let (station, printer, _) = with_printer(plant, NEVER_READY)?;
        let window = open(&station, display)?;
        print(&station, &window)?;
        wait_for("the printer has the label", || Ok((printer.waiting() == 1).then_some(())))?;
        window.kill()?;

        let window = Window::open(&station, display)?;
        let question = says("band_label_unknown");
        let shown = window.wait("the question", |shown| shown.said.contains(question))?;
        assert_eq!((shown.main.as_str(), shown.state.as_str()), ("label", "needs_you"));
        assert!(shown.said.contains(says("job_unknown_station_stopped")), "{shown:#?}");
        window.picture("label-question")?;
        wait_operations(plant, &["label.state", "unknown"], 1)?;
        window.touch(says("answer_not_printed"))?;
        let shown = window.wait("answered", |shown| shown.said.contains(says("band_label_not_printed")))?;
        assert!(shown.all.contains(says("act_print_again")), "{shown:#?}");
        window.picture("label-not-printed")?;
        wait_operations(plant, &["label.state", "resolved_not_printed", "operator"], 1)?;
        window.kill()?;

        // What is still owed stands there, and no question.
        let window = Window::open(&station, display)?;
        let again = says("act_print_again");
        let shown = window.wait("the label that is owed", |shown| shown.all.contains(again))?;
        assert!(!shown.said.contains(question), "it was answered: {shown:#?}");
        wait_operations(plant, &["label.state", "unknown"], 1)?;
        assert_eq!(operations(plant, &["label.queued"])?, 1);
        assert_eq!((printer.waiting(), printer.labels().len()), (1, 0), "sent once, never again by itself");
        window.close()
    })
}
