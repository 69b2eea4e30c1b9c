#!/usr/bin/env bash
# Installs the package on a clean Debian that runs its own systemd in a container, uses it as IT would, with a real
# cloud outside, and takes it away again. PROFILE as for build.sh (here: dev). Wants root.
#
# The clean system is made once (target/deb/base.tar, target/deb/archives); remove these to begin anew.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd -P)
cd "$here/../.."

export PROFILE=${PROFILE:-dev}
out=$PWD/target/deb
root=$out/clean
machine=lotgate-deb-test
pids=()

fail() {
    printf 'FAILED: %s\n' "$1" >&2
    exit 1
}

step() { printf '\n==> %s (%d s)\n' "$1" "$SECONDS"; }

needed='debootstrap systemd-container dpkg-dev binutils xvfb python3'
missing=()
for package in $needed; do
    [ "$(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null)" = installed ] || missing+=("$package")
done
if [ "$(id -u)" != 0 ]; then
    echo "A clean system needs root: mounting, and a container. Run this as root${missing[*]:+ on a machine with ${missing[*]}}." >&2
    exit 1
fi
[ ${#missing[@]} -eq 0 ] || {
    apt-get update -q
    DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends "${missing[@]}"
}

# --- the clean system -----------------------------------------------------------------------------------------------

# The mirror is the one that this machine uses.
debian() { apt-get indextargets --format '$(REPO_URI) $(RELEASE) $(COMPONENT)' 'Identifier: Packages' 'Origin: Debian' | sort -u; }

make_base() {
    local release mirror
    release=$(. /etc/os-release && echo "$VERSION_CODENAME")
    [ -n "$(debian)" ] || apt-get update -q
    mirror=$(debian | awk -v release="$release" '$2 == release && $3 == "main" {print $1; exit}')
    [ -n "$mirror" ] || fail "apt knows no mirror of Debian $release"
    rm -rf "$root"
    debootstrap --variant=minbase --include=systemd-sysv,dbus "$release" "$root" "$mirror" >"$out/debootstrap.log" ||
        fail "debootstrap, see $out/debootstrap.log"
    debian | sed 's/^/deb /' >"$root/etc/apt/sources.list"
    apt-config dump | grep -E '^Acquire::(http|https|Check)' >"$root/etc/apt/apt.conf.d/99outside" || true
    rm -f "$root"/var/cache/apt/archives/*.deb
    # Empty: an id of its own at each start, and no questions as at a first one.
    : >"$root/etc/machine-id"
    tar -C "$root" -cf "$out/base.tar.new" .
    mv "$out/base.tar.new" "$out/base.tar"
}

# In the running system, as root, with nothing of this shell's environment.
inside() {
    nsenter -t "$leader" -m -u -i -n -p -C -- env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LANG=C.UTF-8 \
        DEBIAN_FRONTEND=noninteractive ${http_proxy:+http_proxy="$http_proxy"} "$@"
}

# Waits until a command succeeds: until SECONDS COMMAND…
until_true() {
    local end=$((SECONDS + $1))
    shift
    while ! "$@" >/dev/null 2>&1; do
        [ $SECONDS -lt $end ] || return 1
        sleep 0.2
    done
}

# expect CODE COMMAND…: what it says is in $said.
expect() {
    local wanted=$1 code=0
    shift
    said=$("$@" 2>&1 </dev/null) || code=$?
    [ "$code" = "$wanted" ] || fail "exit code $code instead of $wanted: $*"$'\n'"$said"
    printf '  exit code %3d  %s\n' "$code" "${*/#inside/}"
}

holds() { case $said in *"$1"*) ;; *) fail "this does not say \"$1\":"$'\n'"$said" ;; esac; }

boot() {
    systemd-nspawn --quiet --register=no --keep-unit --boot --console=pipe --machine="$machine" --directory="$root" \
        --resolv-conf=copy-host --timezone=off --link-journal=no --bind="$out/archives:/var/cache/apt/archives" \
        </dev/null >"$out/boot.log" 2>&1 &
    pids+=($!)
    leader=
    until_true 30 eval "leader=\$(ps --ppid $! -o pid= | tr -d ' '); [ -n \"\$leader\" ]" || fail "no container, see $out/boot.log"
    until_true 60 inside systemctl is-system-running || fail "systemd does not come up, see $out/boot.log"
}

database=
leader=
clean_up() {
    [ -z "$leader" ] || inside systemctl poweroff >/dev/null 2>&1 || true
    [ -z "$leader" ] || until_true 20 test ! -e "/proc/$leader" || true
    for pid in "${pids[@]}"; do
        kill "$pid" 2>/dev/null || true
    done
    wait || true
    [ -z "$database" ] || tests/postgres.sh drop "$database" >/dev/null 2>&1 || true
    rm -rf "$root" "$out/plant"
    rmdir "/run/systemd/nspawn/propagate/$machine" 2>/dev/null || true
}

# --- a cloud outside ------------------------------------------------------------------------------------------------

cloud() { target/debug/lotgate-cloud --config "$out/plant/cloud.toml" "$@"; }

# Answers what its commands print in JSON: json KEY.
json() { python3 -c 'import json, sys; print(json.load(sys.stdin)[sys.argv[1]])' "$1"; }

start_cloud() {
    target/debug/lotgate-cloud --config "$out/plant/cloud.toml" serve >"$out/plant/cloud.log" 2>&1 &
    cloud_pid=$!
    pids+=("$cloud_pid")
    until_true 20 eval "(: </dev/tcp/127.0.0.1/$port)" || fail "the cloud does not listen, see $out/plant/cloud.log"
}

stop_cloud() {
    kill "$cloud_pid"
    wait "$cloud_pid" || fail "the cloud did not end well, see $out/plant/cloud.log"
}

make_plant() {
    local urls made
    cargo build --locked -p lotgate-cloud --bin lotgate-cloud
    mkdir -p "$out/plant"
    database=deb_test_$$
    urls=$(tests/postgres.sh database "$database")
    port=$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
    cat >"$out/plant/cloud.toml" <<TOML
[listen]
address = "127.0.0.1:$port"
[database]
url = "$(awk '$1 == "app" {print $2}' <<<"$urls")"
owner_url = "$(awk '$1 == "owner" {print $2}' <<<"$urls")"
[keys]
master_key_file = "master.key"
nonce_key_file = "nonce.key"
TOML
    cloud keys create >/dev/null
    cloud migrate >/dev/null
    made=$(cloud tenant create --name deb --site 'Plant 1' --zone Europe/Berlin --root-key-out "$out/plant/root.key" \
        --without-recovery)
    tenant=$(json tenant <<<"$made")
    site=$(json site <<<"$made")
}

# --- claims ---------------------------------------------------------------------------------------------------------

nothing_but_what_belongs_there_with_plain_modes() {
    local strangers
    strangers=$(dpkg-deb -c "$package" | awk '
        { mode = $1; path = $6 }
        $2 != "root/root" { print; next }
        mode == "drwxr-xr-x" && path ~ /\/$/ { next }
        mode == "-rwxr-xr-x" && path ~ /^\.\/usr\/(bin|sbin|lib\/lotgate)\// { next }
        mode == "-rw-r--r--" && path ~ /^\.\/etc\/lotgate\// { next }
        mode == "-rw-r--r--" && path ~ /^\.\/usr\/(share\/(doc\/)?lotgate|lib\/(systemd\/system|sysusers\.d|tmpfiles\.d|udev\/rules\.d))\/[^\/]*$/ { next }
        { print }')
    [ -z "$strangers" ] || fail "in the package, and should not be so:"$'\n'"$strangers"
}

built_twice_it_is_the_same() {
    local first
    "$here/build.sh"
    package=$(ls -t "$out"/lotgate_*.deb | head -n 1)
    first=$(sha256sum <"$package")
    "$here/build.sh" >/dev/null
    [ "$first" = "$(sha256sum <"$package")" ] || fail 'two builds of the same programs differ'
}

installed_silently_it_is_whole() {
    inside apt-get update -q >"$out/apt.log" 2>&1 || fail "apt-get update, see $out/apt.log"
    cp "$package" "$root/root/lotgate.deb"
    inside apt-get install -y -q --no-install-recommends /root/lotgate.deb </dev/null >>"$out/apt.log" 2>&1 ||
        fail "apt-get install, see $out/apt.log"
    expect 0 inside dpkg --verify lotgate
    expect 0 inside dpkg --audit
    expect 0 inside lotgate --version
    expect 0 inside id lotgate
    holds dialout
    expect 0 inside stat -c '%a %U %n' /var/lib/lotgate /var/lib/lotgate.secure
    holds '700 lotgate /var/lib/lotgate'
    holds '700 lotgate /var/lib/lotgate.secure'
    expect 0 inside systemd-analyze verify --recursive-errors=no /usr/lib/systemd/system/lotgate-enrol.service \
        /usr/lib/systemd/system/lotgate-device-secret.service
    [ -z "$said" ] || fail "systemd on the units: $said"
    # Every key that the commented configuration shows is one that the program knows.
    sed -n 's/^#\([^ ]\)/\1/p' "$root/etc/lotgate/lotgate.toml" >"$root/root/every-key.toml"
    expect 0 inside sh -c 'lotgate --config /dev/stdin config show --origin </root/every-key.toml'
    holds /usr/share/lotgate/installer.toml
    expect 10 inside lotgate doctor
    expect 10 inside lotgate-admin doctor
}

# A screen of this machine, so that nothing for it need be installed inside: an abstract socket, and the same network.
start_screen() {
    mkdir -p "$out/screen"
    rm -f "$out/display"
    Xvfb -displayfd 7 -screen 0 1280x800x24 -ac -nolisten tcp -fbdir "$out/screen" 2>"$out/xvfb.log" 7>"$out/display" &
    pids+=($!)
    until_true 10 test -s "$out/display" || fail "no Xvfb, see $out/xvfb.log"
    display=$(cat "$out/display")
}

# Counts the colours on the screen; writes it as a PNG if asked.
colours() { python3 "$here/screen.py" "$out/screen/Xvfb_screen0" "$@"; }

# More than a pointer on an empty screen, which has some tens.
shows_something() { [ "$(colours)" -ge 300 ]; }

# With nothing installed but what the package depends on.
the_window_shows_something_and_ends_when_told() {
    local waiting code=0
    inside systemd-run --wait --unit=window --uid=lotgate --setenv="DISPLAY=:$display" \
        --property=LoadCredentialEncrypted=lotgate.device /usr/bin/lotgate-kiosk >"$out/window.log" 2>&1 &
    waiting=$!
    pids+=("$waiting")
    until_true 60 shows_something || {
        inside journalctl -u window --no-pager | tail -n 20 >&2
        fail "the window shows nothing, see $out/window.log"
    }
    # Not only the first moment.
    sleep 3
    printf '  %s colours, see %s\n' "$(colours "$out/window.png")" "$out/window.png"
    expect 0 inside systemctl is-active window
    inside systemctl kill --kill-whom=main --signal=TERM window
    wait "$waiting" || code=$?
    grep -q 'code=exited/status=0' "$out/window.log" ||
        fail "told to end, it did not end with 0 ($code):"$'\n'"$(cat "$out/window.log")"
}

# The unit as it is, but for the console and the graphics card, which a container has not: cage draws on Xvfb.
the_session_shows_the_window_as_the_account_lotgate() {
    inside apt-get install -y -q --no-install-recommends cage xwayland libpam-systemd </dev/null >>"$out/apt.log" 2>&1 ||
        fail "apt-get install, see $out/apt.log"
    mkdir -p "$root/etc/systemd/system/lotgate-kiosk.service.d"
    cat >"$root/etc/systemd/system/lotgate-kiosk.service.d/container.conf" <<UNIT
[Unit]
ConditionPathExists=
[Service]
TTYPath=
StandardInput=null
Environment=WLR_BACKENDS=x11 WLR_RENDERER=pixman DISPLAY=:$display
# Here cage aborts when the window has ended; that nothing had to be killed is what is asked.
SuccessExitStatus=SIGABRT
UNIT
    expect 0 inside systemd-analyze verify --recursive-errors=no lotgate-kiosk.service
    inside systemctl daemon-reload
    until_true 10 eval '! shows_something' || fail 'the screen is not empty before'
    expect 0 inside systemctl start lotgate-kiosk
    until_true 60 shows_something || {
        inside journalctl -u lotgate-kiosk --no-pager | tail -n 20 >&2
        fail 'the session shows nothing'
    }
    sleep 3
    printf '  %s colours, see %s\n' "$(colours "$out/session.png")" "$out/session.png"
    expect 0 inside pgrep -u lotgate -x lotgate-kiosk
    expect 0 inside systemctl stop lotgate-kiosk
    expect 0 inside systemctl show -p Result -p NRestarts lotgate-kiosk
    inside journalctl -u lotgate-kiosk --no-pager >"$out/session.log"
    holds Result=success
    holds NRestarts=0
    grep -q 'lotgate-kiosk.service: Deactivated successfully' "$out/session.log" || fail "see $out/session.log"
    rm -r "$root/etc/systemd/system/lotgate-kiosk.service.d"
    inside systemctl daemon-reload
}

enrolled_by_a_token_file_it_has_a_secret_from_systemd() {
    cloud station token --tenant "$tenant" --site "$site" --training --out "$out/plant/token" >/dev/null
    printf '[cloud]\nserver = "http://127.0.0.1:%s"\n' "$port" >"$root/etc/lotgate/policy.d/10-plant.toml"
    install -m 600 "$out/plant/token" "$root/etc/lotgate/enrol.token"
    expect 0 inside systemctl start lotgate-enrol.service
    [ ! -e "$root/etc/lotgate/enrol.token" ] || fail 'the token still lies there'
    expect 0 inside lotgate-admin status
    holds 'key protection: credential'
    holds 'queue: 1 waiting'
    expect 0 inside stat -c '%a %U' /etc/credstore.encrypted /etc/credstore.encrypted/lotgate.device
    holds '700 root'
    holds '600 root'
    expect 13 inside lotgate status
}

over_an_unsynced_queue_it_is_not_removed() {
    expect 100 inside apt-get remove -y -q lotgate
    holds 'lotgate: not removed: 1 operations have not been received by the cloud'
    expect 100 inside apt-get purge -y -q lotgate
    holds 'exit status 20'
    expect 0 inside lotgate --version
    expect 0 inside dpkg --audit
}

an_upgrade_keeps_the_queue() {
    local before
    before=$(inside lotgate-admin status --json | json station)
    expect 0 inside apt-get install -y -q --reinstall /root/lotgate.deb
    [ "$before" = "$(inside lotgate-admin status --json | json station)" ] || fail 'another station after the upgrade'
}

removed_it_leaves_the_queue_and_installed_again_it_goes_on() {
    start_cloud
    inside systemd-run --quiet --unit=agent --uid=lotgate --property=LoadCredentialEncrypted=lotgate.device \
        /usr/bin/lotgate agent
    until_true 60 eval 'inside lotgate-admin status | grep -q "queue: 0 waiting"' || fail 'the queue does not drain'
    inside systemctl stop agent
    expect 0 inside apt-get remove -y -q lotgate
    [ -z "$(ls "$root"/usr/bin/lotgate* "$root"/usr/sbin/lotgate* "$root"/usr/lib/lotgate 2>/dev/null)" ] ||
        fail 'programs were left'
    [ -s "$root/var/lib/lotgate/queue.db" ] || fail 'the queue is gone'
    [ -s "$root/etc/credstore.encrypted/lotgate.device" ] || fail 'the device secret is gone'
    inside apt-get install -y -q --no-install-recommends /root/lotgate.deb </dev/null >>"$out/apt.log" 2>&1
    expect 0 inside lotgate-admin queue verify
}

purged_it_deletes_only_what_somebody_gave_up() {
    expect 100 inside apt-get purge -y -q lotgate
    holds 'lotgate: not purged: /var/lib/lotgate'
    [ -s "$root/var/lib/lotgate/queue.db" ] || fail 'the queue is gone'
    inside mv /var/lib/lotgate.received /root/received
    inside touch /run/lotgate.purge-data
    expect 1 inside dpkg --purge lotgate
    holds 'the cloud had not received all'
    [ -s "$root/var/lib/lotgate/queue.db" ] || fail 'the queue is gone'
    inside mv /root/received /var/lib/lotgate.received
    expect 0 inside dpkg --purge lotgate
    expect 1 inside sh -c 'ls -d /var/lib/lotgate* /etc/lotgate/lotgate.toml /etc/credstore.encrypted/lotgate.device 2>/dev/null | grep .'
    expect 1 inside dpkg-query -W -f '${db:Status-Status}' lotgate
}

mkdir -p "$out/archives"
trap clean_up EXIT
step 'build, twice'
built_twice_it_is_the_same
nothing_but_what_belongs_there_with_plain_modes
step 'clean system'
[ -s "$out/base.tar" ] || make_base
rm -rf "$root"
mkdir -p "$root"
tar -C "$root" -xf "$out/base.tar"
boot
step 'installed silently it is whole'
installed_silently_it_is_whole
step 'the window shows something and ends when told'
start_screen
the_window_shows_something_and_ends_when_told
step 'the session shows the window as the account lotgate'
the_session_shows_the_window_as_the_account_lotgate
step 'enrolled by a token file it has a secret from systemd'
make_plant
start_cloud
enrolled_by_a_token_file_it_has_a_secret_from_systemd
stop_cloud
step 'over an unsynced queue it is not removed'
over_an_unsynced_queue_it_is_not_removed
step 'an upgrade keeps the queue'
an_upgrade_keeps_the_queue
step 'removed it leaves the queue, and installed again it goes on'
removed_it_leaves_the_queue_and_installed_again_it_goes_on
step 'purged it deletes only what somebody gave up'
purged_it_deletes_only_what_somebody_gave_up
printf '\nAll passed in %d s.\n' "$SECONDS"
