#!/usr/bin/env bash
# Runs each fuzz test of the module for FUZZTIME. It asks the test binaries for their
# names, so that a new fuzz test is never left out.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
go=${GO:-go}
fuzztime=${FUZZTIME:-20s}

# go test -list prints a package's matching names, then its "ok" line.
list=$($go test -list '^Fuzz' ./...)
found=$(awk '/^Fuzz/ { names[++n] = $1 }
	$1 == "ok" { for (i = 1; i <= n; i++) print $2, names[i]; n = 0 }' <<<"$list")
if [ -z "$found" ]; then
	echo 'fuzz: no fuzz test found' >&2
	exit 1
fi

log=$(mktemp)
trap 'rm -f "$log"' EXIT

# only_late: succeeds if the end of the fuzzing time is the only error in the log. Go before
# 1.27 sometimes reports the end of -fuzztime as a failure (golang/go#75804). For an input
# that fails, the log has more lines.
only_late() {
	[ "$(sed -n '/^--- FAIL:/,/^FAIL$/p' "$log" | sed -e 1d -e '$d')" = '    context deadline exceeded' ]
}

while read -r package name; do
	echo "fuzz: $name in $package for $fuzztime"
	if ! $go test -run '^$' -fuzz "^$name\$" -fuzztime "$fuzztime" -fuzzminimizetime 5x "$package" </dev/null 2>&1 | tee "$log"; then
		only_late || exit 1
		echo "fuzz: $name found nothing; the failure above is golang/go#75804"
	fi
done <<<"$found"
echo "fuzz: $(wc -l <<<"$found") fuzz tests ran for $fuzztime each"
