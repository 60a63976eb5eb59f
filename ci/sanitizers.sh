#!/usr/bin/env bash
# AddressSanitizer and LeakSanitizer over the library's tests, on a nightly toolchain (about five minutes). The standard
# library is not rebuilt, so what happens inside it goes unseen; ThreadSanitizer would take std's own fences for races
# (the last reference of an `Arc`, the locks inside crossbeam) and is left to loom.
set -euo pipefail
cd "$(dirname "$0")/.."
target=$(rustc -vV | sed -n 's/^host: //p')
export CARGO_TARGET_DIR="${CARGO_TARGET_DIR:-target}/sanitizers"
tests=(--lib --test bad_input --test closing --test late_binding --test model --test ordering --test overflow
    --test panics --test reaping --test reference --test routing --test runtimes --test stats --test stress --test warnings)

echo 'AddressSanitizer, with leak detection'
RUSTFLAGS="-Zsanitizer=address -Cunsafe-allow-abi-mismatch=sanitizer" ASAN_OPTIONS=detect_leaks=1 \
    cargo +nightly test --no-fail-fast --target "$target" "${tests[@]}" "$@"
