#!/usr/bin/env bash
# Builds the Debian package: target/deb/lotgate_VERSION_ARCHITECTURE.deb.
#
#   PROFILE=dev          the cargo profile (release)
#   SOURCE_DATE_EPOCH=N  the time of every file in it (that of the last commit)
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd -P)
cd "$here/../.."

profile=${PROFILE:-release}
if [ $# -gt 0 ]; then
    sed -n '2,/^set/{/^#/p}' "${BASH_SOURCE[0]}" >&2
    exit 2
fi

for tool in dpkg-deb dpkg-shlibdeps strip npm; do
    command -v "$tool" >/dev/null || {
        echo "There is no $tool; needed: dpkg-dev, binutils, and Node.js with npm" >&2
        exit 1
    }
done

out=target/deb
tree=$out/tree
programs=(lotgate lotgate-kiosk)
[ ui/node_modules/.package-lock.json -nt ui/package-lock.json ] || (cd ui && npm ci)
(cd ui && npm run build)
cargo build --locked --profile "$profile" -p lotgate-station --bin lotgate
cargo build --locked --profile "$profile" -p lotgate-kiosk --bin lotgate-kiosk
built=${CARGO_TARGET_DIR:-target}/$profile
[ "$profile" != dev ] || built=${CARGO_TARGET_DIR:-target}/debug

version=$(cargo pkgid --locked -p lotgate-station)
version=${version##*@}
architecture=$(dpkg --print-architecture)
export SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH:-$(git log -1 --format=%ct)}

rm -rf "$tree"
mkdir -p "$tree"
cp -r "$here/files/." "$tree"
mkdir -p "$tree/usr/bin" "$tree/etc/lotgate/policy.d" "$tree/DEBIAN"
for program in "${programs[@]}"; do
    strip --strip-unneeded -o "$tree/usr/bin/$program" "$built/$program"
done

# Modes are ours, not those of the checkout.
find "$tree" -type d -exec chmod 755 {} +
find "$tree" -type f -exec chmod 644 {} +
chmod 755 "$tree"/usr/bin/* "$tree"/usr/sbin/* "$tree"/usr/lib/lotgate/*

# dpkg-shlibdeps wants to be in a source package.
mkdir -p "$out/shlibs/debian"
printf 'Source: lotgate\n\nPackage: lotgate\nArchitecture: any\n' >"$out/shlibs/debian/control"
depends=$(cd "$out/shlibs" && dpkg-shlibdeps -O "${programs[@]/#/../tree/usr/bin/}")
depends=${depends#shlibs:Depends=}

(cd "$tree" && find . -path ./DEBIAN -prune -o -type f -printf '%P\0' | LC_ALL=C sort -z | xargs -0 md5sum >DEBIAN/md5sums)
size=$(du -sk --apparent-size --exclude=DEBIAN "$tree" | cut -f1)
sed -e "s/@VERSION@/$version/" -e "s/@ARCHITECTURE@/$architecture/" -e "s/@SIZE@/$size/" \
    -e "s/@DEPENDS@/$depends/" "$here/control/control" >"$tree/DEBIAN/control"
cp "$here/control/conffiles" "$here/control/postinst" "$here/control/prerm" "$here/control/postrm" "$tree/DEBIAN"
chmod 644 "$tree"/DEBIAN/*
chmod 755 "$tree"/DEBIAN/postinst "$tree"/DEBIAN/prerm "$tree"/DEBIAN/postrm

# One thread, or the number of cores would show in the bytes. What is only tried out is packed fast.
level=6
[ "$profile" != dev ] || level=0
package=$out/lotgate_${version}_$architecture.deb
dpkg-deb --root-owner-group --threads-max=1 -Zxz -z"$level" --build "$tree" "$package" >/dev/null
ls -l "$package"
