#!/usr/bin/env bash
# Plants one bug after the other in the loom build and demands that its model catches it. A model that passes over
# broken code proves nothing. With arguments, only the bugs of those names.
set -euo pipefail
cd "$(dirname "$0")/.."
export RUSTFLAGS="--cfg sharing_bus_loom" CARGO_TARGET_DIR="${CARGO_TARGET_DIR:-target}/loom"

# bug, test file, model, what the model must say of it
bugs='
unlocked_writers    subscribers  subscribe_races_reap                          panicked at loom-tests/tests
unlocked_writers    subscribers  two_subscribes_race                           panicked at loom-tests/tests
upkeep_taken_late   subscribers  drops_race_the_upkeep                         exceeded maximum number of branches
closed_twice        unsubscribe  unsubscribe_races_dispatch_and_receiver_drop  panicked at loom-tests/tests
bind_before_send    binding      registration_races_follow_ups                 panicked at loom-tests/tests
bind_after_send     binding      registration_races_a_reaction                 panicked at loom-tests/tests
no_recheck          waking       recv_races_publish                            deadlock
no_recheck          waking       recv_async_races_publish                      deadlock
no_recheck          waking       recv_races_close                              deadlock
no_recheck          waking       recv_races_unsubscribe                        deadlock
relaxed_close       closing      close_races_publish                           panicked at loom-tests/tests
end_when_empty      closing      close_races_publish                           panicked at loom-tests/tests
'

wrappers="$CARGO_TARGET_DIR/planted"
mkdir -p "$wrappers"
missed=0
while read -r bug file model message; do
    [ -n "$bug" ] || continue
    [ $# -eq 0 ] || [[ " $* " == *" $bug "* ]] || continue
    # A wrapper of its own per bug: the workspace's crates are built anew for each, their dependencies are not.
    wrapper="$PWD/$wrappers/$bug"
    case "$wrappers" in /*) wrapper="$wrappers/$bug" ;; esac
    printf '#!/bin/sh\nexec "$@" --cfg '\''sharing_bus_planted="%s"'\''\n' "$bug" >"$wrapper"
    chmod +x "$wrapper"
    run() { RUSTC_WORKSPACE_WRAPPER="$wrapper" cargo test --quiet --release -p sharing-bus-loom-tests --test "$file" "$@"; }
    run --no-run 2>/dev/null
    if output=$(run -- --exact "$model" 2>&1); then
        echo "MISSED  $bug: $model passes"
        missed=1
    elif ! grep -q "$message" <<<"$output"; then
        echo "MISSED  $bug: $model fails, but not with '$message':"
        echo "$output"
        missed=1
    else
        echo "caught  $bug by $model"
    fi
done <<<"$bugs"
exit "$missed"
