#!/bin/sh
# Install Debian packages as root, without questions and without leaving a daemon running.
set -eu

export DEBIAN_FRONTEND=noninteractive
# Without systemd, invoke-rc.d starts nothing that runlevel 1 does not list.
export RUNLEVEL=1

install() {
    apt-get install --yes --quiet --no-install-recommends "$@" </dev/null
}

fresh=
for package in "$@"; do
    dpkg --status "$package" >/dev/null 2>&1 || fresh="$fresh $package"
done

echo "apt: installing$fresh"
# The lists of a new machine are empty or old: fetch them only when they are of no use.
install "$@" >/dev/null 2>&1 || { apt-get update --quiet >/dev/null && install "$@" >/dev/null; }

# With systemd, a package's service was started: end those that were not there before.
if [ -d /run/systemd/system ]; then
    for package in $fresh; do
        systemctl disable --quiet --now "${package%-[0-9]*}.service" 2>/dev/null || true
    done
fi
