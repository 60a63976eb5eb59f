#!/usr/bin/env bash
# Tests the live view: the server over plain connections, and the page in a headless Chromium, which it gets from Debian
# where there is none and it may (as root). Screenshots go to target/live-view/.
set -euo pipefail
cd "$(dirname "$0")/.."

cargo test -p live-view

chromium() {
    command -v "${CHROMIUM:-chromium}" || command -v chromium-browser || command -v google-chrome
}

if ! chromium >/dev/null && command -v apt-get >/dev/null && [ "$(id -u)" = 0 ]; then
    (apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq chromium) >/dev/null 2>&1 || true
fi
if ! CHROMIUM=$(chromium); then
    echo 'No Chromium here, and none to be had: the tests in a browser were left out.'
    exit 0
fi
export CHROMIUM
# Two at a time: each test has a browser of its own.
cargo test -p live-view --test browser -- --ignored --test-threads 2
