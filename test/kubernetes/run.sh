#!/usr/bin/env bash
# Deploys the manifests of deploy/, and an app that embeds the agent, to the cluster of
# KUBECONFIG. It rotates the Secret there while senders send: no request may be refused,
# and no retired or revoked token may be accepted. It creates namespaces named
# tokenagent-e2e-... and deletes them at the end (KEEP=1 keeps them).
#
#   LOAD_IMAGE   a command that loads an image onto the nodes; it gets the archive
#                as its last argument, as in 'kind load image-archive'
#   BUSYBOX      a static busybox for the nodes' architecture, loaded in the same
#                way; without it the nodes pull busybox
#   IMAGE_ARCH   the nodes' architecture (GOARCH)
#   ROUNDS       rotations of each overlay (default 3)
#   KUBELET_ROTATIONS   how often the kubelet replaces projected tokens in the case
#                service-accounts: 8 to 10 minutes each (default 1)
#   ROTATE_SIGNING_KEY  a command that gives the API server a second signing key (add),
#                and makes it sign with that key (sign); without it that is skipped
#   DAPR_...     see dapr.sh
#   NUDGE        0 does not trigger the kubelet: each step then takes up to 90 s
#
# Arguments name the cases: dry-run converge quick-start reapply port socket
# host-network ext-authz realms sidecar dapr-sidecar embedded service-accounts rotate-run.
# These are the default. One more, dapr, takes an hour, and needs DNS and a service network.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
. test/kubernetes/lib.sh
. test/kubernetes/cases.sh
. test/kubernetes/accounts.sh
. test/kubernetes/rotation.sh
. test/kubernetes/dapr.sh

[ $# -gt 0 ] || set -- dry-run converge quick-start reapply port socket host-network ext-authz realms sidecar dapr-sidecar embedded service-accounts rotate-run
build
for name in "$@"; do
	say "$name"
	ns=tokenagent-e2e-$name
	forget "$ns"
	"case_${name//-/_}"
	say "$name: good"
	[ -n "${KEEP:-}" ] || kubectl delete namespace "$ns" --ignore-not-found --wait=false >/dev/null
done
say "all good: $*"
