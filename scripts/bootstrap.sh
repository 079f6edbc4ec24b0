#!/bin/sh
# Make .venv and install the package into it. Usage: bootstrap.sh demo|dev|bench
#
# A second run with the same pyproject.toml and Python does nothing.
set -eu
cd "$(dirname "$0")/.."

profile=${1:?usage: bootstrap.sh demo|dev|bench}
venv_python=.venv/bin/python
export PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_INPUT=1

fail() {
    echo "bootstrap: $*" >&2
    exit 1
}

find_python() {
    for name in ${PYTHON:-python3 python3.14 python3.13 python3.12 python3.11}; do
        if "$name" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
            command -v "$name"
            return
        fi
    done
    fail "no Python 3.11 or later found (set PYTHON=/path/to/python)"
}

make_venv() {
    python=$(find_python)
    # Debian ships the venv module without what it needs, in a package of its own.
    if ! "$python" -c 'import ensurepip, venv' 2>/dev/null; then
        package=$("$python" -c 'import sys; print("python%d.%d-venv" % sys.version_info[:2])')
        if [ "$(id -u)" -eq 0 ] && command -v apt-get >/dev/null; then
            scripts/apt_install.sh "$package"
        else
            fail "$python cannot make virtual environments; run: apt-get install $package"
        fi
    fi
    "$python" -m venv --clear .venv
}

"$venv_python" -c '' 2>/dev/null || make_venv

stamp_of() {
    { cat pyproject.toml; "$venv_python" -VV; echo "$1"; } | sha256sum | cut -d' ' -f1
}

is_installed() {
    [ "$(cat ".venv/stamp-$1" 2>/dev/null)" = "$(stamp_of "$1")" ]
}

# Each profile holds what the one before it does: demo, dev, bench.
case $profile in
    demo) enough="demo dev bench" ;;
    dev) enough="dev bench" ;;
    *) enough=$profile ;;
esac
for made in $enough; do
    if is_installed "$made"; then
        exit 0
    fi
done

echo "bootstrap: installing into .venv ($profile)"
"$venv_python" -m pip install --quiet --upgrade 'pip>=25.1'  # the first with --group
case $profile in
    demo) "$venv_python" -m pip install --quiet --editable '.[demo]' ;;
    dev) "$venv_python" -m pip install --quiet --editable '.[all]' \
            --group test --group browser --group hosts --group lint ;;
    bench) "$venv_python" -m pip install --quiet --editable '.[all]' \
            --group test --group browser --group hosts --group lint --group bench ;;
    *) fail "unknown profile $profile" ;;
esac
stamp_of "$profile" >".venv/stamp-$profile"
