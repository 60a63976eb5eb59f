#!/usr/bin/env bash
# Profiles one row of the comparison in its steady state. Prints the busiest functions by thread and draws a flame graph.
#
#     benches/profile.sh '64, all match' sharing-bus Tasks          # workload, contender, table
#     benches/profile.sh '64, all match' 'bare rtrb rings' Polled   # the lower bound
#
# Writes perf.data and flame.svg to target/profile/. Needs perf, but only its software clock. Installs inferno.
set -euo pipefail
cd "$(dirname "$0")/.."
workload=${1:-64, all match} contender=${2:-sharing-bus} table=${3:-Tasks}
target="${CARGO_TARGET_DIR:-target}"
tools="$target/tools"
out="$target/profile"
mkdir -p "$out"
[ -x "$tools/bin/inferno-flamegraph" ] ||
    env -u CARGO_TARGET_DIR cargo install --quiet --locked --root "$tools" inferno

bench=$(cargo bench -p sharing-bus-benches --bench compare --no-run 2>&1 | sed -n 's/.*Executable.*(\(.*\))/\1/p')
perf record -q -e cpu-clock -F 1999 --call-graph dwarf,4096 -o "$out/perf.data" \
    "$bench" --bench --only "$table" --workload "$workload" --contender "$contender" --rounds 9
perf report -i "$out/perf.data" --no-children --sort comm,sym -g none 2>/dev/null | awk '!/^#|^$/ && ++lines <= 30'
perf script -i "$out/perf.data" 2>/dev/null | "$tools/bin/inferno-collapse-perf" |
    "$tools/bin/inferno-flamegraph" --title "$contender: $workload" --minwidth 0.2 >"$out/flame.svg"
echo "$out/flame.svg"
