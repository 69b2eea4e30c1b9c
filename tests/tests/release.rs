//! What a release must not have: the disk that fails on purpose.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

use cargo_metadata::{DependencyKind, MetadataCommand};
use std::path::Path;

const FEATURE: &str = "fault-vfs";
/// Packages that are never shipped.
const TESTS: &[&str] = &["lotgate-tests", "lotgate-fuzz"];

#[test]
fn no_release_has_the_fault_disk() {
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR")).join("../Cargo.toml");
    let metadata = MetadataCommand::new().manifest_path(manifest).no_deps().exec().expect("cargo metadata");
    let sync = metadata.packages.iter().find(|package| package.name.as_str() == "lotgate-sync").unwrap();
    assert!(sync.features.contains_key(FEATURE), "the feature has another name now");
    for (feature, enables) in &sync.features {
        assert!(!enables.iter().any(|enabled| enabled == FEATURE), "feature {feature} of sync has it");
    }
    for package in metadata.workspace_packages() {
        for dependency in package.dependencies.iter().filter(|dependency| dependency.name == "lotgate-sync") {
            let for_tests = dependency.kind == DependencyKind::Development;
            let has = dependency.features.iter().any(|feature| feature == FEATURE);
            assert!(for_tests || !has, "{} builds its programs with {FEATURE}", package.name);
        }
        let shipped = !TESTS.contains(&package.name.as_str());
        let forwards = package.features.values().flatten().any(|enabled| enabled.ends_with(FEATURE));
        assert!(!shipped || !forwards, "a feature of {} turns {FEATURE} on", package.name);
    }
}
