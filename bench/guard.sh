#!/bin/sh
# Counts instructions and allocations, and compares them with guard.json. Passes its
# arguments, such as -write, to cmd/guard. Installs valgrind from the distribution's
# packages if it is missing.
set -eu
cd "$(dirname "$0")"

if [ "$(uname -sm)" != "Linux x86_64" ]; then
	echo "guard: guard.json has the instructions of Linux on x86_64; counting only allocations" >&2
	set -- -allocations "$@"
elif ! command -v valgrind >/dev/null 2>&1; then
	if [ "$(id -u)" -ne 0 ] || ! command -v apt-get >/dev/null 2>&1; then
		echo "guard: valgrind is missing; install it (Debian and Ubuntu: apt-get install valgrind)" >&2
		exit 1
	fi
	export DEBIAN_FRONTEND=noninteractive
	apt-get install -y -q --no-install-recommends valgrind >&2 || {
		apt-get update -q >&2
		apt-get install -y -q --no-install-recommends valgrind >&2
	}
fi

dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
"${GO:-go}" build -o "$dir/guard" ./cmd/guard
"$dir/guard" "$@"
