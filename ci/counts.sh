#!/usr/bin/env bash
# Counts the instructions of publishing, matching, delivering and receiving with callgrind. Fails if a count differs
# from the one in benches/results/counts.md by more than 5 %. With --update, writes that file instead. A new compiler or
# C library can require an update. Installs valgrind if it is missing. If valgrind cannot be installed, the script
# prints a message and passes.
set -euo pipefail
cd "$(dirname "$0")/.."
expected=benches/results/counts.md
tolerance=5

if ! command -v valgrind >/dev/null; then
    { command -v apt-get && apt-get install -y valgrind libc6-dbg; } >/dev/null 2>&1 || true
    if ! command -v valgrind >/dev/null; then
        echo "valgrind is not installed and cannot be installed: no instructions were counted."
        exit 0
    fi
fi
version=$(sed -n 's/^gungraun = { version = "=\([^"]*\)".*/\1/p' benches/Cargo.toml)
target="${CARGO_TARGET_DIR:-target}"
tools="$target/tools"
if [ "$("$tools/bin/gungraun-runner" --version 2>/dev/null)" != "gungraun-runner $version" ]; then
    # Without CARGO_TARGET_DIR, cargo install builds in a temporary directory and removes it.
    env -u CARGO_TARGET_DIR cargo install --quiet --locked --force --root "$tools" gungraun-runner --version "$version"
fi

counted=$(mktemp)
trap 'rm -f "$counted"' EXIT
{
    echo "Instructions, by callgrind; $(rustc --version | cut -d' ' -f1-2), $(uname -m)."
    printf '\n| step | instructions |\n|---|---:|\n'
    PATH="$PWD/$tools/bin:$tools/bin:$PATH" GUNGRAUN_COLOR=never \
        cargo bench --quiet -p sharing-bus-benches --features counts --bench counts |
        awk '/^counts::/ { sub(/^counts::steps::/, ""); sub(/:\(.*/, ""); step = $0 }
             /^ *Instructions:/ { split($2, count, "|"); print "| " step " | " count[1] " |" }'
} >"$counted"

if [ "${1:-}" = --update ]; then
    cp "$counted" "$expected"
    exit
fi
# Prints each step with its count and its expected count. Fails if a count has changed, or a step is missing or new.
awk -F ' *[|] *' -v tolerance="$tolerance" '
    $3 !~ /^[0-9]+$/ { next }
    FNR == NR { expected[$2] = $3; next }
    {
        change = $2 in expected ? 100 * ($3 / expected[$2] - 1) : 0
        known = $2 in expected
        bad = !known || change > tolerance || change < -tolerance
        printf "%s %-42s %10d, was %10s (%+.1f %%)\n", bad ? "CHANGED" : "same   ", $2, $3,
            known ? expected[$2] : "unknown", change
        failed += bad
        delete expected[$2]
    }
    END {
        for (step in expected) { print "MISSING " step; failed++ }
        if (failed) { print "If the change is intended, run: ci/counts.sh --update"; exit 1 }
    }' "$expected" "$counted"
