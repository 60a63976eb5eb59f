#!/usr/bin/env bash
# Compares the public API with a revision's by cargo-semver-checks, which tells what a release must bump. Without an
# argument: the revision that set the present version.
set -euo pipefail
cd "$(dirname "$0")/.."
command -v cargo-semver-checks >/dev/null || cargo install --locked cargo-semver-checks
cargo semver-checks --baseline-rev "${1:-$(git log -1 --format=%H -G'^version = ' -- Cargo.toml)}"
