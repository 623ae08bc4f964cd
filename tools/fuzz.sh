#!/usr/bin/env bash
# Runs every fuzz test of the module for FUZZTIME each. They are found by
# asking the test binaries, so that a new one is never left out.
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

while read -r package name; do
	echo "fuzz: $name in $package for $fuzztime"
	$go test -run '^$' -fuzz "^$name\$" -fuzztime "$fuzztime" "$package" </dev/null
done <<<"$found"
echo "fuzz: $(wc -l <<<"$found") fuzz tests ran for $fuzztime each"
