#!/usr/bin/env bash
# Compares the public API with public-api.txt. With --bless, writes that file instead. Needs a nightly toolchain, and
# installs cargo-public-api if it is missing.
set -euo pipefail
cd "$(dirname "$0")/.."
if ! cargo +nightly --version >/dev/null 2>&1; then
    echo 'No nightly toolchain is installed. Run: rustup toolchain install nightly --profile minimal' >&2
    exit 1
fi
command -v cargo-public-api >/dev/null || cargo install --locked cargo-public-api

listing=$(mktemp)
log=$(mktemp)
trap 'rm -f "$listing" "$log"' EXIT
if ! cargo +nightly public-api --simplified >"$listing" 2>"$log" || [ ! -s "$listing" ]; then
    cat "$log" >&2
    echo 'cargo public-api printed no listing. public-api.txt is unchanged.' >&2
    exit 1
fi
if [ "${1:-}" = --bless ]; then
    cat "$listing" >public-api.txt
else
    diff -u public-api.txt "$listing"
fi
