#!/bin/sh
# Runs the tests of the admin port's page in headless Chromium. It passes its arguments
# to node, as in: ./run.sh --test-name-pattern countdown
# `./run.sh pictures` makes the pictures in docs/ instead.
set -eu
cd "$(dirname "$0")"

say() { echo "page: $*" >&2; }

CHROMIUM=${CHROMIUM:-/usr/bin/chromium}
export CHROMIUM
if ! [ -x "$CHROMIUM" ]; then
	if [ "$(id -u)" -ne 0 ] || ! command -v apt-get >/dev/null 2>&1; then
		say "$CHROMIUM is missing; install it (Debian: apt-get install chromium) or say where it is with CHROMIUM"
		exit 1
	fi
	say "installing chromium"
	export DEBIAN_FRONTEND=noninteractive
	install() { apt-get install -y -q --no-install-recommends chromium fonts-dejavu-core >&2; }
	install || { apt-get update -q >&2 && install; }
fi
if ! command -v node >/dev/null 2>&1; then
	say "node is missing; install Node.js 20 or newer"
	exit 1
fi

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
say "building tokenagent"
CGO_ENABLED=0 ${GO:-go} build -C ../.. -trimpath -o "$work/tokenagent" ./cmd/tokenagent
export TOKENAGENT="$work/tokenagent"

if [ "${1:-}" = pictures ]; then
	node pictures.mjs ../../docs
else
	node --test --test-concurrency=1 --test-reporter=spec "$@" ./*.test.mjs
fi
