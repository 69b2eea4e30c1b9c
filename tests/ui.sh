#!/usr/bin/env bash
# `tests/ui.sh build`: types, checks and both builds of the ui: dist for the window, dist-bridge for browsers.
# `tests/ui.sh`: every screen of it in a browser; needs those builds and the program `bridge`.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
if [ "${1:-}" = build ]; then
    cd ui
    npm ci --no-audit --no-fund --silent
    npm run --silent check
    npm run --silent build
    npm run --silent build:bridge
    exit
fi
cd tests/ui
npm ci --no-audit --no-fund --silent
npm test --silent
