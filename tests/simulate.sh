#!/usr/bin/env bash
# The simulation (tests/simulation): `tests/simulate.sh --seeds N [--from S] [--jobs N]`, one seed again with
# `--seed S --trace`, and with `--mutants` whether it finds each of the errors in tests/simulation/mutants, put into
# a copy of the tree.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

# The most seeds that a mutant may live through.
MOST=1000

simulate() {
    cargo run --locked --quiet --release -p lotgate-tests --example simulate -- "$@"
}

mutants() {
    local target=${CARGO_TARGET_DIR:-$PWD/target} copy patch name output alive=0
    copy=$(mktemp -d)
    # shellcheck disable=SC2064
    trap "rm -rf '$copy'" EXIT
    # Files get the time of now: what another mutant was built from must not pass for these.
    git ls-files -z --cached --others --exclude-standard | xargs -0 ls -d 2>/dev/null | tar -cf - -T - | tar -xmf - -C "$copy"
    for patch in "$PWD"/tests/simulation/mutants/*.patch; do
        name=$(basename "$patch" .patch)
        patch --quiet -d "$copy" -p1 <"$patch"
        if output=$(cd "$copy" && CARGO_TARGET_DIR=$target/mutants simulate --seeds "$MOST" 2>/dev/null); then
            printf '%-28s lives after %d seeds\n' "$name" "$MOST"
            alive=1
        else
            # What did not even build killed nothing.
            output=$(grep '^seed ' <<<"$output" | tail -1) || { echo "$name: does not run" >&2; exit 2; }
            printf '%-28s dies at %s\n' "$name" "$output"
        fi
        patch --quiet -R -d "$copy" -p1 <"$patch"
    done
    return $alive
}

if [ "${1:-}" = --mutants ]; then mutants; else simulate "$@"; fi
