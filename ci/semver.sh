#!/usr/bin/env bash
# Compares the public API with that of another revision. cargo-semver-checks reports the version change that a release
# needs. The argument is the other revision. The default is the revision that set the current version.
set -euo pipefail
cd "$(dirname "$0")/.."
command -v cargo-semver-checks >/dev/null || cargo install --locked cargo-semver-checks
cargo semver-checks --baseline-rev "${1:-$(git log -1 --format=%H -G'^version = ' -- Cargo.toml)}"
