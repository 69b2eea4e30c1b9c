#!/usr/bin/env bash
# Installs the Debian packages that the project needs and the machine lacks; does nothing if none is missing.
set -euo pipefail

# build-essential: C and C++ of SQLCipher, zstd, ring, libFuzzer. libssl-dev, pkg-config: SQLCipher's libcrypto.
# libwebkit2gtk-4.1-dev: the window's page, and all that GTK needs to build it.
# zxing-cpp-tools: reads printed labels in tests, as no code of the project does.
# chromium: the ui's screens in a browser. xvfb, webkit2gtk-driver: the built window on a screen without glass, driven.
# imagemagick: the picture of the window where there is no display (./dev run).
# python3: the independent verifier. dbus, gnome-keyring: a Secret Service for the test of that key store.
packages='build-essential libssl-dev pkg-config postgresql-15 python3 libwebkit2gtk-4.1-dev zxing-cpp-tools chromium xvfb xauth webkit2gtk-driver imagemagick dbus-daemon dbus-bin gnome-keyring'

if ! command -v dpkg-query >/dev/null; then
    echo "Not a Debian system. Needed: the equivalents of $packages" >&2
    exit 1
fi

installed() { [ "$(dpkg-query -W -f '${db:Status-Status}' "$1" 2>/dev/null)" = installed ]; }

missing=()
for package in $packages; do
    installed "$package" || missing+=("$package")
done
if [ ${#missing[@]} -eq 0 ]; then
    echo "All packages are there: $packages"
    exit 0
fi

if [ "$(id -u)" = 0 ]; then
    as_root=()
elif command -v sudo >/dev/null && { sudo -n true 2>/dev/null || [ -t 0 ]; }; then
    as_root=(sudo)
else
    echo 'Packages are missing. As root, run:' >&2
    echo "  apt-get update && apt-get install -y --no-install-recommends ${missing[*]}" >&2
    exit 1
fi

apt() { "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get -o DPkg::Lock::Timeout=600 "$@"; }

echo "Installing ${missing[*]}"
# Debian would start a cluster of its own; only the private one of tests/postgres.sh is wanted.
settings=/etc/postgresql-common/createcluster.conf
if ! installed postgresql-common && [ ! -e $settings ]; then
    "${as_root[@]}" mkdir -p "${settings%/*}"
    echo 'create_main_cluster = false' | "${as_root[@]}" tee $settings >/dev/null
fi
apt update
apt install -y --no-install-recommends "${missing[@]}"
