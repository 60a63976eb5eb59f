#!/usr/bin/env bash
# Licenses, duplicates and sources of the library's dependencies by cargo-deny, and their advisories if the database
# can be fetched: ADVISORIES=optional where it cannot.
set -euo pipefail
cd "$(dirname "$0")/.."
command -v cargo-deny >/dev/null || cargo install --locked cargo-deny
cargo deny check bans licenses sources
cargo deny check advisories || [ "${ADVISORIES:-required}" = optional ]
