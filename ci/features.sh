#!/usr/bin/env bash
# Lints and tests each optional feature alone and all together, and builds the documentation as docs.rs does. Features are
# read from Cargo.toml; what is run for each is the library's tests and every test file that names it.
set -euo pipefail
cd "$(dirname "$0")/.."

features=$(sed -n '/^\[features\]/,/^\[/s/^\([a-z][a-z0-9_-]*\) = .*/\1/p' Cargo.toml | grep -vx default)

for feature in $features; do
    echo "-- $feature"
    tests=$(grep -l "feature = \"$feature\"" tests/*.rs | sed 's|tests/\(.*\)\.rs|--test=\1|') ||
        { echo "no file in tests/ names the feature $feature"; exit 1; }
    # The library alone first: with the tests come dependencies whose own features could hide that one is missing.
    cargo clippy --lib --features "$feature" -- -D warnings
    # shellcheck disable=SC2086 # Several words.
    cargo test --quiet --lib $tests --features "$feature"
done

echo '-- all'
cargo clippy --all-targets --all-features -- -D warnings
# User code of all sorts runs where recorders and tracing subscribers do, so with them goes what tests its boundary.
# shellcheck disable=SC2046 # Several words.
cargo test --quiet --all-features --lib --test=panics --test=assisted $(grep -l 'feature = "' tests/*.rs | sed 's|tests/\(.*\)\.rs|--test=\1|')
cargo test --quiet --all-features --doc
RUSTDOCFLAGS='-D warnings' cargo doc --all-features --no-deps --document-private-items
