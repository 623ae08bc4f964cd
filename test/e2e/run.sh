#!/bin/sh
# Run the end-to-end tests: get redis-server, build daprd once, test.
# Arguments go to `go test`, as in: ./run.sh -run TestRevocation
set -eu
cd "$(dirname "$0")"

say() { echo "e2e: $*" >&2; }

if ! command -v redis-server >/dev/null 2>&1; then
	if [ "$(id -u)" -ne 0 ] || ! command -v apt-get >/dev/null 2>&1; then
		say "redis-server is missing; install it (Debian and Ubuntu: apt-get install redis-server)"
		exit 1
	fi
	say "installing redis-server"
	# The tests start their own: in runlevel 1 the package starts no service.
	export RUNLEVEL=1 DEBIAN_FRONTEND=noninteractive
	apt-get install -y -q --no-install-recommends redis-server >&2 || {
		apt-get update -q >&2
		apt-get install -y -q --no-install-recommends redis-server >&2
	}
fi

./daprd/build.sh >/dev/null

# Two apps at a time: each has a daprd, a broker and traffic of its own.
say "running the tests: about three minutes"
exec go test -v -count=1 -parallel 2 -timeout 8m "$@" .
