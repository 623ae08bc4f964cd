#!/usr/bin/env bash
# Fails if one of the eight promises (CONTRIBUTING.md) has no test with its name,
# TestP1_... to TestP8_...
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
tests=$(git grep -hoE '^func TestP[1-8]_[A-Za-z0-9_]+\(t' -- '*_test.go' | sed 's/^func //')
failed=0
for n in 1 2 3 4 5 6 7 8; do
	count=$(grep -c "^TestP${n}_" <<<"$tests" || true)
	echo "promise $n: $count tests"
	[ "$count" -gt 0 ] || failed=1
done
if [ "$failed" = 1 ]; then
	echo 'a promise has no test' >&2
fi
exit "$failed"
