#!/usr/bin/env bash
# The built window, driven by WebDriver on X servers of its own. Needs the programs, the ui's build and the database.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
cargo build --locked -p lotgate-kiosk
cargo test --locked -p lotgate-kiosk
cargo test --locked -p lotgate-tests --test window -- --test-threads 2 "$@"
