#!/usr/bin/env bash
# Fails if a test file sleeps without synctest. The fake clock of synctest makes a
# sleep exact and takes no time. The end-to-end tests and benchmarks wait for real
# processes, so this script skips them.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
found=$(git grep -l 'time\.Sleep(' -- '*_test.go' ':!test/e2e' ':!bench' | xargs -r grep -L 'testing/synctest' || true)
if [ -n "$found" ]; then
	printf 'sleeps outside synctest:\n%s\n' "$found" >&2
	exit 1
fi
