#!/usr/bin/env bash
# Builds and tests the crate with the declared minimum Rust version. Uses rustup's toolchain of that version if it is
# installed. Otherwise, the script uses the compiler of Debian 13 in a chroot, which needs root, debootstrap and 1 GB of
# disk.
set -euo pipefail
cd "$(dirname "$0")/.."
msrv=$(sed -n 's/^rust-version = "\(.*\)"$/\1/p' Cargo.toml)
tests=(test --locked --lib --test reference)

if rustup run "$msrv" rustc --version 2>/dev/null; then
    exec rustup run "$msrv" cargo "${tests[@]}" --target-dir target/msrv
fi

root=$(mktemp -d)
trap 'rm -rf "$root"' EXIT
debootstrap --variant=minbase --include=gcc,libc6-dev,rustc,cargo,ca-certificates trixie "$root" >"$root.log"
chroot "$root" rustc --version | grep -F "rustc $msrv."
cargo fetch --locked
mkdir -p "$root/crate" "$root/root/.cargo"
git ls-files -z | xargs -0 cp --parents -t "$root/crate"
cp -r "${CARGO_HOME:-$HOME/.cargo}/registry" "$root/root/.cargo/"
chroot "$root" env HOME=/root sh -c 'cd /crate && exec cargo "$@" --offline' sh "${tests[@]}"
