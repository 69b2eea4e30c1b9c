//! `lotgate doctor [--json]`: everything that the station needs, checked one by one; works beside the agent.

mod cloud;
mod machine;
mod queue;

use super::site::Site;
use super::{Failure, language, print_json};
use lotgate_sync::queue::QueueView;
use lotgate_sync::secure::Secure;
use serde::Serialize;
use serde_json::{Value, json};
use std::io::Write;
use std::process::ExitCode;

/// Exit codes, the worst first: what is wrong further down follows from what is wrong above.
const WORST_FIRST: [u8; 7] = [10, 13, 14, 12, 11, 15, 2];

/// How bad a finding is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum Level {
    /// As it should be.
    Ok,
    /// The station works; somebody should look all the same.
    Warn,
    /// Something does not work.
    Fail,
}

/// One finding.
struct Check {
    id: &'static str,
    level: Level,
    /// What is to be told with words of the catalogue.
    code: Option<&'static str>,
    detail: String,
    /// The exit code that it asks for; 0 unless it failed.
    exit: u8,
}

impl Check {
    fn ok(id: &'static str, detail: impl Into<String>) -> Self {
        Self { id, level: Level::Ok, code: None, detail: detail.into(), exit: 0 }
    }

    /// As it should be, and worth knowing.
    fn note(id: &'static str, code: &'static str) -> Self {
        Self { code: Some(code), ..Self::ok(id, "") }
    }

    fn warn(id: &'static str, code: &'static str, detail: impl Into<String>) -> Self {
        Self { id, level: Level::Warn, code: Some(code), detail: detail.into(), exit: 0 }
    }

    fn fail(id: &'static str, failure: Failure) -> Self {
        let Failure { exit, code, detail, .. } = failure;
        Self { id, level: Level::Fail, code: Some(code), detail, exit }
    }

    fn json(&self) -> Value {
        let text = self.code.map(|code| language().text(code));
        json!({"id": self.id, "level": self.level, "code": self.code, "text": text, "detail": self.detail})
    }

    fn line(&self) -> String {
        let mark = match self.level {
            Level::Ok => "ok",
            Level::Warn => "warn",
            Level::Fail => "FAIL",
        };
        let words = match self.code {
            Some(code) if self.level == Level::Ok => format!("{} {}", language().text(code), self.detail),
            Some(code) => format!("{} ({code}) {}", language().text(code), self.detail),
            None => self.detail.clone(),
        };
        format!("{mark:>4}  {:<16} {}", self.id, words.trim_end())
    }
}

pub(super) fn run(site: &Site, json: bool, out: &mut impl Write) -> Result<ExitCode, Failure> {
    let checks = check(site);
    let exit = worst(checks.iter().map(|check| check.exit));
    if json {
        let rows: Vec<Value> = checks.iter().map(Check::json).collect();
        print_json(out, &json!({"ok": exit == 0, "checks": rows}))?;
    } else {
        for check in &checks {
            writeln!(out, "{}", check.line()).map_err(|error| Failure::output(&error))?;
        }
    }
    Ok(ExitCode::from(exit))
}

fn worst(exits: impl Iterator<Item = u8>) -> u8 {
    let rank = |exit: &u8| WORST_FIRST.iter().position(|worse| worse == exit).unwrap_or(usize::MAX);
    exits.filter(|exit| *exit != 0).min_by_key(rank).unwrap_or(0)
}

fn check(site: &Site) -> Vec<Check> {
    let mut checks = machine::check(site);
    match Secure::view(site.places.clone()) {
        Ok(secure) => {
            let protection = secure.protection().as_str();
            checks.push(Check::ok("key_store", format!("key protection: {protection}")));
            match QueueView::open(&secure) {
                Ok(view) => {
                    checks.extend(queue::check(site, &view));
                    checks.extend(cloud::check(site, &secure, &view));
                }
                Err(error) => checks.push(Check::fail("queue", error.into())),
            }
        }
        Err(error) => checks.push(Check::fail("key_store", error.into())),
    }
    checks.extend(machine::check_devices(site));
    checks
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_exit_code_is_that_of_the_worst_finding() {
        assert_eq!(worst([0, 0].into_iter()), 0);
        assert_eq!(worst([15, 0, 11, 14].into_iter()), 14);
        assert_eq!(worst([14, 13].into_iter()), 13);
        assert_eq!(worst([11, 12].into_iter()), 12);
    }
}
