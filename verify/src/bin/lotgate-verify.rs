//! `lotgate-verify EXPORT --root-fingerprint HEX [--json] [--language de]`.
//!
//! Exit codes: 0 the export proves what it claims, 1 it does not, 2 it cannot be looked into.

use clap::{Parser, ValueEnum};
use lotgate_domain::ids::Hash;
use lotgate_domain::text::Language;
use lotgate_verify::Report;
use lotgate_verify::finding::{Finding, Weight};
use serde_json::json;
use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;

#[derive(Parser)]
#[command(
    name = "lotgate-verify",
    version,
    about = "Verifies an export of a station's queue or of a cloud, without network"
)]
struct Arguments {
    /// The directory of the export.
    export: PathBuf,
    /// SHA-256 of the tenant's root key, as printed in the site's qualification record.
    #[arg(long, value_name = "HEX")]
    root_fingerprint: Hash,
    /// One JSON object instead of words.
    #[arg(long)]
    json: bool,
    /// Language of the words.
    #[arg(long, value_enum, default_value = "en")]
    language: Words,
}

#[derive(Clone, Copy, ValueEnum)]
enum Words {
    En,
    De,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    match run(&arguments) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(1),
        Err(error) => {
            let _ = writeln!(std::io::stderr(), "lotgate-verify: {error:#}");
            ExitCode::from(2)
        }
    }
}

fn run(arguments: &Arguments) -> anyhow::Result<bool> {
    let report = lotgate_verify::verify(&arguments.export, arguments.root_fingerprint)?;
    let text = if arguments.json {
        machine(&report)
    } else {
        let language = match arguments.language {
            Words::En => Language::En,
            Words::De => Language::De,
        };
        words(&report, language)
    };
    writeln!(std::io::stdout().lock(), "{text}")?;
    Ok(report.findings.ok())
}

fn machine(report: &Report) -> String {
    let counts: serde_json::Map<String, serde_json::Value> = report
        .findings
        .counts()
        .iter()
        .map(|(code, count)| (code.as_str().to_owned(), json!(count)))
        .collect();
    json!({
        "ok": report.findings.ok(),
        "kind": report.kind,
        "entries": report.entries,
        "statements": report.statements,
        "checkpoints": report.checkpoints,
        "flagged": report.flagged,
        "quarantined": report.quarantined,
        "log": report.log,
        "counts": counts,
        "findings": report.findings.examples(),
    })
    .to_string()
}

fn words(report: &Report, language: Language) -> String {
    let entries: u64 = report.entries.values().fold(0, |sum, count| sum.saturating_add(*count));
    let mut lines = vec![format!(
        "{entries} operations of {} stations, {} verdicts and receipts, {} checkpoints; {} flagged, {} quarantined",
        report.entries.len(),
        report.statements,
        report.checkpoints,
        report.flagged,
        report.quarantined,
    )];
    if let Some(head) = report.log {
        lines.push(format!("log of {} leaves, root {}", head.size, head.root));
    }
    for finding in report.findings.examples() {
        lines.push(line(finding, language));
    }
    for (code, count) in report.findings.counts() {
        let shown = report.findings.examples().iter().filter(|finding| finding.code == *code);
        let shown = u64::try_from(shown.count()).unwrap_or(u64::MAX);
        if *count > shown {
            lines.push(format!("… and {} more of {}", count.saturating_sub(shown), code.as_str()));
        }
    }
    let end = if report.findings.ok() {
        "OK: nothing was changed, left out, inserted or reordered."
    } else {
        "NOT OK: this export does not prove what it claims."
    };
    lines.push(end.to_owned());
    lines.join("\n")
}

fn line(finding: &Finding, language: Language) -> String {
    let mut place = Vec::new();
    place.extend(finding.file.clone());
    place.extend(finding.station.map(|station| format!("station {station}")));
    place.extend(finding.epoch.map(|epoch| format!("epoch {epoch}")));
    place.extend(finding.seq.map(|seq| format!("operation {seq}")));
    place.extend(finding.index.map(|index| format!("log index {index}")));
    if !finding.detail.is_empty() {
        place.push(finding.detail.clone());
    }
    let weight = match finding.weight {
        Weight::Notice => "note",
        Weight::Problem => "PROBLEM",
    };
    let text = language.text(finding.code.as_str());
    if place.is_empty() {
        format!("{weight}: {text}")
    } else {
        format!("{weight}: {text} ({})", place.join(", "))
    }
}
