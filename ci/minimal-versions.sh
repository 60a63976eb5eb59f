#!/usr/bin/env bash
# Builds and tests the crate with the lowest version of each direct dependency that Cargo.toml allows. Needs a nightly
# toolchain to resolve these versions.
set -euo pipefail
cd "$(dirname "$0")/.."
copy=$(mktemp -d)
trap 'rm -rf "$copy"' EXIT
git ls-files -z | xargs -0 cp --parents -t "$copy"
CARGO_TARGET_DIR="$(realpath -m "${CARGO_TARGET_DIR:-target}")/minimal-versions"
export CARGO_TARGET_DIR
cd "$copy"
rm Cargo.lock
cargo +nightly generate-lockfile -Z direct-minimal-versions
cargo test --lib --tests
# Checks the optional dependencies without the dev-dependencies, which could raise their versions.
cargo check --lib --all-features
