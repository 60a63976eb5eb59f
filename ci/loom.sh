#!/usr/bin/env bash
# Runs the loom models over the shipped sources, and the contract of the stand-ins that they run on.
# LOOM_MAX_PREEMPTIONS=N runs every model at that bound instead of its own. Arguments go to cargo test.
set -euo pipefail
cd "$(dirname "$0")/.."
export RUSTFLAGS="--cfg sharing_bus_loom" CARGO_TARGET_DIR="${CARGO_TARGET_DIR:-target}/loom"
cargo test --release --lib sync::contract -- --test-threads=1
cargo test --release -p sharing-bus-loom-tests "$@" -- --nocapture --test-threads=1
