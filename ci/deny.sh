#!/usr/bin/env bash
# Checks the licenses, duplicates, sources and advisories of the library's dependencies with cargo-deny. The check of
# advisories downloads a database. Set ADVISORIES=optional where that download is impossible.
set -euo pipefail
cd "$(dirname "$0")/.."
command -v cargo-deny >/dev/null || cargo install --locked cargo-deny
cargo deny check bans licenses sources
cargo deny check advisories || [ "${ADVISORIES:-required}" = optional ]
