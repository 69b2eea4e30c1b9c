#!/bin/sh
# Builds lotgate-sync, lotgate-devices and lotgate-sim for 64-bit Windows on Debian 12.
# Usage: installer/windows/build.sh [extra cargo options, for example -j1]
# Result: target-windows/x86_64-pc-windows-gnu/release/. Running it again rebuilds only what changed.
set -eu

cd "$(dirname "$0")/../.."
target=x86_64-pc-windows-gnu
packages='build-essential perl rustc-web cargo-web rust-web-src gcc-mingw-w64-x86-64-posix'

missing=
for package in $packages; do
    status=$(dpkg-query -W -f '${db:Status-Abbrev}' "$package" 2>/dev/null || true)
    [ "$status" = 'ii ' ] || missing="$missing $package"
done
if [ -n "$missing" ]; then
    install="apt-get install -y --no-install-recommends$missing"
    if [ "$(id -u)" = 0 ]; then
        as_root=
    elif sudo -n true 2>/dev/null; then
        as_root=sudo
    else
        echo "Packages are missing. As root, run:" >&2
        echo "  $install" >&2
        exit 1
    fi
    $as_root apt-get -o DPkg::Lock::Timeout=1200 update
    $as_root env DEBIAN_FRONTEND=noninteractive $install -o DPkg::Lock::Timeout=1200
fi

# Debian has no compiled std for Windows, so std is built from the source Debian packages. That source fits
# Debian's compiler only: rustup's, and with it rust-toolchain.toml, must be out of sight.
PATH=/usr/bin:/bin
unset RUSTUP_TOOLCHAIN RUSTFLAGS
export PATH
export RUSTC_BOOTSTRAP=1 # -Z build-std is not stable
export CARGO_TARGET_DIR=target-windows
export CARGO_TARGET_X86_64_PC_WINDOWS_GNU_LINKER=x86_64-w64-mingw32-gcc

cargo build --locked --release -Z build-std=std,panic_abort --target "$target" \
    -p lotgate-sync -p lotgate-devices "$@"

ls -l "$CARGO_TARGET_DIR/$target/release"/*.exe
