#!/usr/bin/env bash
# Writes deploy/prometheus/prometheusrule.yaml, for the Prometheus Operator, from the
# rule file in the same directory. With `check` it changes nothing, and fails if
#   - the manifest is out of date,
#   - an alert has no heading in docs/runbook.md, does not link to it, or has no
#     severity, summary, description or test that it fires,
#   - a heading of docs/runbook.md has the form of an alert's name but names no alert.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
dir=deploy/prometheus
rules=$dir/tokenagent.rules.yaml
manifest=$dir/prometheusrule.yaml
runbook=docs/runbook.md
link=https://github.com/tokenagent/tokenagent/blob/main/$runbook
failed=0

complain() {
	echo "rules: $*" >&2
	failed=1
}

made() {
	cat <<-END
		# Made from tokenagent.rules.yaml by tools/rules.sh: change that file. If your
		# Prometheus selects rules by a label, add the label by kustomize.
		apiVersion: monitoring.coreos.com/v1
		kind: PrometheusRule
		metadata:
		  name: tokenagent
		  labels:
		    app.kubernetes.io/name: tokenagent
		spec:
	END
	sed -n '/^groups:/,$p' "$rules" | sed -e 's/^./  &/'
}

case ${1:-} in
'')
	made >"$manifest.new"
	mv "$manifest.new" "$manifest"
	;;
check)
	made | cmp -s - "$manifest" || complain "$manifest differs from $rules; run bash tools/rules.sh"
	;;
*)
	echo "usage: tools/rules.sh [check]" >&2
	exit 2
	;;
esac

# block ALERT: prints the lines of the alert in the rule file.
block() { awk -v is="- alert: $1" '/^ *- (alert|record|name): / { on = index($0, is) && substr($0, index($0, is)) == is } on' "$rules"; }

alerts=$(sed -n 's/^ *- alert: //p' "$rules")
headings=$(sed -n 's/^##* \(Tokenagent[A-Za-z]*\)$/\1/p' "$runbook")
[ -z "$(sort <<<"$alerts" | uniq -d)" ] || complain "two alerts have the same name"
for alert in $alerts; do
	text=$(block "$alert")
	grep -qx "$alert" <<<"$headings" || complain "$alert has no entry in $runbook; add the heading '## $alert'"
	grep -qxF "          runbook_url: $link#${alert,,}" <<<"$text" || complain "$alert does not link to $link#${alert,,}"
	for key in 'severity: \(critical\|warning\|info\)$' 'summary: .' 'description: .'; do
		grep -q "^          $key" <<<"$text" || complain "$alert has no ${key%%:*}"
	done
	grep -qF "runbook.md#${alert,,}" "$dir"/*.test.yaml || complain "$alert fires in no test of $dir"
	grep -q "alertname: $alert }" "$dir"/*.test.yaml || complain "no test of $dir sees $alert stay quiet"
done
for heading in $headings; do
	grep -qx "$heading" <<<"$alerts" || complain "$runbook has an entry for $heading, but there is no such alert"
done
[ "$failed" = 0 ] && echo "rules: $(wc -w <<<"$alerts") alerts, each with a runbook entry and tests"
exit "$failed"
