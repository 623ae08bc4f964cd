#!/bin/sh
# Builds a program of Dapr from the Go module proxy once, into a cache outside the
# repository. Prints the path of the binary on standard output, and the progress on
# standard error.
#
#   build.sh [VERSION [PROGRAM]]     default: daprd, in the newest version of ./versions
#
# PROGRAM is a program of Dapr: daprd, sentry, operator, injector, placement or scheduler.
#
# dapr's go.mod has replace directives, which `go install` refuses. This script therefore
# builds a scratch module that repeats the requirements of dapr's go.mod under another
# name, and requires dapr itself. For daprd, it has copies of two of its packages:
# its main function, unchanged, and the list of its components, with only those that the
# tests use. With all components, many of which need a cloud's client library, the build
# would take four times as long.
set -eu

version=${1:-$(tail -n 1 "$(dirname "$0")/versions")}
program=${2:-daprd}
module=github.com/dapr/dapr
components="pubsub_redis bindings_cron nameresolution_kubernetes state_redis"
cache=${XDG_CACHE_HOME:-$HOME/.cache}/tokenagent-e2e/$program-$version
binary=$cache/$program
# A daprd with other components is another program.
[ "$program" != daprd ] || binary=$cache/$(echo "$components" | cksum | cut -d' ' -f1)/daprd

say() { echo "$program: $*" >&2; }

if [ -x "$binary" ]; then
	say "using $binary"
	echo "$binary"
	exit 0
fi

mkdir -p "$(dirname "$binary")"
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

say "downloading $module v$version"
export GOFLAGS=-mod=mod GOWORK=off
dapr=$(go mod download -json "$module@v$version" | sed -n 's/^[[:space:]]*"Dir": "\(.*\)",*$/\1/p')
if [ ! -f "$dapr/go.mod" ]; then
	say "no go.mod came with $module v$version"
	exit 1
fi
sed "s|^module .*|module dapr.scratch|" "$dapr/go.mod" >go.mod
go mod edit -require="$module@v$version"
package=$module/cmd/$program
if [ "$program" = daprd ]; then
	package=.
	mkdir app components
	for file in main.go app/app.go; do
		sed "s#\"$module/cmd/daprd/\(app\|components\)\"#\"dapr.scratch/\1\"#" "$dapr/cmd/daprd/$file" >"$file"
	done
	for component in $components; do
		cat "$dapr/cmd/daprd/components/$component.go" >"components/$component.go"
	done
fi

say "building with -p 1; a cold build takes several minutes"
started=$(date +%s)
# The files of the components have this build tag.
nice -n 15 go build -p 1 -buildvcs=false -tags stablecomponents -o "$binary.part" "$package" &
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
