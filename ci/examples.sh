#!/usr/bin/env bash
# Runs the examples as a user would.
set -euo pipefail
cd "$(dirname "$0")/.."
cargo run --release --quiet --example mux -- --quiet
