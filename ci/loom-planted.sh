#!/usr/bin/env bash
# Plants one bug after the other in the loom build and demands that its model catches it. A model that passes over
# broken code proves nothing. With arguments, only the bugs of those names.
set -euo pipefail
cd "$(dirname "$0")/.."
export RUSTFLAGS="--cfg sharing_bus_loom" CARGO_TARGET_DIR="${CARGO_TARGET_DIR:-target}/loom"

# bug, test file of loom-tests/ (or lib: a model inside the crate), model, what the model must say of it
bugs='
unlocked_writers    subscribers  subscribe_races_reap                          panicked at loom-tests/tests
unlocked_writers    subscribers  two_subscribes_race                           panicked at loom-tests/tests
unlocked_writers    subscribers  two_subscribes_race_a_reap                    panicked at loom-tests/tests
list_per_batch      subscribers  a_subscribe_races_a_batch                     panicked at loom-tests/tests
upkeep_taken_late   subscribers  drops_race_the_upkeep                         exceeded maximum number of branches
upkeep_by_load      subscribers  a_drop_races_the_end_of_a_batch               exceeded maximum number of branches
closed_twice        unsubscribe  unsubscribe_races_dispatch_and_receiver_drop  panicked at loom-tests/tests
bind_before_send    binding      registration_races_follow_ups                 panicked at loom-tests/tests
bind_before_send    binding      two_registrations_race_an_event               panicked at loom-tests/tests
bind_after_send     binding      registration_races_a_reaction                 panicked at loom-tests/tests
backlog_late        history      a_late_joiner_races_publish                   a gap or a duplicate
backlog_unasked     history      a_backlog_races_its_receiver                  deadlock
unlocked_forget     binding      forget_session_races_a_registration           panicked at loom-tests/tests
room_by_load        conflation   receive_races_pending_events                  deadlock
room_asked_last     conflation   receive_races_pending_events                  deadlock
room_asked_last     lib          queue::models::room_races_what_waits          nobody tells of the room
pending_forgotten   conflation   close_races_pending_events                    an accepted event was neither delivered nor merged
missed_by_counter   lib          queue::models::push_races_pop_dropping_oldest panicked at src/queue/models.rs
missed_by_counter   overflow     drop_newest_races_receive                     panicked at loom-tests/tests
missed_by_counter   overflow     drop_oldest_races_receive                     panicked at loom-tests/tests
relaxed_received    lib          queue::models::push_races_pop_dropping_newest panicked at src/queue/models.rs
relaxed_delivered   lib          queue::models::push_races_len                 queued, 0 received
relaxed_give_up     lib          lot::models::handles_race_the_last            the value goes while it is in use
relaxed_last        lib          lot::models::handles_race_the_last            the value goes while it is in use
no_recheck          lib          queue::models::push_races_poll                the wake-up is lost
no_recheck          waking       recv_races_publish                            deadlock
no_recheck          waking       recv_async_races_publish                      deadlock
no_recheck          waking       recv_races_close                              deadlock
no_recheck          waking       recv_races_unsubscribe                        deadlock
no_recheck          waking       waker_replaced_between_polls                  panicked at loom-tests/tests
no_wake_on_close    waking       recv_races_close                              deadlock
no_wake_on_close    waking       recv_races_unsubscribe                        deadlock
notify_by_load      lib          wait::models::notify_races_a_waiter           the wake-up is lost
notify_by_load      lib          wait::models::set_races_a_thread_that_waits   deadlock
turn_not_passed_on  lib          wait::models::notify_races_a_waiter_that_gives_up  the turn is lost
turn_not_passed_on  waking       canceled_publish_async_races_its_wake_up      deadlock
relaxed_latch       lib          wait::models::set_races_a_thread_that_waits   panicked at src/wait.rs
relaxed_latch       waking       flush_sees_dispatched_events                  panicked at loom-tests/tests
relaxed_close       closing      close_races_publish                           panicked at loom-tests/tests
no_second_look      closing      close_races_publish                           panicked at loom-tests/tests
end_when_empty      closing      close_races_publish                           panicked at loom-tests/tests
released_by_load    assisted     two_publishers_race                           deadlock
looked_late         assisted     two_publishers_race                           deadlock
put_late            assisted     two_publishers_race                           deadlock
left_late           assisted     flush_in_a_filter_does_not_block              deadlock
close_swallowed     assisted     close_races_an_assisting_publisher            deadlock
relaxed_ask         assisted     two_publishers_race                           deadlock
taken_out_unseen    interest     set_filter_races_publish_with                 an event that both filters match was skipped
taken_out_unseen    interest     set_filter_to_all_races_publish_with          an event that both filters match was skipped
announced_late      interest     set_filter_races_publish_with                 an event that both filters match was skipped
relaxed_withdrawals interest     set_filter_races_publish_with                 an event that both filters match was skipped
relaxed_count       interest     set_filter_races_publish_with                 an event that both filters match was skipped
relaxed_count       lib          census::models::a_look_races_a_removal        taken out unseen
swapped_in_early    lib          census::models::a_look_races_a_change_of_table a key that stays was missed
relaxed_counts      interest     set_filter_to_all_races_publish_with          an event that both filters match was skipped
counted_out_first   interest     skipped_event_implies_the_new_filter_applies  the next event met the old filter
counted_in_late     interest     listed_subscriber_counts_as_interested        the event of a listed subscriber was skipped
counted_unlocked    interest     subscribes_race_a_drop                        panicked at loom-tests/tests
closed_unseen       interest     close_races_publish_with                      the event was neither delivered nor returned
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
    case "$file" in lib) target=(-p sharing-bus --lib) ;; *) target=(-p sharing-bus-loom-tests --test "$file") ;; esac
    run() { RUSTC_WORKSPACE_WRAPPER="$wrapper" cargo test --quiet --release "${target[@]}" "$@"; }
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
