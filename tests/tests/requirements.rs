//! The traceability matrix: every delivered requirement names tests that exist.
//!
//! `tests/requirements.tsv` has a row for each requirement: id, priority (1 first), clause, text, state
//! (`planned`, `delivered`), and tests separated by blanks. A test is `package::file::name`: the package
//! without `lotgate-`, the file from the package's folder on, the function; `domain::src/entry.rs::a_frame_…`.
#![allow(clippy::panic, clippy::indexing_slicing, reason = "a test fails by panicking")]

use std::collections::BTreeSet;
use std::path::Path;

const ROOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/..");

#[derive(Debug, Clone)]
struct Requirement {
    id: String,
    delivered: bool,
    tests: Vec<String>,
}

fn read(path: &str) -> String {
    std::fs::read_to_string(Path::new(ROOT).join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

fn parse(row: &str) -> Result<Requirement, String> {
    let columns: Vec<&str> = row.split('\t').collect();
    let [id, priority, clause, text, state, tests] = columns[..] else {
        return Err(format!("six columns are due: {row}"));
    };
    let well_formed = id.split_once('-').is_some_and(|(area, number)| {
        area.len() == 3
            && area.bytes().all(|b| b.is_ascii_uppercase())
            && !number.is_empty()
            && number.bytes().all(|b| b.is_ascii_digit())
    });
    if !well_formed || !["1", "2", "3"].contains(&priority) || text.is_empty() || clause.trim() != clause {
        return Err(format!("id, priority, clause or text is not as specified: {row}"));
    }
    let tests: Vec<String> = tests.split_ascii_whitespace().map(str::to_owned).collect();
    match state {
        "planned" => Ok(Requirement { id: id.to_owned(), delivered: false, tests }),
        "delivered" if tests.is_empty() => Err(format!("{id} is delivered and no test proves it")),
        "delivered" => Ok(Requirement { id: id.to_owned(), delivered: true, tests }),
        other => Err(format!("{id} is neither planned nor delivered: {other}")),
    }
}

fn requirements() -> Vec<Requirement> {
    let table = read("tests/requirements.tsv");
    let mut lines = table.lines();
    assert_eq!(lines.next(), Some("id\tpriority\tclause\ttext\tstate\ttests"));
    lines.map(|row| parse(row).unwrap_or_else(|error| panic!("{error}"))).collect()
}

/// Whether `source` has a test function of this name. The attribute stands in the lines directly above it.
fn has_test(source: &str, name: &str) -> bool {
    let lines: Vec<&str> = source.lines().map(str::trim).collect();
    let defines = |line: &str| {
        let line = line.strip_prefix("async ").unwrap_or(line);
        line.strip_prefix("fn ")
            .and_then(|rest| rest.strip_prefix(name))
            .is_some_and(|rest| rest.starts_with(['(', '<']))
    };
    lines.iter().enumerate().filter(|(_, line)| defines(line)).any(|(at, _)| {
        lines[..at]
            .iter()
            .rev()
            .take_while(|line| line.starts_with("#[") || line.starts_with("///"))
            // An ignored test proves nothing, wherever its attribute stands.
            .try_fold(false, |test, line| {
                let attribute = line.starts_with("#[test]") || line.starts_with("#[tokio::test");
                (!line.starts_with("#[ignore")).then_some(test || attribute)
            })
            .unwrap_or(false)
    })
}

#[test]
fn a_delivered_requirement_without_a_test_is_found() {
    let row = |state: &str, tests: &str| parse(&format!("REC-1\t1\t11.10(c)\tDurable\t{state}\t{tests}"));
    assert!(row("delivered", "").is_err(), "no test");
    assert!(row("done", "tests::tests/a.rs::b").is_err(), "no such state");
    assert_eq!(row("delivered", "a::b::c d::e::f").unwrap().tests.len(), 2);
    assert!(row("planned", "").is_ok());
    assert!(parse("REC1\t1\t\tDurable\tplanned\t").is_err(), "id of another form");
}

#[test]
fn a_misnamed_test_is_found() {
    let source = "    #[test]\n    /// Why.\n    fn it_holds() {\n#[tokio::test(start_paused = true)]\nasync fn it_waits() {\nfn helper() {\n#[test]\n#[ignore]\nfn it_sleeps() {";
    assert!(has_test(source, "it_holds") && has_test(source, "it_waits"));
    assert!(!has_test(source, "it_hold"), "a name cut short");
    assert!(!has_test(source, "helper"), "no test");
    assert!(!has_test(source, "it_sleeps"), "never run");
}

#[test]
fn an_id_stands_once() {
    let mut seen = BTreeSet::new();
    for requirement in requirements() {
        assert!(seen.insert(requirement.id.clone()), "{} stands twice", requirement.id);
    }
}

#[test]
fn every_test_that_a_requirement_names_exists() {
    for requirement in requirements() {
        for test in &requirement.tests {
            let parts: Vec<&str> = test.split("::").collect();
            let [package, file, name] = parts[..] else {
                panic!("{}: {test} is not package::file::name", requirement.id);
            };
            let source = read(&format!("{package}/{file}"));
            assert!(has_test(&source, name), "{}: {package}/{file} has no test {name}", requirement.id);
        }
    }
}

#[test]
fn the_readme_states_how_many_are_delivered_and_planned() {
    let requirements = requirements();
    let delivered = requirements.iter().filter(|requirement| requirement.delivered).count();
    let planned = requirements.len() - delivered;
    let marker = format!("<!-- requirements: {delivered} delivered, {planned} planned -->");
    assert!(read("README.md").contains(&marker), "README.md must say {marker}");
}
