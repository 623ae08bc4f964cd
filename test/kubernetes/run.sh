#!/usr/bin/env bash
# Runs what is in deploy/, and an app with the agent in its own process, on a real
# cluster and rotates the Secret there, while senders send: nothing may be refused,
# and nothing accepted that was retired or revoked. The cluster is that of KUBECONFIG. It gets some namespaces called
# tokenagent-e2e-..., which are gone at the end (KEEP=1 keeps them).
#
#   LOAD_IMAGE   a command that brings an image to the nodes: it gets the archive
#                as its last argument, as in 'kind load image-archive'
#   BUSYBOX      a static busybox for the nodes' architecture, to be loaded in
#                the same way; without it the nodes pull busybox
#   IMAGE_ARCH   the nodes' architecture, as Go calls it
#   ROUNDS       rotations of each overlay, 3 unless set
#   NUDGE        0 leaves the kubelet its own pace: up to 90 s for each step
#
# Arguments name the cases: dry-run converge quick-start reapply port socket
# host-network ext-authz realms sidecar dapr-sidecar embedded.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
. test/kubernetes/lib.sh
. test/kubernetes/cases.sh

[ $# -gt 0 ] || set -- dry-run converge quick-start reapply port socket host-network ext-authz realms sidecar dapr-sidecar embedded
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
