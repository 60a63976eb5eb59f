#!/usr/bin/env bash
# Runs the loom models of the shipped sources. The first command runs the contract tests of the stand-ins and the models
# of single modules, which explore every execution. The second command runs the models of the whole bus, each with its
# own preemption bound. LOOM_MAX_PREEMPTIONS=N overrides all bounds. Arguments go to the second command.
set -euo pipefail
cd "$(dirname "$0")/.."
export RUSTFLAGS="--cfg sharing_bus_loom" CARGO_TARGET_DIR="${CARGO_TARGET_DIR:-target}/loom"
cargo test --release --lib -- --test-threads=1 sync::contract models::
cargo test --release -p sharing-bus-loom-tests "$@" -- --nocapture --test-threads=1
