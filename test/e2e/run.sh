#!/bin/sh
# Run the end-to-end tests: get redis-server, nginx, caddy, Node and Python, build
# daprd and Traefik once, test.
# Arguments go to `go test`, as in: ./run.sh -run TestRevocation
set -eu
cd "$(dirname "$0")"

say() { echo "e2e: $*" >&2; }

missing=""
for program in redis-server nginx caddy python3; do
	command -v "$program" >/dev/null 2>&1 || missing="$missing $program" # the packages have the same names
done
command -v node >/dev/null 2>&1 || missing="$missing nodejs"
if [ -n "$missing" ]; then
	if [ "$(id -u)" -ne 0 ] || ! command -v apt-get >/dev/null 2>&1; then
		say "missing:$missing; install them (Debian and Ubuntu: apt-get install$missing)"
		exit 1
	fi
	say "installing$missing"
	# The tests start their own: in runlevel 1 the packages start no service.
	export RUNLEVEL=1 DEBIAN_FRONTEND=noninteractive
	# shellcheck disable=SC2086 # a list
	apt-get install -y -q --no-install-recommends $missing >&2 || {
		apt-get update -q >&2
		apt-get install -y -q --no-install-recommends $missing >&2
	}
fi

./daprd/build.sh >/dev/null
./traefik/build.sh >/dev/null

# Two apps at a time: each has a daprd, a broker and traffic of its own.
say "running the tests: about five minutes"
exec go test -v -count=1 -parallel 2 -timeout 15m "$@" .
