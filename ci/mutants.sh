#!/usr/bin/env bash
# Changes the sources in one place at a time, and requires that a test fails for each change. There are about 1,500
# changes. Each takes about five seconds on two cores. Arguments go to cargo-mutants: `--shard 0/8` tests a part of the
# changes, `--file src/queue/producer.rs` those of one file.
#
# Building the tests takes most of the time. The first pass therefore builds only the few tests that detect the most
# changes. The second pass repeats the changes that survived the first pass, with all tests. A test that hangs counts as
# failed.
set -euo pipefail
cd "$(dirname "$0")/.."
source ci/test-files.sh
command -v cargo-mutants >/dev/null || cargo install --locked cargo-mutants
# Small builds are faster without debug information.
export CARGO_PROFILE_DEV_DEBUG=0 CARGO_INCREMENTAL=1 PROPTEST_CASES=64
output=target/mutants
rm -rf "$output" && mkdir -p target

quick=(--lib --test=closing --test=late_binding --test=model --test=overflow)
all=$(test_files process soak)
# shellcheck disable=SC2206 # One argument per word.
all=(--lib $all)

# Exit code 2: some changes survived. Exit code 3: some tests hung.
cargo mutants --all-features --output "$output" --minimum-test-timeout 10 "${quick[@]/#/--cargo-arg=}" "$@" ||
    [[ $? == [23] ]]
cat "$output/mutants.out/timeout.txt" >>"$output/mutants.out/caught.txt"
cargo mutants --all-features --output "$output" --iterate --timeout 60 "${all[@]/#/--cargo-arg=}" "$@"
