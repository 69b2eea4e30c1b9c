//! `./dev run`: a whole plant on this machine, the kiosk's window, and what happens behind it in the terminal.
#![allow(clippy::print_stdout, reason = "the view is what this program is for")]
#![allow(clippy::indexing_slicing, reason = "an absent member of a JSON value reads as null")]

use anyhow::{Context as _, Result};
use lotgate_tests::plant::{Plant, Station};
use lotgate_tests::programs::{Process, program};
use serde_json::{Value, json};
use std::io::{BufRead as _, IsTerminal as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

const GTIN: &str = "04012345678901";

/// What the demonstration scans by itself, one every three seconds, until somebody types.
const ROUND: [&str; 5] = ["MG2409-117", "MG2411-008", "MG2410-022", "X-000", "MG2405-090"];

const HELP: &str = "type a lot (MG2409-117, MG2411-008, …) or a whole scan as a JSON string; \
                    cut · restore the network; printer paper_out · printer ok · …; quit";

fn reference() -> Value {
    let lot = |lot: &str, item: &str, status: &str, expiry: &str| json!({"lot": lot, "item": item, "status": status, "expiry": expiry});
    json!({
        "items": [
            {"item": "RM-1042", "name": "Magnesium glycinate", "gtin": GTIN},
            {"item": "RM-2007", "name": "Zinc citrate", "gtin": "04012345678918"},
        ],
        "lots": [
            lot("MG2409-117", "RM-1042", "released", "2049-09-30"),
            lot("MG2410-022", "RM-1042", "released", "2049-10-31"),
            lot("MG2411-008", "RM-1042", "hold", "2049-11-30"),
            lot("MG2405-090", "RM-1042", "released", "2020-05-31"),
            lot("ZC2408-003", "RM-2007", "quarantine", "2049-08-31"),
        ],
    })
}

fn main() -> Result<()> {
    let seconds = std::env::args().skip_while(|a| a != "--seconds").nth(1).and_then(|s| s.parse().ok());
    let end = seconds.map(|seconds| Instant::now() + Duration::from_secs(seconds));
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("../.lotgate/demo");
    let _ = std::fs::remove_dir_all(&dir);
    std::fs::create_dir_all(&dir)?;
    let dir = dir.canonicalize()?;
    println!("Making a plant in {}: database, cloud, a station with scanner and printer …", dir.display());
    let mut plant = Plant::at("demo", &dir, &reference())?;
    let station = plant.station_with_printer("Booth 3")?;
    let mut window = Process::start(
        Command::new(program("lotgate-kiosk")?)
            .arg("--config")
            .arg(station.dir.join("lotgate.toml"))
            .args(["--demo", "--window", "1280x800"]),
    )?;
    let pictures = std::env::args().any(|a| a == "--screenshots").then(|| dir.join("screen.png"));
    println!("Scanner: {}", station.dir.join("scanner").display());
    println!("Printer: its labels are {}", labels(&station).display());
    if let Some(picture) = &pictures {
        println!("Window:  no display here; its picture, new every few seconds: {}", picture.display());
    }
    println!("{HELP}\n");

    let typed = typed_lines();
    let mut round = ROUND.iter().cycle();
    let mut view = View { id: station.id()?, shown: String::new(), pictures };
    let (mut by_itself, mut turn) = (!std::io::stdin().is_terminal(), 0_u32);
    while end.is_none_or(|end| Instant::now() < end) && window.is_running() {
        match typed.recv_timeout(Duration::from_secs(1)) {
            Ok(line) => match line.trim() {
                "quit" | "q" => break,
                "cut" => plant.network.cut(),
                "restore" => plant.network.restore()?,
                "" => {}
                text => match text.strip_prefix("printer ") {
                    Some(fault) => match (fault.parse(), &station.printer) {
                        (Ok(fault), Some(printer)) => printer.set(fault),
                        _ => println!("No such state of a printer: {fault}"),
                    },
                    None => {
                        by_itself = false;
                        let whole = serde_json::from_str::<String>(text).map(String::into_bytes);
                        station.scanner.scan(&whole.unwrap_or_else(|_| scan_of(text)))?;
                    }
                },
            },
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => std::thread::park_timeout(Duration::from_secs(1)),
        }
        turn = turn.wrapping_add(1);
        if by_itself
            && turn.is_multiple_of(3)
            && let Some(lot) = round.next()
        {
            station.scanner.scan(&scan_of(lot))?;
        }
        view.show(&plant, &station)?;
    }
    let (code, _, said) = window.stop()?;
    println!("The window ended with exit code {code:?}.");
    if code != Some(0) {
        println!("{said}");
    }
    plant.stop_cloud()
}

fn labels(station: &Station) -> PathBuf {
    station.dir.join("labels")
}

fn scan_of(lot: &str) -> Vec<u8> {
    match lot {
        "X-000" => b"]d0X-000".to_vec(),
        lot if lot.starts_with("ZC") => format!("]d2010401234567891810{lot}").into_bytes(),
        lot => format!("]d201{GTIN}10{lot}").into_bytes(),
    }
}

fn typed_lines() -> Receiver<String> {
    let (sender, lines) = channel();
    std::thread::spawn(move || {
        for line in std::io::stdin().lock().lines().map_while(Result::ok) {
            if sender.send(line).is_err() {
                break;
            }
        }
    });
    lines
}

struct View {
    id: String,
    shown: String,
    pictures: Option<PathBuf>,
}

impl View {
    /// One line for each change: queue, rows of the cloud, labels.
    fn show(&mut self, plant: &Plant, station: &Station) -> Result<()> {
        let status = station.status()?;
        let queue = &status["queue"];
        let sql = "SELECT (SELECT count(*) FROM entry WHERE station_id::text = $1), \
                   (SELECT count(*) FROM scan WHERE station_id::text = $1 AND accepted), \
                   coalesce((SELECT coalesce(lot, '-') || ' ' || coalesce(code, 'accepted') FROM scan \
                   WHERE station_id::text = $1 ORDER BY index DESC LIMIT 1), 'none')";
        let rows = plant.rows(sql, &[&self.id])?;
        let row = rows.first().context("no counts")?;
        let (held, accepted, newest): (i64, i64, String) = (row.get(0), row.get(1), row.get(2));
        let labels = std::fs::read_dir(labels(station)).map_or(0, |entries| {
            entries.flatten().filter(|entry| entry.path().extension().is_some_and(|e| e == "png")).count()
        });
        let line = format!(
            "queue: {} operations, {} waiting · cloud: {held} rows, {accepted} scans accepted, newest {newest} · labels: {labels}",
            queue["head"]["seq"], queue["queued"],
        );
        if line != self.shown {
            println!("{line}");
            std::io::stdout().flush()?;
            self.shown = line;
        }
        if let Some(picture) = &self.pictures {
            // Whole or not at all, for whoever looks at it meanwhile.
            let new = picture.with_extension("new.png");
            let taken = Command::new("import").args(["-window", "root"]).arg(&new).status();
            if taken.is_ok_and(|status| status.success()) {
                std::fs::rename(&new, picture)?;
            }
        }
        Ok(())
    }
}
