#!/usr/bin/env bash
# Counts what the public packages export (functions, methods, types, constants and
# variables, as `go doc -all` shows them) and fails above the limit of 130: an
# embedder should be able to read all of it in an hour.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
go=${GO:-go}
limit=130
total=0
for package in pkg/reload pkg/verify pkg/verify/httpauth pkg/verify/grpcauth agent; do
	# Each constant or variable of a group is on its own line, after one tab.
	count=$($go doc -all "./$package" | awk '
		/^(const|var) \($/ { group = 1; next }
		/^\)$/ { group = 0 }
		group && /^\t[A-Z]/ { n++ }
		/^(func|type|const [A-Z]|var [A-Z])/ { n++ }
		END { print n + 0 }')
	printf 'surface: %-20s %d\n' "$package" "$count"
	total=$((total + count))
done
echo "surface: $total of $limit"
[ "$total" -le "$limit" ] || { echo 'surface: too much is exported' >&2; exit 1; }
