//! `./dev run`: a whole plant on this machine, and a live view of scans, queue and rows in the terminal.
#![allow(clippy::print_stdout, reason = "the view is what this program is for")]
#![allow(clippy::indexing_slicing, reason = "an absent member of a JSON value reads as null")]

use anyhow::Result;
use lotgate_tests::plant::{GTIN, Plant, Station, lot_scan, reference_data};
use serde_json::Value;
use std::collections::VecDeque;
use std::io::{BufRead as _, IsTerminal as _, Write as _};
use std::path::Path;
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

/// What the demonstration scans by itself, one a second, until somebody types.
const ROUND: [&str; 7] = ["L-0001", "L-HELD", "L-0001\x1d21C001", "L-OLD", "L-QUAR", "L-UNKNOWN", "L-REJ"];

const HELP: &str = "type a lot (L-0001, L-HELD, L-QUAR, L-REJ, L-OLD) or a whole scan as a JSON string; \
                    cut · restore the network; quit";

fn main() -> Result<()> {
    let seconds = std::env::args().skip_while(|a| a != "--seconds").nth(1).and_then(|s| s.parse().ok());
    let end = seconds.map(|seconds| Instant::now() + Duration::from_secs(seconds));
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("../.lotgate/demo");
    let _ = std::fs::remove_dir_all(&dir);
    std::fs::create_dir_all(&dir)?;
    let dir = dir.canonicalize()?;
    println!("Making a plant in {}: database, cloud, one station with a simulated scanner …", dir.display());
    let mut plant = Plant::at("demo", &dir, &reference_data())?;
    let mut station = plant.station("dispense-1")?;
    station.start()?;
    println!("Scanner: {}", dir.join("dispense-1/scanner").display());
    println!("Station: lotgate --config {}", dir.join("dispense-1/lotgate.toml").display());
    println!("Cloud:   lotgate-cloud --config {}\n{HELP}\n", dir.join("cloud.toml").display());

    let terminal = std::io::stdin().is_terminal() && std::io::stdout().is_terminal();
    let typed = typed_lines();
    let mut round = ROUND.iter().cycle();
    let mut by_itself = true;
    let mut view = View::new(&station, terminal)?;
    while end.is_none_or(|end| Instant::now() < end) {
        match typed.recv_timeout(Duration::from_secs(1)) {
            Ok(line) => match line.trim() {
                "quit" | "q" => break,
                "cut" => plant.network.cut(),
                "restore" => plant.network.restore()?,
                "" => {}
                text => {
                    by_itself = false;
                    let whole = serde_json::from_str::<String>(text).map(String::into_bytes);
                    station.scanner.scan(&whole.unwrap_or_else(|_| lot_scan(text)))?;
                }
            },
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => std::thread::park_timeout(Duration::from_secs(1)),
        }
        if by_itself && let Some(lot) = round.next() {
            station.scanner.scan(&lot_scan(lot))?;
        }
        view.show(&plant, &mut station)?;
    }
    station.stop()?;
    plant.stop_cloud()
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
    terminal: bool,
    last: VecDeque<String>,
    shown: usize,
}

impl View {
    fn new(station: &Station, terminal: bool) -> Result<Self> {
        Ok(Self { id: station.id()?, terminal, last: VecDeque::new(), shown: 0 })
    }

    fn show(&mut self, plant: &Plant, station: &mut Station) -> Result<()> {
        station.collect()?;
        for line in station.confirmed.iter().skip(self.shown) {
            self.last.push_back(one_line(line));
        }
        self.shown = station.confirmed.len();
        while self.last.len() > 8 {
            self.last.pop_front();
        }
        let status = station.status()?;
        let queue = &status["queue"];
        let sql = "SELECT (SELECT count(*) FROM entry WHERE station_id::text = $1), \
                   (SELECT count(*) FROM scan WHERE station_id::text = $1 AND accepted)";
        let counts = plant.rows(sql, &[&self.id])?;
        let (held, accepted): (i64, i64) = counts.first().map_or((0, 0), |row| (row.get(0), row.get(1)));
        let sql = "SELECT index, coalesce(lot, '-'), coalesce(code, 'accepted') FROM scan \
                   WHERE station_id::text = $1 ORDER BY index DESC LIMIT $2";
        let newest: i64 = if self.terminal { 8 } else { 1 };
        let rows: Vec<String> = plant
            .rows(sql, &[&self.id, &newest])?
            .iter()
            .rev()
            .map(|row| {
                format!(
                    "leaf {:>4}  {:<12} {}",
                    row.get::<_, i64>(0),
                    row.get::<_, &str>(1),
                    row.get::<_, &str>(2)
                )
            })
            .collect();
        let summary = format!(
            "queue: head {} · {} waiting · settled through {}   cloud: {held} rows, {accepted} scans accepted",
            queue["head"]["seq"], queue["queued"], queue["settled_through"]["seq"],
        );
        let mut out = std::io::stdout().lock();
        if self.terminal {
            write!(out, "\x1b[2J\x1b[H")?;
            writeln!(
                out,
                "Lotgate · dispense-1 (training) · GTIN {GTIN}\n\nscans, each durable before it stands here"
            )?;
            for line in &self.last {
                writeln!(out, "  {line}")?;
            }
            writeln!(out, "\n{summary}\n\nrows in Postgres")?;
            for row in &rows {
                writeln!(out, "  {row}")?;
            }
            write!(out, "\n{HELP}\n> ")?;
        } else {
            for line in self.last.drain(..) {
                writeln!(out, "  {line}")?;
            }
            writeln!(out, "{summary}   newest row: {}", rows.join(""))?;
        }
        Ok(out.flush()?)
    }
}

fn one_line(line: &Value) -> String {
    let raw = line["raw_hex"].as_str().and_then(|hex| hex::decode(hex).ok()).unwrap_or_default();
    let read = String::from_utf8_lossy(&raw).replace('\x1d', "<GS>");
    let hash = line["hash"].as_str().and_then(|hash| hash.get(..12)).unwrap_or_default();
    format!("{:>5}  {:<14} {hash}…  {read}", line["seq"], line["type"].as_str().unwrap_or_default())
}
