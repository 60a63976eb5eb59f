#!/usr/bin/env bash
# Lints the code that only the loom build compiles: the stand-ins and the models.
set -euo pipefail
cd "$(dirname "$0")/.."
export RUSTFLAGS="--cfg sharing_bus_loom" CARGO_TARGET_DIR="${CARGO_TARGET_DIR:-target}/loom"
cargo clippy --release --lib -- -D warnings
cargo clippy --release -p sharing-bus-loom-tests --all-targets -- -D warnings
