#!/usr/bin/env bash
# Runs the examples in release mode, and fails if one of them fails. tests/mux.rs and tests/hosts.rs check their output.
set -euo pipefail
cd "$(dirname "$0")/.."
archive=$(mktemp -d)
trap 'rm -rf "$archive"' EXIT
cargo run --release --quiet --example mux -- --quiet --archive "$archive"
for host in sync_host tokio_host smol_host; do
    printf '\n%s\n' "$host"
    cargo run --release --quiet --example "$host"
done
