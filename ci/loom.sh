#!/usr/bin/env bash
# Runs the loom models over the shipped sources. First come the contract of the loom stand-ins and the models of single
# modules, which explore every execution. Then come the models of the whole bus, each at the bound that it states.
# LOOM_MAX_PREEMPTIONS=N overrides all bounds. Arguments go to cargo test for the models of the whole bus.
set -euo pipefail
cd "$(dirname "$0")/.."
export RUSTFLAGS="--cfg sharing_bus_loom" CARGO_TARGET_DIR="${CARGO_TARGET_DIR:-target}/loom"
cargo test --release --lib -- --test-threads=1 sync::contract models::
cargo test --release -p sharing-bus-loom-tests "$@" -- --nocapture --test-threads=1
