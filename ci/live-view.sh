#!/usr/bin/env bash
# Tests the live view and its event sources: the server over plain connections, and the page in a headless Chromium. If
# Chromium is missing, the script tries to install it, which needs root and apt-get. If that fails, the browser tests
# are skipped. Screenshots go to target/live-view/.
set -euo pipefail
cd "$(dirname "$0")/.."

cargo test -p live-view -p sharing-bus-example-sessions

chromium() {
    command -v "${CHROMIUM:-chromium}" || command -v chromium-browser || command -v google-chrome
}

if ! chromium >/dev/null && command -v apt-get >/dev/null && [ "$(id -u)" = 0 ]; then
    (apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq chromium) >/dev/null 2>&1 || true
fi
if ! CHROMIUM=$(chromium); then
    echo 'Chromium is not installed and cannot be installed. The browser tests were skipped.'
    exit 0
fi
export CHROMIUM
# Runs at most two tests at a time, because each test starts its own browser.
cargo test -p live-view --test browser -- --ignored --test-threads 2
