#!/usr/bin/env bash
# Runs the tests with assisted dispatch on every bus that does not set the mode explicitly. The guarantees must not
# depend on the thread that dispatches. Arguments go to cargo test.
set -euo pipefail
cd "$(dirname "$0")/.."
export CARGO_TARGET_DIR="${CARGO_TARGET_DIR:-target}/assisted"
mkdir -p "$CARGO_TARGET_DIR"
wrapper="$CARGO_TARGET_DIR/wrapper"
case "$wrapper" in /*) ;; *) wrapper="$PWD/$wrapper" ;; esac
# The wrapper adds the flag only to the crates of the workspace.
printf '#!/bin/sh\nexec "$@" --cfg sharing_bus_assisted\n' >"$wrapper"
chmod +x "$wrapper"
RUSTC_WORKSPACE_WRAPPER="$wrapper" cargo test --lib --tests "$@"
