#!/usr/bin/env bash
# `./dev run`: builds the programs and runs tests/bin/demo.rs on them.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
cargo build --locked --bins
exec target/debug/demo "$@"
