#!/usr/bin/env bash
# Checks the licenses, duplicates, sources and advisories of the library's dependencies with cargo-deny, by the rules in
# deny.toml. The check of advisories downloads a database. With ADVISORIES=optional, that check may fail, for example
# because the download is impossible.
set -euo pipefail
cd "$(dirname "$0")/.."
command -v cargo-deny >/dev/null || cargo install --locked cargo-deny
cargo deny check bans licenses sources
cargo deny check advisories || [ "${ADVISORIES:-required}" = optional ]
