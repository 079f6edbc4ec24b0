#!/bin/sh
# Run every linter, and say at the end whether one complained.
set -eu
cd "$(dirname "$0")/.."

status=0
.venv/bin/ruff check . || status=1
.venv/bin/ruff format --check . || status=1
.venv/bin/mypy || status=1
exit $status
