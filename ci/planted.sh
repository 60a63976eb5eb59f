#!/usr/bin/env bash
# Applies one planted bug at a time to a scratch copy of the sources, and checks that the loom models of this bug fail.
# A model that passes on broken code proves nothing. Arguments are the names of the bugs to check, by default all of
# them.
#
# Each bug is a patch in loom-tests/planted/. The first lines of the patch name the models that must fail, each followed
# by the message of its failure:
#   Model: TEST-FILE MODEL    (a test file of loom-tests/tests/, or `lib` for a model inside the crate)
#   Message: TEXT             (a part of the output of the failing model)
set -euo pipefail
cd "$(dirname "$0")/.."
target=$(mkdir -p "${CARGO_TARGET_DIR:-target}/loom" && cd "${CARGO_TARGET_DIR:-target}/loom" && pwd)
export RUSTFLAGS="--cfg sharing_bus_loom" CARGO_TARGET_DIR="$target"
patches=$PWD/loom-tests/planted

copy="$target/planted-copy"
rm -rf "$copy"
mkdir -p "$copy"
git ls-files -z | xargs -0 cp --parents -t "$copy"
# The copy is a separate repository, so that `git apply` resolves the paths of the patches relative to the copy.
git -C "$copy" init --quiet
cd "$copy"

failed=0
fail() {
    echo "FAILED  $1"
    failed=1
}

# Runs one model on the patched sources. The model must fail, and its output must contain the message.
check_model() {
    local bug=$1 file=$2 model=$3 message=$4 output
    local package=(-p sharing-bus-loom-tests --test "$file")
    [ "$file" != lib ] || package=(-p sharing-bus --lib)
    if ! output=$(cargo test --quiet --release "${package[@]}" --no-run 2>&1); then
        fail "$bug: the patched sources do not compile"
        echo "$output"
    elif ! cargo test --quiet --release "${package[@]}" -- --exact --list "$model" 2>/dev/null | grep -q ': test$'; then
        fail "$bug: $file has no model $model"
    elif output=$(cargo test --quiet --release "${package[@]}" -- --exact "$model" 2>&1); then
        fail "$bug: $model passes"
    elif ! grep -qF -- "$message" <<<"$output"; then
        fail "$bug: $model fails, but its output does not contain '$message':"
        echo "$output"
    else
        echo "caught  $bug by $model"
    fi
}

check_bug() {
    local bug=$1 patch="$patches/$1.patch" key value file='' model='' models=0
    if ! git apply "$patch"; then
        fail "$bug: the patch does not apply"
        return
    fi
    # Read through a descriptor of its own, so that no command in the loop can consume the rest of the patch.
    while read -r key value <&3; do
        case "$key" in
        Model:) read -r file model <<<"$value" ;;
        Message:)
            check_model "$bug" "$file" "$model" "$value"
            models=$((models + 1))
            ;;
        '') break ;;
        esac
    done 3<"$patch"
    [ "$models" -gt 0 ] || fail "$bug: the head of the patch names no model"
    git apply --reverse "$patch"
}

if [ $# -eq 0 ]; then
    for patch in "$patches"/*.patch; do
        set -- "$@" "$(basename "$patch" .patch)"
    done
fi
for bug in "$@"; do
    check_bug "$bug"
done
rm -rf "$copy"
exit "$failed"
