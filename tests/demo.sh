#!/usr/bin/env bash
# `./dev run`: builds the programs and the window, and runs tests/bin/demo.rs on them. Where there is no display, the
# window opens on one of its own (Xvfb).
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

tests/ui.sh build
cargo build --locked --bins
cargo build --locked -p lotgate-kiosk

if [ -n "${DISPLAY:-}${WAYLAND_DISPLAY:-}" ]; then
    exec target/debug/demo "$@"
fi
exec xvfb-run --auto-servernum --server-args='-screen 0 1280x800x24' target/debug/demo --screenshots "$@"
