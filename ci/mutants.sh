#!/usr/bin/env bash
# Changes the sources in one place after the other and demands that a test notices; an hour on two cores. Arguments go
# to cargo-mutants: `--shard 0/8` for a part, `--file src/queue.rs` for a room.
#
# Two passes, since building every test for every change takes most of the time: the first with the few tests that
# notice most, the second with all of them, over what the first let live. A test that hangs has noticed.
set -euo pipefail
cd "$(dirname "$0")/.."
command -v cargo-mutants >/dev/null || cargo install --locked cargo-mutants
# Without debug information the many small builds are faster.
export CARGO_PROFILE_DEV_DEBUG=0 CARGO_INCREMENTAL=1 PROPTEST_CASES=64
output=target/mutants
rm -rf "$output" && mkdir -p target
# 2: some lived; 3: some hung.
cargo mutants --config ci/mutants-quick.toml --output "$output" --minimum-test-timeout 10 "$@" || [ $? -le 3 ]
cat "$output/mutants.out/timeout.txt" >>"$output/mutants.out/caught.txt"
cargo mutants --output "$output" --iterate --timeout 60 "$@"
