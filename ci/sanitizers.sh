#!/usr/bin/env bash
# Runs the tests under AddressSanitizer with leak detection, and the soak test under ThreadSanitizer. Needs a nightly
# toolchain. The standard library is not rebuilt, so the sanitizers do not observe its memory accesses. ThreadSanitizer
# therefore reports some false races, which ci/thread-sanitizer.supp lists and explains.
set -euo pipefail
cd "$(dirname "$0")/.."
source ci/test-files.sh
host=$(rustc -vV | sed -n 's/^host: //p')
target=$(realpath -m "${CARGO_TARGET_DIR:-target}")/sanitizers
sanitized() {
    RUSTFLAGS="-Zsanitizer=$1 -Cunsafe-allow-abi-mismatch=sanitizer" CARGO_TARGET_DIR="$target/$1" \
        cargo +nightly test --target "$host" "${@:2}"
}

# AddressSanitizer has its own allocator, reserves terabytes of address space, and reports every leak. The tests that
# conflict with this are excluded.
tests=$(test_files process allocator leaks soak)
# shellcheck disable=SC2086 # One argument per word.
sanitized address --all-features --lib $tests

export TSAN_OPTIONS="suppressions=$PWD/ci/thread-sanitizer.supp"
sanitized thread --test soak -- --seconds 30
