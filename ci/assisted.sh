#!/usr/bin/env bash
# Runs the tests with every bus an assisted one unless it says otherwise: no promise may depend on who dispatches.
set -euo pipefail
cd "$(dirname "$0")/.."
export CARGO_TARGET_DIR="${CARGO_TARGET_DIR:-target}/assisted"
mkdir -p "$CARGO_TARGET_DIR"
wrapper="$CARGO_TARGET_DIR/wrapper"
case "$wrapper" in /*) ;; *) wrapper="$PWD/$wrapper" ;; esac
# A wrapper of the workspace's crates, so that their dependencies are built as ever.
printf '#!/bin/sh\nexec "$@" --cfg sharing_bus_assisted\n' >"$wrapper"
chmod +x "$wrapper"
RUSTC_WORKSPACE_WRAPPER="$wrapper" cargo test --lib --tests "$@"
