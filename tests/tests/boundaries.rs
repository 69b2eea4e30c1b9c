//! Who may import whom (DESIGN §3), what the sources must not hold, and which migrations never change.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use cargo_metadata::{Metadata, MetadataCommand, Package};
use sha2::{Digest as _, Sha256};

const ROOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/..");

/// Longest source file, in lines; beyond it a file is split by meaning.
const LONGEST: usize = 600;

/// Each crate of the workspace and the crates of the workspace that it may depend on, also for its tests.
const ARROWS: &[(&str, &[&str])] = &[
    ("domain", &[]),
    ("devices", &["domain"]),
    ("sync", &["domain"]),
    ("station", &["domain", "devices", "sync"]),
    ("kiosk", &["domain", "station"]),
    ("cloud", &["domain"]),
    ("verify", &["domain"]),
    ("tests", &["domain", "devices", "sync", "station", "kiosk", "cloud", "verify"]),
    ("fuzz", &["domain", "devices", "sync", "station", "kiosk", "cloud", "verify"]),
];

/// Libraries, with all whose names go on with a hyphen, and the only crates that may depend on them.
const ONLY_IN: &[(&str, &[&str])] = &[
    ("rusqlite", &["sync"]),
    ("libsqlite3", &["sync"]),
    ("reqwest", &["sync"]),
    ("axum", &["cloud", "tests"]),
    ("tokio-postgres", &["cloud", "tests"]),
    ("postgres", &["cloud", "tests"]),
    ("deadpool", &["cloud", "tests"]),
    ("sqlx", &["cloud", "tests"]),
    ("tauri", &["kiosk"]),
    ("wry", &["kiosk"]),
    ("tao", &["kiosk"]),
    ("gtk", &["kiosk"]),
    ("webkit2gtk", &["kiosk"]),
    ("webview2", &["kiosk"]),
    ("serialport", &["devices"]),
    ("tokio", &["sync", "station", "kiosk", "cloud", "tests"]),
    ("anyhow", &["devices", "station", "kiosk", "cloud", "verify", "tests"]),
];

/// What domain may depend on: none of it does input or output.
const PURE: &[&str] = &[
    "base64",
    "curve25519-dalek",
    "ed25519-dalek",
    "hex",
    "jiff",
    "serde",
    "serde_json",
    "sha2",
    "subtle",
    "thiserror",
    "uuid",
    "zeroize",
];

/// What no crate below domain may be: runtimes, sockets, databases.
const IMPURE: &[&str] = &["tokio", "async-std", "smol", "mio", "socket2", "hyper", "rusqlite"];

fn metadata(with_dependencies: bool) -> Metadata {
    let mut command = MetadataCommand::new();
    command.manifest_path(Path::new(ROOT).join("Cargo.toml"));
    if with_dependencies {
        // Crates of other systems are not there to be read.
        command.other_options(["--filter-platform".to_owned(), "x86_64-unknown-linux-gnu".to_owned()]);
    } else {
        command.no_deps();
    }
    command.exec().expect("cargo metadata")
}

fn short(name: &str) -> Option<&str> {
    name.strip_prefix("lotgate-")
}

/// The dependencies of a package that break a rule, in words.
fn breaches(package: &Package) -> Vec<String> {
    let Some(name) = short(&package.name) else {
        return vec![format!("{} is not lotgate-…", package.name)];
    };
    let Some((_, allowed)) = ARROWS.iter().find(|(from, _)| *from == name) else {
        return vec![format!("lotgate-{name} has no row in ARROWS")];
    };
    let mut found = Vec::new();
    for dependency in &package.dependencies {
        let on = dependency.name.as_str();
        // A crate names itself to give its own tests a feature.
        if let Some(on) = short(on)
            && on != name
            && !allowed.contains(&on)
        {
            found.push(format!("{name} → {on} is no arrow of the design"));
        }
        let only_in = ONLY_IN.iter().find(|(library, _)| {
            on.strip_prefix(library).is_some_and(|rest| rest.is_empty() || rest.starts_with('-'))
        });
        if only_in.is_some_and(|(_, crates)| !crates.contains(&name)) {
            found.push(format!("{name} must not depend on {on}"));
        }
        let for_tests = dependency.kind == cargo_metadata::DependencyKind::Development;
        if name == "domain" && !for_tests && !PURE.contains(&on) {
            found.push(format!("domain must not depend on {on} before it is known to be pure"));
        }
    }
    found
}

#[test]
fn dependencies_go_only_along_the_arrows_of_the_design() {
    let metadata = metadata(false);
    let found: Vec<String> = metadata.workspace_packages().into_iter().flat_map(breaches).collect();
    assert!(found.is_empty(), "{found:#?}");
}

#[test]
fn an_arrow_against_the_design_is_found() {
    let metadata = metadata(false);
    let packages = metadata.workspace_packages();
    let station = packages.iter().find(|package| package.name.as_str() == "lotgate-station").unwrap();
    let mut upside_down = (*station).clone();
    upside_down.name = serde_json::from_str("\"lotgate-domain\"").unwrap();
    let found = breaches(&upside_down);
    for wrong in ["domain → sync", "domain must not depend on tokio"] {
        assert!(found.iter().any(|words| words.contains(wrong)), "{wrong} not in {found:#?}");
    }
}

#[test]
fn nothing_below_domain_reads_clocks_files_or_networks() {
    let metadata = metadata(true);
    let names: BTreeMap<_, _> =
        metadata.packages.iter().map(|package| (&package.id, &package.name)).collect();
    let nodes: BTreeMap<_, _> =
        metadata.resolve.as_ref().unwrap().nodes.iter().map(|node| (&node.id, node)).collect();
    let domain = metadata.packages.iter().find(|package| package.name.as_str() == "lotgate-domain").unwrap();
    let (mut seen, mut waiting) = (BTreeSet::new(), vec![&domain.id]);
    while let Some(id) = waiting.pop() {
        if !seen.insert(id) {
            continue;
        }
        assert!(!IMPURE.contains(&names[id].as_str()), "domain depends on {} by some way", names[id]);
        let normal = |dependency: &&cargo_metadata::NodeDep| {
            dependency.dep_kinds.iter().any(|kind| kind.kind == cargo_metadata::DependencyKind::Normal)
        };
        waiting.extend(nodes[id].deps.iter().filter(normal).map(|dependency| &dependency.pkg));
    }
    assert!(seen.len() > PURE.len(), "the graph was walked");
}

/// Every file of ours with one of the `endings`: its path from the root, and its text.
fn files(endings: &[&str]) -> Vec<(String, String)> {
    let (mut found, mut folders) = (Vec::new(), vec![PathBuf::from(ROOT)]);
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            let others = name.starts_with('.') && name != ".ci" || name.starts_with("target");
            if path.is_dir() {
                if !others && !["node_modules", "dist", "seeds"].contains(&name.as_str()) {
                    folders.push(path);
                }
            } else if name == "dev" || endings.iter().any(|ending| name.ends_with(ending)) {
                let from_root = path.strip_prefix(ROOT).unwrap().to_string_lossy().into_owned();
                found.push((from_root, std::fs::read_to_string(&path).unwrap()));
            }
        }
    }
    found
}

fn sources() -> Vec<(String, String)> {
    files(&[".rs", ".ts", ".svelte", ".sh", ".sql", ".py"])
}

#[test]
fn no_source_file_grows_past_its_limit() {
    let long: Vec<String> = sources()
        .into_iter()
        .map(|(path, text)| (path, text.lines().count()))
        .filter(|(_, lines)| *lines > LONGEST)
        .map(|(path, lines)| format!("{path}: {lines} lines"))
        .collect();
    assert!(long.is_empty(), "{long:#?}");
}

#[test]
fn sources_hold_no_promises_and_no_gaps() {
    let words =
        [concat!("TO", "DO"), concat!("FIX", "ME"), concat!("unimpl", "emented!"), concat!("to", "do!(")];
    for (path, text) in sources() {
        for word in words {
            assert!(!text.contains(word), "{path} holds {word}");
        }
    }
}

#[test]
fn no_text_claims_an_approval_that_only_an_auditor_can_give() {
    let banned = concat!("compli", "ant");
    for (path, text) in
        files(&[".rs", ".ts", ".svelte", ".sh", ".sql", ".py", ".md", ".json", ".toml", ".html"])
    {
        assert!(!text.to_lowercase().contains(banned), "{path} holds the word {banned}");
    }
}

#[test]
fn domain_has_no_clock_no_files_and_no_network_of_its_own() {
    let impure = [
        "std::fs",
        "std::net",
        "std::env",
        "std::process",
        "std::thread",
        "SystemTime",
        "Instant",
        "::now(",
        "async_std",
    ];
    for (path, text) in sources().into_iter().filter(|(path, _)| path.starts_with("domain/src/")) {
        for word in impure {
            assert!(!text.contains(word), "{path} holds {word}");
        }
    }
}

#[test]
fn only_the_transport_of_sync_speaks_http() {
    for (path, text) in sources().into_iter().filter(|(path, _)| path.starts_with("sync/src/")) {
        let transport = path.starts_with("sync/src/http");
        assert!(transport || !text.contains("reqwest::"), "{path} uses reqwest");
    }
}

/// The migrations of one database, by name, in order.
fn migrations(database: &str) -> BTreeMap<String, Vec<u8>> {
    let folder = Path::new(ROOT).join("migrations").join(database);
    let entries = std::fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path());
    entries
        .map(|path| (path.file_name().unwrap().to_string_lossy().into_owned(), std::fs::read(&path).unwrap()))
        .collect()
}

/// The lines of `migrations/FROZEN`: path and hash.
fn frozen() -> Vec<(String, String)> {
    let text = std::fs::read_to_string(Path::new(ROOT).join("migrations/FROZEN")).unwrap();
    let lines = text.lines().filter(|line| !line.starts_with('#') && !line.is_empty());
    lines
        .map(|line| line.split_once(' ').unwrap_or_else(|| panic!("hash and path are due: {line}")))
        .map(|(hash, path)| (path.trim().to_owned(), hash.to_owned()))
        .collect()
}

/// What is wrong with the migrations of `database`, given what is frozen.
fn migration_faults(
    database: &str,
    there: &BTreeMap<String, Vec<u8>>,
    frozen: &[(String, String)],
) -> Vec<String> {
    let mut faults = Vec::new();
    for (number, name) in (1..).zip(there.keys()) {
        if !name.starts_with(&format!("{number:04}_")) || !name.ends_with(".sql") {
            faults.push(format!("{database}/{name} is not number {number:04}"));
        }
    }
    let ours = frozen
        .iter()
        .filter_map(|(path, hash)| Some((path.strip_prefix(database)?.strip_prefix('/')?, hash)));
    let mut released = BTreeSet::new();
    for (name, hash) in ours {
        released.insert(name);
        match there.get(name).map(|bytes| hex::encode(Sha256::digest(bytes))) {
            None => faults.push(format!("{database}/{name} was released and is gone")),
            Some(now) if now != *hash => {
                faults.push(format!("{database}/{name} was released and has changed"))
            }
            Some(_) => {}
        }
    }
    if there.keys().map(String::as_str).zip(&released).any(|(name, frozen)| name != *frozen) {
        faults.push(format!("{database}: a migration stands before one that was released"));
    }
    faults
}

#[test]
fn released_migrations_never_change_and_new_ones_come_after() {
    let frozen = frozen();
    for database in ["kiosk", "cloud"] {
        let faults = migration_faults(database, &migrations(database), &frozen);
        assert!(faults.is_empty(), "{faults:#?}");
    }
    for (path, _) in frozen {
        assert!(path.starts_with("kiosk/") || path.starts_with("cloud/"), "{path} in migrations/FROZEN");
    }
}

#[test]
fn a_changed_a_lost_and_a_misnumbered_migration_are_found() {
    let file = |name: &str, text: &str| (name.to_owned(), text.as_bytes().to_vec());
    let frozen = [("cloud/0001_a.sql".to_owned(), hex::encode(Sha256::digest("a")))];
    let faults = |there: &[(String, Vec<u8>)]| {
        migration_faults("cloud", &there.iter().cloned().collect(), &frozen).len()
    };
    assert_eq!(faults(&[file("0001_a.sql", "a"), file("0002_b.sql", "b")]), 0);
    assert_eq!(faults(&[file("0001_a.sql", "A")]), 1, "changed");
    assert_eq!(faults(&[]), 1, "lost");
    assert_eq!(faults(&[file("0001_a.sql", "a"), file("0003_b.sql", "b")]), 1, "a number left out");
    assert_eq!(faults(&[file("0000_z.sql", ""), file("0001_a.sql", "a")]), 3, "one before a released one");
}
