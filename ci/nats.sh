#!/usr/bin/env bash
# Lints the bridge to NATS, tests it against a real server, and runs its example. If the server is missing, the script
# installs it, which needs root.
set -euo pipefail
cd "$(dirname "$0")/.."

if ! PATH="$PATH:/usr/sbin:/usr/local/sbin" command -v nats-server > /dev/null; then
    if [ "$(id -u)" = 0 ]; then
        apt-get update -q
        apt-get install -qy nats-server
    else
        echo 'nats-server is not installed; run: sudo apt-get install -y nats-server' >&2
        exit 1
    fi
fi

packages=(-p sharing-bus-nats -p sharing-bus-nats-test-server)
cargo clippy "${packages[@]}" --all-targets -- -D warnings
cargo test --quiet "${packages[@]}"
RUSTDOCFLAGS='-D warnings' cargo doc --no-deps --document-private-items "${packages[@]}"
cargo run --release --quiet -p sharing-bus-nats --example two_hosts 2> /dev/null
