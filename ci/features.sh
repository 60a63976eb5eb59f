#!/usr/bin/env bash
# Lints and tests the crate with each optional feature alone, lints it with all features, and builds the documentation
# as docs.rs does. `cargo test --all-features` tests all features together.
#
# The features are read from Cargo.toml. For each feature, the unit tests run, and the test files that name the feature.
set -euo pipefail
cd "$(dirname "$0")/.."

features=$(sed -n '/^\[features\]/,/^\[/s/^\([a-z][a-z0-9_-]*\) = .*/\1/p' Cargo.toml | grep -vx default)

for feature in $features; do
    echo "-- $feature"
    tests=$(grep -l "feature = \"$feature\"" tests/*.rs | sed 's|tests/\(.*\)\.rs|--test=\1|') ||
        { echo "No file in tests/ names the feature $feature." >&2; exit 1; }
    # Lints the library without the tests, because the dev-dependencies could enable parts of a dependency that this
    # feature must enable itself.
    cargo clippy --lib --features "$feature" -- -D warnings
    # shellcheck disable=SC2086 # One argument per word.
    cargo test --quiet --lib $tests --features "$feature"
done

echo '-- all features'
cargo clippy --all-targets --all-features -- -D warnings
RUSTDOCFLAGS='-D warnings' cargo doc --all-features --no-deps --document-private-items
