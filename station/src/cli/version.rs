//! `lotgate --version [--json]`.

use super::{Failure, print_json};
use lotgate_sync::queue::library_versions;
use serde_json::json;
use std::io::Write;
use std::process::ExitCode;

/// What this build calls itself: what the build passed in `LOTGATE_BUILD`, else `dev`.
pub(super) fn build() -> &'static str {
    option_env!("LOTGATE_BUILD").unwrap_or("dev")
}

pub(super) fn run(json: bool, out: &mut impl Write) -> Result<ExitCode, Failure> {
    let version = env!("CARGO_PKG_VERSION");
    let libraries = library_versions();
    if json {
        let value = json!({
            "program": "lotgate",
            "version": version,
            "build": build(),
            "operation_version": 1,
            "sqlite": libraries.sqlite,
            "sqlcipher": libraries.sqlcipher,
            "os": std::env::consts::OS,
            "arch": std::env::consts::ARCH,
        });
        print_json(out, &value)?;
    } else {
        writeln!(out, "lotgate {version} ({})", build()).map_err(|error| Failure::output(&error))?;
    }
    Ok(ExitCode::SUCCESS)
}
