//! Root works as the owner of the station's directory, never beside it: files of two owners would lock the
//! kiosk out of its own queue (PROTOCOL §2).

use super::{Exit, Failure};
use std::os::unix::fs::MetadataExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::Command;

/// Starts this command line again as the owner of `directory`, with the owner's groups, if root runs it and
/// somebody else owns the directory. Returns if there is nothing to switch.
pub(super) fn switch_from_root(directory: &Path) -> Result<(), Failure> {
    let Ok(owned) = std::fs::metadata(directory) else { return Ok(()) };
    let root = std::fs::metadata("/proc/self").is_ok_and(|process| process.uid() == 0);
    if !root || owned.uid() == 0 {
        return Ok(());
    }
    let failed = |error: std::io::Error| {
        Failure::new(Exit::KeyStore, "wrong_user", format!("{}: {error}", directory.display()))
    };
    let program = std::env::current_exe().map_err(failed)?;
    let error = Command::new("setpriv")
        .args([
            "--reuid",
            &owned.uid().to_string(),
            "--regid",
            &owned.gid().to_string(),
            "--init-groups",
            "--",
        ])
        .arg(program)
        .args(std::env::args_os().skip(1))
        .exec();
    Err(failed(error))
}
