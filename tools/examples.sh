#!/usr/bin/env bash
# Builds every directory of examples/ that has Go code and belongs to the main module. It
# deletes the programs afterwards. `make test-modules` builds and tests the others.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
go=${GO:-go}
out=$(mktemp -d)
trap 'rm -rf "$out"' EXIT
built=0

for dir in examples/*/; do
	[ -n "$(find "$dir" -name '*.go' -print -quit)" ] && [ ! -f "$dir/go.mod" ] || continue
	echo "building $dir"
	$go build -o "$out/" "./$dir..."
	built=$((built + 1))
done

if [ "$built" = 0 ]; then
	echo 'examples: none found' >&2
	exit 1
fi
echo "examples: $built built"
