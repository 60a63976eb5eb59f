#!/usr/bin/env bash
# Line coverage of the shipped rooms by the tests, at least nine lines in ten; about two minutes. The rest is mostly
# planted bugs, which no plain build has. Needs cargo-tarpaulin. Arguments go to it (`--out Html`).
set -euo pipefail
cd "$(dirname "$0")/.."
command -v cargo-tarpaulin >/dev/null || cargo install --locked cargo-tarpaulin
tests=(bad_input closing faults late_binding model ordering overflow panics reaping reference routing runtimes stats stress
    warnings)
cargo tarpaulin --engine llvm --target-dir target/coverage --fail-under 90 --lib "${tests[@]/#/--test=}" \
    --exclude-files 'src/sync/*' --exclude-files 'src/planted.rs' --exclude-files 'tests/*' \
    --exclude-files 'examples/*' --exclude-files 'loom-tests/*' --exclude-files 'benches/*' --out Stdout "$@"
