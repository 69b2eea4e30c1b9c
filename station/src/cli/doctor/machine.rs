//! Versions, configuration, directories, who runs, and the ports of devices.

use super::super::site::Site;
use super::super::status::running_agent;
use super::super::{Exit, Failure};
use super::Check;
use crate::retired::Retirement;
use lotgate_devices::binding::{PortSelector, ScannerBinding};
use lotgate_devices::event::{DeviceState, PrinterState};
use lotgate_devices::printer::{PrinterBinding, PrinterTiming};
use lotgate_sync::queue::library_versions;
use lotgate_sync::secure::Places;
use std::path::Path;

pub(super) fn check(site: &Site) -> Vec<Check> {
    let (libraries, program) = (library_versions(), site.program());
    let versions = format!(
        "lotgate {} ({}), SQLite {}, SQLCipher {}",
        program.version, program.build, libraries.sqlite, libraries.sqlcipher
    );
    let mut checks = vec![
        Check::ok("versions", versions),
        Check::ok("configuration", format!("sha256 {}", site.config.sha256)),
        check_directory(&site.places, "data_directory", &site.places.data, false),
        check_directory(&site.places, "secure_directory", &site.places.secure, true),
        Check::ok(
            "agent",
            match running_agent(&site.places) {
                Some(pid) => format!("process {pid} works with the data directory"),
                None => "none runs; the data directory is free".to_owned(),
            },
        ),
    ];
    match Retirement::read(&site.places) {
        Ok(None) => {}
        Ok(Some(retirement)) => checks.push(Check::warn("retirement", retirement.code(), "")),
        Err(error) => {
            let failure = Failure::new(Exit::KeyStore, "key_store", error.to_string());
            checks.push(Check::fail("retirement", failure));
        }
    }
    checks
}

/// Whose it is and who may look into it.
fn check_directory(places: &Places, id: &'static str, dir: &Path, private: bool) -> Check {
    let shown = dir.display();
    if !places.storage.is_dir(dir) {
        return Check::fail(id, Failure::new(Exit::NotEnrolled, "directory_missing", shown.to_string()));
    }
    match places.storage.access(dir) {
        Err(error) => {
            let detail = format!("{shown}: {error}");
            Check::fail(id, Failure::new(Exit::KeyStore, "key_store", detail))
        }
        Ok(None) => Check::ok(id, shown.to_string()),
        Ok(Some(access)) => {
            let detail = format!("{shown}, owner {}, mode {:o}", access.owner, access.mode);
            if own_user().is_some_and(|user| user != access.owner) {
                Check::fail(id, Failure::new(Exit::KeyStore, "wrong_user", detail))
            } else if private && access.mode & 0o077 != 0 {
                Check::fail(id, Failure::new(Exit::KeyStore, "wrong_permissions", detail))
            } else {
                Check::ok(id, detail)
            }
        }
    }
}

#[cfg(unix)]
fn own_user() -> Option<u32> {
    std::os::unix::fs::MetadataExt::uid(&std::fs::metadata("/proc/self").ok()?).into()
}

#[cfg(not(unix))]
fn own_user() -> Option<u32> {
    None
}

pub(super) fn check_devices(site: &Site) -> Vec<Check> {
    if site.config.scanners.is_empty() && site.config.printers.is_empty() {
        return vec![Check::ok("devices", "none configured")];
    }
    let agent = running_agent(&site.places);
    let scanners = site.config.scanners.iter().map(|binding| check_scanner(binding, agent));
    scanners.chain(site.config.printers.iter().map(check_printer)).collect()
}

/// Whether it answers that it is ready. It is asked once, on a connection of its own, between two questions of an
/// agent that runs.
fn check_printer(binding: &PrinterBinding) -> Check {
    let which = match &binding.name {
        Some(name) => format!("{name}, {}", binding.address()),
        None => binding.address(),
    };
    match lotgate_devices::printer::try_printer(binding, &PrinterTiming::default()) {
        PrinterState::Ready if binding.info().simulated => {
            Check::ok("printer", format!("{which} (simulated)"))
        }
        PrinterState::Ready => Check::ok("printer", which),
        state @ (PrinterState::Unreachable | PrinterState::NotZpl) => {
            Check::fail("printer", Failure::new(Exit::DeviceMissing, state.code(), which))
        }
        state => Check::warn("printer", state.code(), which),
    }
}

/// A port that is busy while an agent runs is the agent's.
fn check_scanner(binding: &ScannerBinding, agent: Option<u32>) -> Check {
    let which = match &binding.port {
        PortSelector::Path(path) => path.display().to_string(),
        PortSelector::Usb(usb) => format!("usb {:04x}:{:04x}", usb.vid, usb.pid),
    };
    match (lotgate_devices::serial::try_port(binding), agent) {
        (Ok(device), _) if device.simulated => Check::ok("scanner", format!("{which} (simulated)")),
        (Ok(_), _) => Check::ok("scanner", which),
        (Err(DeviceState::Busy), Some(pid)) => {
            Check::ok("scanner", format!("{which}, in use while the agent runs (pid {pid})"))
        }
        (Err(state), _) => Check::fail("scanner", Failure::new(Exit::DeviceMissing, state.code(), which)),
    }
}
