#!/usr/bin/env bash
# Runs the examples as a user would.
set -euo pipefail
cd "$(dirname "$0")/.."
archive=$(mktemp -d)
trap 'rm -rf "$archive"' EXIT
cargo run --release --quiet --example mux -- --quiet --archive "$archive"
