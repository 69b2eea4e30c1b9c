#!/usr/bin/env bash
# Runs fuzz targets: tests/fuzz.sh [SECONDS [TARGET…]], by default each of tests/fuzz/Cargo.toml for a minute.
# What was found worth keeping stays in .lotgate/fuzz and is where the next run starts.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

seconds=${1:-60}
[ $# -eq 0 ] || shift
if [ $# -eq 0 ]; then
    mapfile -t targets < <(sed -n '/^\[\[bin\]\]/,/^$/ s/^name = "\(.*\)"$/\1/p' tests/fuzz/Cargo.toml)
else
    targets=("$@")
fi

# Coverage for libFuzzer as cargo-fuzz asks for it, without the sanitizers, which need a nightly compiler.
# With --target the flags reach neither build scripts nor macros.
triple=x86_64-unknown-linux-gnu
export CARGO_TARGET_DIR=target-fuzz
export CARGO_PROFILE_RELEASE_LTO=off
export RUSTFLAGS='--cfg fuzzing -Ccodegen-units=1 -Cdebug-assertions -Coverflow-checks -Cpasses=sancov-module
-Cllvm-args=-sanitizer-coverage-level=4 -Cllvm-args=-sanitizer-coverage-inline-8bit-counters
-Cllvm-args=-sanitizer-coverage-pc-table -Cllvm-args=-sanitizer-coverage-trace-compares'
RUSTFLAGS=${RUSTFLAGS//$'\n'/ }
cargo build --locked --release --target $triple -p lotgate-fuzz

failed=()
for target in "${targets[@]}"; do
    corpus=.lotgate/fuzz/$target
    crashes=.lotgate/fuzz/crashes/$target
    mkdir -p "$corpus" "$crashes"
    seeds=tests/fuzz/seeds/$target
    [ -d "$seeds" ] || seeds=
    echo "$target: $seconds s"
    program=$CARGO_TARGET_DIR/$triple/release/$target
    if ! "$program" -max_total_time="$seconds" -timeout=10 -rss_limit_mb=2048 \
        -max_len=40000 -verbosity=0 -print_final_stats=1 -artifact_prefix="$crashes/" "$corpus" ${seeds:+"$seeds"} \
        >"$crashes/log" 2>&1; then
        failed+=("$target")
        grep -v '^stat::' "$crashes/log" | tail -n 40 >&2
        echo "$target failed; to see it again: $program $(sed -n 's/.*written to //p' "$crashes/log")" >&2
    else
        sed -n 's/^stat::number_of_executed_units: */  inputs tried: /p' "$crashes/log"
    fi
done
[ ${#failed[@]} -eq 0 ]
