#!/usr/bin/env bash
# Changes the sources in one place after the other and demands that a test notices; some hours on two cores. Arguments go
# to cargo-mutants: `--shard 0/8` for a part, `--file src/queue.rs` for a room.
set -euo pipefail
cd "$(dirname "$0")/.."
command -v cargo-mutants >/dev/null || cargo install --locked cargo-mutants
# Without debug information the many small builds are faster.
CARGO_PROFILE_DEV_DEBUG=0 PROPTEST_CASES=64 cargo mutants --output target/mutants "$@"
