//! Any bytes in any file of an export that is whole otherwise, its manifest fitting.
#![no_main]
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a target fails by panicking"
)]
#![allow(unreachable_pub, reason = "shared with the verifier's tests")]

#[path = "../../../verify/tests/parts/build.rs"]
mod build;

use build::Export;
use std::sync::LazyLock;

static DIR: LazyLock<tempfile::TempDir> = LazyLock::new(|| tempfile::tempdir().unwrap());

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let Some((which, bytes)) = data.split_first() else { return };
    let mut export = Export::new(2);
    let paths: Vec<String> = export.files.keys().cloned().collect();
    export.put(&paths[usize::from(*which) % paths.len()], bytes.to_vec());
    export.write(DIR.path());
    let report = lotgate_verify::verify(DIR.path(), export.tenant.fingerprint()).unwrap();
    assert!(!report.findings.ok(), "no other bytes can stand there");
});
