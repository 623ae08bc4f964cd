#!/bin/sh
# Builds Traefik from the Go module proxy once, into a cache outside the repository. Prints
# the path of the binary on standard output, and the progress on standard error.
#
# Traefik's go.mod has replace directives, which `go install` refuses. This script
# therefore builds a scratch module that repeats Traefik's go.mod under another name, and
# requires Traefik itself. It leaves out the DNS providers with which lego proves the
# ownership of a domain to an ACME server: they need over a hundred cloud SDKs, and no
# request uses them.
set -eu

# The newest version whose replaced modules the module proxy still has.
version=3.6.12
module=github.com/traefik/traefik/v3
lego=github.com/go-acme/lego/v4
cache=${XDG_CACHE_HOME:-$HOME/.cache}/tokenagent-e2e/traefik-$version
binary=$cache/traefik

say() { echo "traefik: $*" >&2; }

if [ -x "$binary" ]; then
	say "using $binary"
	echo "$binary"
	exit 0
fi

mkdir -p "$cache"
# One build at a time: a second caller waits for the first one's binary.
exec 9>"$cache/lock"
flock 9
if [ -x "$binary" ]; then
	echo "$binary"
	exit 0
fi

scratch=$cache/src
rm -rf "$scratch"
mkdir "$scratch"
cd "$scratch"

export GOFLAGS=-mod=mod GOWORK=off CGO_ENABLED=0
# what FIELD MODULE@VERSION: prints a field of the output of `go mod download`.
what() { go mod download -json "$2" | sed -n 's/^[[:space:]]*"'"$1"'": "\(.*\)",*$/\1/p'; }

say "downloading $module v$version"
source=$(what Dir "$module@v$version")
if [ ! -f "$source/go.mod" ]; then
	say "no go.mod came with $module v$version"
	exit 1
fi
sed 's|^module .*|module traefik.scratch|' "$source/go.mod" >go.mod
cp "$source/go.sum" go.sum
chmod u+w go.mod go.sum
go mod edit -require="$module@v$version"

cp -r "$(what Dir "$lego@$(awk -v m="$lego" '$1 == m { print $2 }' go.mod)")" lego
chmod -R u+w lego
find lego/providers/dns -mindepth 1 -maxdepth 1 -type d -exec rm -rf {} +
cat >lego/providers/dns/zz_gen_dns_providers.go <<-G
	package dns

	import (
		"errors"

		"$lego/challenge"
	)

	func NewDNSChallengeProviderByName(string) (challenge.Provider, error) {
		return nil, errors.New("built without DNS providers")
	}
G
go mod edit -replace="$lego=./lego"

say "building with -p 2; a cold build takes several minutes and about 1 GB of module cache"
started=$(date +%s)
nice -n 10 go build -p 2 -buildvcs=false -ldflags '-s -w' -o "$binary.part" "$module/cmd/traefik" &
build=$!
while kill -0 "$build" 2>/dev/null; do
	sleep 1
	elapsed=$(($(date +%s) - started))
	[ $((elapsed % 30)) -ne 0 ] || say "still building, ${elapsed}s"
done
wait "$build"
mv "$binary.part" "$binary"
rm -rf "$scratch"
say "built $binary in $(($(date +%s) - started))s"
echo "$binary"
