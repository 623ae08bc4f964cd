#!/bin/sh
# Runs the end-to-end tests. It installs redis-server, nginx, caddy, Node and Python, and
# builds daprd and Traefik once. It runs all tests with the newest daprd of
# daprd/versions. With each older daprd it tests what a release of daprd can change: the
# header and metadata that daprd sends, what it does with a refusal, and a rotation under
# load. It passes its arguments to `go test`, as in: ./run.sh -run TestRevocation
#
#   DAPR=1.16.5   runs all tests with this version of daprd only
set -eu
cd "$(dirname "$0")"

# The tests that run with an older daprd.
older_daprd='^Test(Control|Rotation|RefusedMessages|Revocation)$'

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

newest=${DAPR:-$(tail -n 1 daprd/versions)}
older=""
[ -n "${DAPR:-}" ] || older=$(sed '$d' daprd/versions)
for version in $older "$newest"; do
	./daprd/build.sh "$version" >/dev/null
done
./traefik/build.sh >/dev/null

# run VERSION ARGUMENTS...: two apps at a time, each with a daprd, a broker and
# traffic of its own.
run() {
	version=$1
	shift
	say "testing with daprd $version: about five minutes"
	DAPR=$version go test -v -count=1 -parallel 2 -timeout 15m "$@" .
}

run "$newest" "$@"
for version in $older; do
	run "$version" -run "$older_daprd" "$@"
done
