#!/usr/bin/env bash
# Measures the line coverage of the shipped sources by the tests, and requires at least 90 %. Installs cargo-tarpaulin
# if it is missing. Arguments go to cargo-tarpaulin: `--out Html` writes a report.
set -euo pipefail
cd "$(dirname "$0")/.."
source ci/test-files.sh
command -v cargo-tarpaulin >/dev/null || cargo install --locked cargo-tarpaulin
tests=$(test_files process soak)
# The excluded files of src/ contain the loom stand-ins, their contract tests, and loom models.
# shellcheck disable=SC2086 # One argument per word.
cargo tarpaulin --engine llvm --target-dir target/coverage --fail-under 90 --all-features --lib $tests \
    --exclude-files 'src/sync/model*' --exclude-files 'src/sync/contract.rs' --exclude-files '*/models.rs' \
    --exclude-files 'tests/*' --exclude-files 'examples/*' --exclude-files 'loom-tests/*' --exclude-files 'benches/*' \
    --exclude-files 'nats/*' --out Stdout "$@"
