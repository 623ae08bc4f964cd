#!/bin/sh
# Tests the rules and the dashboard: with promtool's unit tests, and against agents
# that a real Prometheus scrapes. Installs prometheus from the distribution's packages.
set -eu
cd "$(dirname "$0")"

say() { echo "ops: $*" >&2; }

for tool in prometheus promtool; do
	command -v "$tool" >/dev/null 2>&1 && continue
	if [ "$(id -u)" -ne 0 ] || ! command -v apt-get >/dev/null 2>&1; then
		say "$tool is missing; install it (Debian and Ubuntu: apt-get install prometheus)"
		exit 1
	fi
	say "installing prometheus"
	# The test starts its own: in runlevel 1 the package starts no service.
	export RUNLEVEL=1 DEBIAN_FRONTEND=noninteractive
	apt-get install -y -q --no-install-recommends prometheus >&2 || {
		apt-get update -q >&2
		apt-get install -y -q --no-install-recommends prometheus >&2
	}
done
for tool in python3 openssl; do
	command -v "$tool" >/dev/null 2>&1 && continue
	say "$tool is missing; install it (Debian and Ubuntu: apt-get install $tool)"
	exit 1
done

rules=../../deploy/prometheus
promtool check rules "$rules/tokenagent.rules.yaml"
promtool test rules "$rules"/*.test.yaml

dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
"${GO:-go}" build -o "$dir/tokenagent" ../../cmd/tokenagent
python3 live.py "$dir" "$rules/tokenagent.rules.yaml" ../../deploy/grafana/tokenagent.json
