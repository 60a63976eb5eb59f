#!/usr/bin/env bash
# Runs the loom models over the shipped sources: first, in every execution there is, the contract of the stand-ins that
# they run on and the models of single rooms; then those of the whole bus, each at the bound that it states.
# LOOM_MAX_PREEMPTIONS=N sets the bound of all. Arguments go to cargo test for the latter.
set -euo pipefail
cd "$(dirname "$0")/.."
export RUSTFLAGS="--cfg sharing_bus_loom" CARGO_TARGET_DIR="${CARGO_TARGET_DIR:-target}/loom"
cargo test --release --lib -- --test-threads=1 sync::contract models::
cargo test --release -p sharing-bus-loom-tests "$@" -- --nocapture --test-threads=1
