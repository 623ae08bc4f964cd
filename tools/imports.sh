#!/usr/bin/env bash
# Fails if a package links, directly or through its imports, a package that it must
# not. depguard (.golangci.yml) sees only the import lines of one file.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
go=${GO:-go}
module=$($go list -m)
failed=0

# links_not PACKAGE PATTERN: fails if a dependency of PACKAGE matches PATTERN.
links_not() {
	local deps found
	deps=$($go list -deps "./$1")
	if found=$(grep -Ex "$2" <<<"$deps"); then
		printf '%s must not link:\n%s\n' "$1" "$found" >&2
		failed=1
	fi
}

http='net/http(/.*)?'
grpc='google\.golang\.org/grpc(/.*)?'
prometheus='github\.com/prometheus/.*'
own="$module/(agent|cmd|deploy|examples)(/.*)?"

links_not pkg/reload "$http|$grpc|$prometheus|$own|$module/pkg/verify(/.*)?|$module/internal/(rotation|token|jwt)(/.*)?"
links_not internal/rotation "net(/.*)?|$grpc|$prometheus|$own|$module/pkg/.*|$module/internal/(token|jwt)(/.*)?"
links_not pkg/verify "$http|$grpc|$prometheus|$own|$module/pkg/reload|$module/internal/(token|jwt)(/.*)?"
links_not internal/token "$http|$grpc|$prometheus|$own|$module/internal/jwt(/.*)?"
links_not internal/jwt "$http|$grpc|$prometheus|$own"
links_not internal/clientfiles "$grpc|$prometheus|$own|$module/pkg/verify(/.*)?|$module/internal/(rotation|token|jwt)(/.*)?"
links_not internal/jwt/jwks "$grpc|$prometheus|$own"
links_not pkg/verify/httpauth "$grpc|$prometheus|$own"
links_not pkg/verify/grpcauth "$prometheus|$own"
links_not agent "$grpc|$module/(cmd|deploy|examples)(/.*)?"

[ "$failed" = 0 ] && echo 'imports: every package links only what it may'
exit "$failed"
