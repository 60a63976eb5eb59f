#!/usr/bin/env bash
# Builds and tests with the lowest versions that Cargo.toml admits of every direct dependency; about two minutes. Needs a
# nightly toolchain to choose them.
set -euo pipefail
cd "$(dirname "$0")/.."
copy=$(mktemp -d)
trap 'rm -rf "$copy"' EXIT
git ls-files -z | xargs -0 cp --parents -t "$copy"
export CARGO_TARGET_DIR="$(realpath -m "${CARGO_TARGET_DIR:-target}")/minimal-versions"
cd "$copy"
rm Cargo.lock
cargo +nightly generate-lockfile -Z direct-minimal-versions
cargo test --lib --tests
# The optional ones too, without those of the tests, whose own needs could raise them.
cargo check --lib --all-features
