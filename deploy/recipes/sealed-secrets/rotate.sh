#!/bin/sh
# One step of a rotation of a Secret that a Git repository keeps as a SealedSecret.
#   rotate.sh stage > new.yaml && mv new.yaml app-token.yaml
#   rotate.sh promote --overlap 24h > new.yaml && mv new.yaml app-token.yaml
# Commit the file. If a command fails, the next one gets nothing, and kubeseal fails too.
set -eu
kubectl -n "${NAMESPACE:-shop}" get secret "${SECRET:-app-token}" -o json |
	tokenagent rotate "$@" |
	kubeseal --format yaml ${CERT:+--cert "$CERT"}
