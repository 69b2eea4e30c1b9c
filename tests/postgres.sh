#!/usr/bin/env bash
# The private Postgres cluster of this checkout, for tests and `./dev run`. Safe to repeat and to run at once.
#
#   up              make it if it is not there, start it if it is down, print the superuser's URL
#   down            stop it
#   url             print the superuser's URL; fails if the cluster is down
#   psql [ARG…]     psql as superuser
#   database NAME   make a database as a DBA would for the cloud, if it is not there; print its three URLs
#   drop NAME       drop a database, with the connections to it
#
# It is reached only by a socket in a directory that nobody else can enter, which is why no role has a
# password. LOTGATE_TEST_POSTGRES=URL (a superuser's, without password) makes another server stand in for it.
set -euo pipefail

checkout=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd -P)
bin=${LOTGATE_POSTGRES_BIN:-/usr/lib/postgresql/15/bin}
longest_socket_path=107

fail() {
    echo "postgres.sh: $1" >&2
    exit 1
}

# Postgres refuses to run as root.
as_server() {
    if [ "$(id -u)" = 0 ]; then
        (cd / && exec setpriv --reuid=postgres --regid=postgres --init-groups --reset-env "$@")
    else
        "$@"
    fi
}

# Under the checkout, unless the server's user cannot get there or the socket's path would be too long.
find_home() {
    local name socket
    mkdir -p "$checkout/.lotgate"
    home=$checkout/.lotgate/postgres
    socket=$home/.s.PGSQL.5432.lock
    if [ ${#socket} -gt $longest_socket_path ] || ! as_server test -x "$checkout/.lotgate"; then
        name=$(printf %s "$checkout" | sha256sum | cut -c1-12)
        home=/var/tmp/lotgate-postgres-$name
    fi
    data=$home/data
}

make_home() {
    local owner=$EUID
    [ "$owner" != 0 ] || owner=$(id -u postgres) || fail 'there is no user postgres; run tests/setup.sh'
    mkdir -m 700 "$home" 2>/dev/null && chown "$owner" "$home"
    # In /var/tmp somebody else may have taken the name.
    if [ -L "$home" ] || [ "$(stat -c '%F %u %a' "$home")" != "directory $owner 700" ]; then
        fail "$home is not a directory of mode 700 that belongs to user id $owner"
    fi
}

is_up() { [ -d "$data" ] && "$bin/pg_isready" -q -h "$home" -p 5432 -U postgres; }

# Made beside its place and moved there last, so that an interrupted run leaves nothing half made.
make_cluster() {
    [ ! -d "$data" ] || return 0
    echo "Making the database cluster $data" >&2
    rm -rf "$data.new"
    as_server "$bin/initdb" -D "$data.new" -U postgres --auth=trust --encoding=UTF8 --locale=C >"$home/initdb.log" ||
        fail "initdb failed, see $home/initdb.log"
    # The socket's directory is relative to the data directory.
    cat >>"$data.new/postgresql.conf" <<'CONF'
listen_addresses = ''
unix_socket_directories = '..'
port = 5432
max_connections = 200
fsync = on
synchronous_commit = on
timezone = 'UTC'
log_timezone = 'UTC'
CONF
    as_server "$bin/postgres" --single -j -D "$data.new" postgres >>"$home/initdb.log" 2>&1 <<'SQL'
CREATE ROLE lotgate_owner LOGIN NOSUPERUSER NOBYPASSRLS NOCREATEDB NOCREATEROLE;

CREATE ROLE lotgate_app LOGIN NOSUPERUSER NOBYPASSRLS NOCREATEDB NOCREATEROLE;

SQL
    as_server mv "$data.new" "$data"
}

# After a restart of the machine the pid of the last run may belong to another program, and then Postgres
# would refuse to start. A pid that belongs to nobody it handles by itself.
forget_stale_pid() {
    local pid
    pid=$(head -n1 "$data/postmaster.pid" 2>/dev/null) || return 0
    if [ -e "/proc/$pid" ] && [ "$(readlink "/proc/$pid/cwd")" != "$data" ]; then
        rm -f "$data/postmaster.pid" "$home"/.s.PGSQL.5432*
    fi
}

up() {
    make_home
    make_cluster
    is_up && return
    forget_stale_pid
    # The server must not inherit the lock.
    as_server "$bin/pg_ctl" start -w -t 120 -s -D "$data" -l "$home/log" 9>&- >/dev/null </dev/null ||
        fail "the cluster does not start, see $home/log"
    is_up || fail "the cluster does not answer, see $home/log"
}

down() {
    if [ -d "$data" ] && is_up; then
        as_server "$bin/pg_ctl" stop -w -t 120 -s -m fast -D "$data"
    fi
}

# The URL of a role and a database at the server of $server.
url_of() {
    local rest=${server#*://}
    rest=${rest#*@}
    printf 'postgresql://%s@%s/%s\n' "$1" "${rest%%/*}" "$2"
}

superuser() {
    local rest=${server#*://}
    case $rest in
        *@*) printf %s "${rest%%@*}" ;;
        *) printf postgres ;;
    esac
}

sql() { psql -X -q -A -t -v ON_ERROR_STOP=1 "$@"; }

check_name() { [[ ${1:-} =~ ^[a-z][a-z0-9_]{0,62}$ ]] || fail 'a database name is a-z, 0-9 and _, at most 63'; }

make_database() {
    local superuser
    check_name "${1:-}"
    superuser=$(superuser)
    if [ -z "$(sql -c "SELECT 1 FROM pg_database WHERE datname = '$1'" "$(url_of "$superuser" postgres)")" ]; then
        sql "$(url_of "$superuser" postgres)" <<SQL
CREATE DATABASE "$1" OWNER lotgate_owner;
REVOKE ALL ON DATABASE "$1" FROM PUBLIC;
GRANT CONNECT ON DATABASE "$1" TO lotgate_app;
SQL
    fi
    echo "superuser $(url_of "$superuser" "$1")"
    echo "owner $(url_of lotgate_owner "$1")"
    echo "app $(url_of lotgate_app "$1")"
}

command=${1:-}
[ $# -eq 0 ] || shift
server=${LOTGATE_TEST_POSTGRES:-}
if [ -z "$server" ]; then
    [ -x "$bin/postgres" ] || fail "there is no $bin/postgres; run tests/setup.sh"
    find_home
    server="postgresql://postgres@${home//\//%2F}/postgres"
    exec 9>>"$checkout/.lotgate/postgres.lock"
    flock 9
    case $command in
        up | psql | database) up ;;
        down) down ;;
        url | drop) is_up || fail 'the cluster is down' ;;
    esac
    exec 9>&-
fi
case $command in
    up | url) url_of "$(superuser)" postgres ;;
    down) ;;
    psql) exec psql "$(url_of "$(superuser)" postgres)" "$@" ;;
    database) make_database "$@" ;;
    drop)
        check_name "${1:-}"
        sql -c "DROP DATABASE IF EXISTS \"$1\" WITH (FORCE)" "$(url_of "$(superuser)" postgres)"
        ;;
    *) fail 'say one of: up, down, url, psql [ARG…], database NAME, drop NAME' ;;
esac
