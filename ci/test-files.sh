# shellcheck shell=bash
# The checks that run most files of tests/ source this file. It lists all files of tests/, so that each check includes
# new files by default. Each group below names the files that some checks exclude.

# These files build examples or run cargo in child processes, which the check does not observe.
# shellcheck disable=SC2034 # Read by name in test_files.
test_files_process=(hosts mux package)
# This file installs a global allocator that counts live bytes.
# shellcheck disable=SC2034
test_files_allocator=(memory)
# This file limits its address space and leaks memory on purpose.
# shellcheck disable=SC2034
test_files_leaks=(faults)
# This file has no test harness, and tests/stress.rs runs the same scenarios.
# shellcheck disable=SC2034
test_files_soak=(soak)

# Prints `--test=NAME` for each file of tests/, except for the files of the groups given as arguments.
test_files() {
    local group name
    local -A excluded=()
    for group in "$@"; do
        local -n names="test_files_$group"
        for name in "${names[@]}"; do
            # Reports a file that was renamed or removed.
            [ -f "tests/$name.rs" ] || { echo "ci/test-files.sh: there is no tests/$name.rs" >&2; return 1; }
            excluded[$name]=1
        done
    done
    for name in tests/*.rs; do
        name=$(basename "$name" .rs)
        [ -n "${excluded[$name]:-}" ] || echo "--test=$name"
    done
}
