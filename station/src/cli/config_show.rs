//! `lotgate config show [--origin] [--json]`: every key in force, and where its value comes from.

use super::site::{SERVER_FILE, Site};
use super::{Failure, print_json};
use crate::config::{Effective, Layer, Origin};
use clap::Args;
use serde_json::{Value, json};
use std::io::Write;
use std::process::ExitCode;

#[derive(Debug, Clone, Copy, Args)]
pub(super) struct Arguments {
    /// Say of each value where it comes from.
    #[arg(long)]
    origin: bool,
    /// Print JSON.
    #[arg(long)]
    pub(super) json: bool,
}

pub(super) fn run(site: &Site, arguments: Arguments, out: &mut impl Write) -> Result<ExitCode, Failure> {
    let rows = in_force(site);
    if arguments.json {
        let keys: Vec<Value> = rows
            .iter()
            .map(|row| match arguments.origin {
                true => json!(row),
                false => json!({"key": row.key, "value": row.value}),
            })
            .collect();
        print_json(out, &json!({"keys": keys, "sha256": site.config.sha256}))?;
        return Ok(ExitCode::SUCCESS);
    }
    for row in &rows {
        let line = format!("{} = {}", row.key, row.value);
        let line = if arguments.origin { format!("{line:<60} # {}", row.origin) } else { line };
        writeln!(out, "{line}").map_err(|error| Failure::output(&error))?;
    }
    Ok(ExitCode::SUCCESS)
}

/// The configuration, and what enrolment left where it says nothing.
fn in_force(site: &Site) -> Vec<Effective> {
    let mut rows = site.config.effective.clone();
    let remembered = site.enrolled_at().filter(|_| site.config.server.is_none());
    let server = rows.iter_mut().find(|row| row.key == "cloud.server");
    if let (Some(row), Some(server)) = (server, remembered) {
        let place = site.places.data.join(SERVER_FILE).display().to_string();
        row.value = json!(server);
        row.origin = Origin { layer: Layer::Enrolment, place, line: 0 };
    }
    rows
}
