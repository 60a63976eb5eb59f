#!/usr/bin/env bash
# Checks the scripts of ci/. Each script must have valid syntax. Each file of ci/ must be named by .ci/run, by a workflow,
# or by a script that they run. Each file that they name must exist. Runs shellcheck too, if it is installed.
set -euo pipefail
cd "$(dirname "$0")/.."

roots=(.ci/run .github/workflows/*.yml)
failed=0

# Prints the files of ci/ that the given file names outside of comments.
named_in() {
    grep -v '^ *#' "$1" | grep -o '\bci/[a-z0-9-]*\.[a-z]*' || true
}

# Follows the names, starting at the roots.
declare -A reached=()
pending=("${roots[@]}")
while [ ${#pending[@]} -gt 0 ]; do
    file=${pending[0]}
    pending=("${pending[@]:1}")
    for name in $(named_in "$file"); do
        [ -z "${reached[$name]:-}" ] || continue
        reached[$name]=1
        if [ -f "$name" ]; then
            pending+=("$name")
        else
            echo "$file names $name, which does not exist."
            failed=1
        fi
    done
done

for file in ci/*; do
    if [ -z "${reached[$file]:-}" ]; then
        echo "$file is run by neither .ci/run, nor a workflow, nor a script that they run."
        failed=1
    fi
done

for script in .ci/run ci/*.sh; do
    bash -n "$script" || failed=1
done
if command -v shellcheck >/dev/null; then
    shellcheck .ci/run ci/*.sh || failed=1
fi
exit "$failed"
