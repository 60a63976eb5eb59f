#!/usr/bin/env bash
# The tests under AddressSanitizer with leak detection, and the soak under ThreadSanitizer; about four minutes. Needs a
# nightly toolchain. The standard library is not rebuilt, so what happens inside it goes unseen: for ThreadSanitizer
# that makes some of it look like races, which ci/thread-sanitizer.supp lists and explains.
set -euo pipefail
cd "$(dirname "$0")/.."
host=$(rustc -vV | sed -n 's/^host: //p')
target=$(realpath -m "${CARGO_TARGET_DIR:-target}")/sanitizers
sanitized() {
    RUSTFLAGS="-Zsanitizer=$1 -Cunsafe-allow-abi-mismatch=sanitizer" CARGO_TARGET_DIR="$target/$1" \
        cargo +nightly test --target "$host" "${@:2}"
}

# Not among them: what runs cargo or other processes (mux, hosts, package), and what brings its own allocator (memory).
sanitized address --lib --test bad_input --test closing --test late_binding --test model --test ordering \
    --test overflow --test panics --test reaping --test reference --test routing --test runtimes --test stats \
    --test stress --test warnings

export TSAN_OPTIONS="suppressions=$PWD/ci/thread-sanitizer.supp"
sanitized thread --test soak -- --seconds 30
