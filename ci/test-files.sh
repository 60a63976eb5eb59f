# shellcheck shell=bash
# Sourced by the checks that run most, but not all, files of tests/. The list of files is read from tests/*.rs, so that
# a new file takes part in every check. Each group below names the files that some checks leave out.

# They build examples or run cargo in child processes, which the check does not observe.
# shellcheck disable=SC2034 # Read by name in test_files.
test_files_process=(hosts mux package)
# They install a global allocator that counts live bytes.
# shellcheck disable=SC2034
test_files_allocator=(memory)
# They limit their address space, or leak memory on purpose.
# shellcheck disable=SC2034
test_files_leaks=(faults)
# They have no test harness, and tests/stress.rs runs the same scenarios.
# shellcheck disable=SC2034
test_files_soak=(soak)

# Prints `--test=NAME` for each file of tests/, except for the files of the groups given as arguments.
test_files() {
    local group name
    local -A excluded=()
    for group in "$@"; do
        local -n names="test_files_$group"
        for name in "${names[@]}"; do
            # A renamed file must not drop out of the group unnoticed.
            [ -f "tests/$name.rs" ] || { echo "ci/test-files.sh: there is no tests/$name.rs" >&2; return 1; }
            excluded[$name]=1
        done
    done
    for name in tests/*.rs; do
        name=$(basename "$name" .rs)
        [ -n "${excluded[$name]:-}" ] || echo "--test=$name"
    done
}
