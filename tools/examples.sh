#!/usr/bin/env bash
# Builds every directory of examples/ that has Go code, in its own module if it has
# one. It deletes the programs afterwards.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
go=${GO:-go}
out=$(mktemp -d)
trap 'rm -rf "$out"' EXIT
built=0

for dir in examples/*/; do
	[ -n "$(find "$dir" -name '*.go' -print -quit)" ] || continue
	echo "building $dir"
	if [ -f "$dir/go.mod" ]; then
		$go build -C "$dir" -o "$out/" ./...
	else
		$go build -o "$out/" "./$dir..."
	fi
	built=$((built + 1))
done

if [ "$built" = 0 ]; then
	echo 'examples: none found' >&2
	exit 1
fi
echo "examples: $built built"
