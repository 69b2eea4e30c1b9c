//! Embeds the built ui, and makes a permission of each command, so that the capability names every one.

use std::path::Path;

/// Every command of the window (`src/commands.rs`). No other function can be reached from the page.
const COMMANDS: &[&str] = &["screen", "request", "painted"];

/// Where `npm run build` leaves the ui; the same as `frontendDist` in `tauri.conf.json`.
const UI: &str = "../ui/dist";

fn main() {
    println!("cargo::rerun-if-changed={UI}");
    if !Path::new(UI).join("index.html").is_file() {
        println!(
            "cargo::error=The window has no ui yet: run `npm ci && npm run build` in ui/, then build again."
        );
        return;
    }
    let manifest = tauri_build::AppManifest::new().commands(COMMANDS);
    if let Err(error) = tauri_build::try_build(tauri_build::Attributes::new().app_manifest(manifest)) {
        println!("cargo::error={}", format!("{error:#}").replace('\n', " "));
    }
}
