//! `lotgate decode`: barcodes in, what they say out.
//!
//! Each input line is one JSON string: the scanned bytes with their AIM identifier, control characters
//! escaped as JSON does. Each output line is one JSON object: `symbology`, `kind`, and either `elements`
//! [{ai, value, title}] or `error` {code, ai?, at?}, where `at` = [start, end) counts bytes of the scan
//! without the AIM identifier. A line that is no JSON string gives `{"error":{"code":"not_a_json_string"}}`.

use super::{Failure, language, system_clock};
use lotgate_domain::barcode::{self, Decoded, SitePatterns};
use lotgate_sync::clock::Clock as _;
use serde_json::json;
use std::io::{BufRead, Write};
use std::process::ExitCode;

pub(super) fn run(
    site: &SitePatterns,
    input: impl BufRead,
    out: &mut impl Write,
) -> Result<ExitCode, Failure> {
    let today = system_clock().read().wall.utc_date();
    for line in input.split(b'\n') {
        let line = line.map_err(|error| Failure::output(&error))?;
        if line.trim_ascii().is_empty() {
            continue;
        }
        let answer = match serde_json::from_slice::<String>(&line) {
            Ok(scan) => serde_json::to_string(&Decoded::from(barcode::read(scan.as_bytes(), today, site))),
            Err(_) => {
                let code = "not_a_json_string";
                Ok(json!({"error": {"code": code, "text": language().text(code)}}).to_string())
            }
        };
        let answer = answer.map_err(|error| Failure::output(&error.into()))?;
        writeln!(out, "{answer}").map_err(|error| Failure::output(&error))?;
    }
    out.flush().map_err(|error| Failure::output(&error))?;
    Ok(ExitCode::SUCCESS)
}
