#!/bin/sh
# See that the programs which the tests start are there: PostgreSQL 15, PgBouncer, Redis, Chromium
# and node.
#
# As root on Debian, the missing ones are installed; else they are named, and their tests skip
# (with CI=true they fail). No service of the system is used: each test starts its own.
set -eu
cd "$(dirname "$0")/.."

PATH=$PATH:/usr/sbin:/usr/local/sbin

missing=
need() {
    package=$1
    shift
    for name in "$@"; do
        if command -v "$name" >/dev/null; then
            return
        fi
    done
    missing="$missing $package"
}

# Beside the embedded server, which is newer: the oldest release that is promised.
[ -x /usr/lib/postgresql/15/bin/initdb ] || missing="$missing postgresql-15"
need pgbouncer pgbouncer
need redis-server redis-server valkey-server
need chromium chromium chromium-browser google-chrome-stable google-chrome
need nodejs node
need npm npm

if [ -z "$missing" ]; then
    exit 0
fi
if [ "$(id -u)" -eq 0 ] && command -v apt-get >/dev/null; then
    # shellcheck disable=SC2086 # a list of words
    scripts/apt_install.sh $missing || echo "services: could not install$missing" >&2
else
    echo "services: missing:$missing (their tests are skipped; run: apt-get install$missing)" >&2
fi
