#!/usr/bin/env bash
# Compares the public API with public-api.txt; with --bless, writes it. Needs a nightly toolchain and cargo-public-api.
set -euo pipefail
cd "$(dirname "$0")/.."
command -v cargo-public-api >/dev/null || cargo install --locked cargo-public-api
listing() { cargo +nightly public-api --simplified 2>/dev/null; }
if [ "${1:-}" = --bless ]; then
    listing >public-api.txt
else
    diff -u public-api.txt <(listing)
fi
