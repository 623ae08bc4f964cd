# The cases of run.sh. It is sourced after lib.sh.
# shellcheck shell=bash disable=SC2034,SC2154

# case_dry_run lets the API server validate every directory of deploy/; unknown fields
# are errors. It skips the kinds of operators that the cluster does not know.
case_dry_run() {
	local folder warnings
	kubectl create namespace "$ns" >/dev/null
	for folder in deploy/daemonset/overlays/*/ deploy/sidecar/*/ deploy/rotation/; do
		folder=${folder#deploy/}
		wrap "${folder%/}" </dev/null
		components
		warnings=$(kubectl kustomize "$work/$ns" | kubectl apply --dry-run=server --validate=strict -f - 2>&1 >/dev/null) || die "$folder: $warnings"
		warnings=$(grep -v last-applied-configuration <<<"$warnings" || true)
		[ -z "$warnings" ] || die "$folder: $warnings"
		say "$folder passes"
	done
}
# components: adds the components of operators to the kustomization of $folder.
components() {
	printf 'components:\n' >>"$work/$ns/kustomization.yaml"
	[[ $folder != daemonset/* ]] || component monitoring.coreos.com podmonitors daemonset/components/pod-monitor
	[[ $folder != */ext-authz/ ]] || component security.istio.io authorizationpolicies daemonset/overlays/ext-authz/istio
	[[ $folder != sidecar/dapr/ ]] || component dapr.io resiliencies sidecar/dapr/resiliency
	sed -i.bak '/^components:$/{$d;}' "$work/$ns/kustomization.yaml"
}
component() { # GROUP KIND FOLDER
	if kubectl get "$2.$1" --all-namespaces >/dev/null 2>&1; then
		echo "  - ../../../deploy/$3" >>"$work/$ns/kustomization.yaml"
	else
		say "$3 skipped: the cluster does not know $2.$1"
	fi
}

# Applying a directory a second time changes nothing, with each kind of apply, because the
# manifests are written as the API server stores them.
case_converge() {
	local folder out
	kubectl create namespace "$ns" >/dev/null
	kubectl label namespace "$ns" pod-security.kubernetes.io/enforce=privileged >/dev/null
	for folder in deploy/daemonset/overlays/*/ deploy/sidecar/*/ deploy/rotation/; do
		folder=${folder#deploy/}
		# No pod needs to run, and the namespace must not change.
		wrap "${folder%/}" <<-Y
			patches:
			  - target: {kind: DaemonSet}
			    patch: |-
			      - {op: add, path: /spec/template/spec/nodeSelector, value: {tokenagent-e2e/none: "true"}}
			  - target: {kind: Deployment}
			    patch: |-
			      - {op: replace, path: /spec/replicas, value: 0}
			  - target: {kind: Namespace}
			    patch: |-
			      {\$patch: delete, apiVersion: v1, kind: Namespace, metadata: {name: tokenagent}}
		Y
		components
		kubectl apply -k "$work/$ns" >/dev/null || die "$folder: apply"
		out=$(kubectl diff -k "$work/$ns" 2>&1) || die "$folder: diff after an apply: $out"
		out=$(kubectl apply -k "$work/$ns" 2>&1) || die "$folder: a second apply: $out"
		# kubectl always prints "configured" for a PodDisruptionBudget, because it replaces
		# the selector as a whole. The diff above has shown that nothing differs.
		! out=$(grep -v -e ' unchanged$' -e '^poddisruptionbudget' <<<"$out") || die "$folder: a second apply changes something: $out"
		out=$(kubectl apply --server-side -k "$work/$ns" 2>&1) || die "$folder: server-side after a client's apply: $out"
		out=$(kubectl diff --server-side -k "$work/$ns" 2>&1) || die "$folder: diff after a server-side apply: $out"
		kubectl delete -k "$work/$ns" >/dev/null
		say "$folder converges"
	done
}

# Runs the commands of deploy/README.md unchanged, with LOAD_IMAGE in place of kind.
case_quick_start() {
	local commands
	ns=tokenagent
	kubectl get namespace "$ns" >/dev/null 2>&1 && die "there is a namespace $ns, which this case would delete"
	commands=$(sed -n '/^```sh quick-start$/,/^```$/{/^```/!p;}' deploy/README.md)
	[ "$(wc -l <<<"$commands")" -ge 5 ] || die "there is no quick start in deploy/README.md"
	# shellcheck disable=SC2016 # for the shell that runs it
	if [ -n "${LOAD_IMAGE:-}" ]; then
		commands='kind() { $LOAD_IMAGE "${@: -1}"; };'$commands
	else
		commands='kind() { :; };'$commands
	fi
	# Unset the variables of this script's make, because a reader does not have them.
	env -u MAKEFLAGS -u MAKEOVERRIDES -u MFLAGS -u MAKELEVEL bash -euo pipefail -c "$commands" >"$work/quick-start.log" 2>&1 ||
		die "the quick start: $(tail -n 5 "$work/quick-start.log")"
	label=app.kubernetes.io/component=node reach=http path=/ port=9465
	sender "http://$(agents | head -n 1):9465/"
	within 120 "the token is accepted" answers 200 "$(key token)"
}

# Applies a Secret from a manifest, revokes its token with the filter and `kubectl
# replace`, and then applies the unchanged manifest again.
case_reapply() {
	local leaked new
	reach=http path=/ container=tokenagent label=app.kubernetes.io/component=node port=9465
	wrap daemonset/overlays/port </dev/null
	kubectl apply -k "$work/$ns" >/dev/null
	leaked=$("$agent" generate)
	printf 'apiVersion: v1\nkind: Secret\nmetadata: {name: app-token, namespace: %s}\nstringData: {token: %s}\n' "$ns" "$leaked" >"$work/secret.yaml"
	kubectl apply -f "$work/secret.yaml" >/dev/null
	kubectl -n "$ns" rollout status ds/tokenagent --timeout=180s >/dev/null || die "the DaemonSet is not ready"
	sender "http://$(agents | head -n 1):9465/"
	within 120 "the token is accepted" answers 200 "$leaked"
	rotate stage
	rotate promote
	rotate revoke
	new=$(key token)
	within 120 "the leaked token is refused" answers 401 "$leaked"
	within 120 "the new token is accepted" answers 200 "$new"
	rotate stage
	kubectl apply -f "$work/secret.yaml" >/dev/null
	[ "$(key token-revoked)" ] || die "an apply of the unchanged manifest deleted token-revoked"
	[ "$(key token-next)" ] || die "an apply of the unchanged manifest deleted token-next"
	within 120 "the pods have the applied Secret" answers 200 "$(key token-next)"
	answers 401 "$leaked" || die "an apply of the unchanged manifest made the revoked token valid again"
	# Now the Secret holds only the manifest's token, as after a forced server-side apply or
	# a replace of the manifest. The agents that saw the revocation still refuse the token.
	kubectl replace -f "$work/secret.yaml" >/dev/null
	within 120 "the agents warn of the revoked token" revoked_is_declared
	answers 401 "$leaked" || die "a replaced Secret made the revoked token valid again"
}
revoked_is_declared() { kubectl -n "$ns" logs ds/tokenagent --tail=-1 | grep -q 'refused until the revocation is lifted'; }

case_port() {
	reach=http path=/ container=tokenagent
	node_agents port
	restricted
	sender "http://$(agents | head -n 1):9465/"
	service http://tokenagent:9465/
	rotations
	rolls ds/tokenagent # with maxSurge 1
}

# Asks over gRPC, as Envoy does.
case_ext_authz() {
	reach=grpc container=tokenagent
	node_agents ext-authz
	port=9466
	restricted
	sender "grpc://$(agents | head -n 1):9466"
	rotations
	rolls ds/tokenagent
}

# Runs two realms. The Secret of the first one rotates. The Secret of the second one is
# made later. A change of the ConfigMap adds a third realm, without a restart of a pod.
case_realms() {
	local other started
	reach=http path=/verify/orders container=tokenagent label=app.kubernetes.io/component=node port=9465
	wrap daemonset/overlays/realms <<-Y
		patches:
		  - target: {kind: DaemonSet}
		    patch: |-
		      - {op: replace, path: /spec/template/spec/volumes/1/secret/secretName, value: app-token}
	Y
	kubectl apply -k "$work/$ns" >/dev/null
	within 120 "the pods run without a Secret" runs
	secret
	kubectl -n "$ns" rollout status ds/tokenagent --timeout=180s >/dev/null || die "the DaemonSet is not ready"
	restricted
	sender "http://$(agents | head -n 1):9465/verify/orders"
	rotations
	path=/verify/payments
	answers 503 "$(key token)" || die "a realm without its Secret does not answer 503"
	other=$("$agent" generate)
	printf %s "$other" | kubectl -n "$ns" create secret generic payments-token --from-file=token=/dev/stdin >/dev/null
	within 120 "the late Secret's token is accepted" answers 200 "$other"
	answers 401 "$(key token)" || die "a token opens another realm"
	path=/verify/orders
	answers 401 "$other" || die "a token opens another realm"
	path=/verify/guests
	answers 401 "$(key token)" || die "a realm that does not exist does not answer 401"
	started=$(kubectl -n "$ns" get pods -l "$label" -o jsonpath='{.items[*].status.startTime}')
	kubectl -n "$ns" get configmap tokenagent-realms -o json |
		sed 's|\(token-file: /var/run/secrets/orders\)|\1\\n  guests:\\n    token-file: /var/run/secrets/payments|' | kubectl replace -f - >/dev/null
	within 120 "the new realm answers" answers 200 "$other"
	[ "$started" = "$(kubectl -n "$ns" get pods -l "$label" -o jsonpath='{.items[*].status.startTime}')" ] || die "a pod was restarted"
	path=/verify/orders
	rolls ds/tokenagent
}

case_socket() {
	container=tokenagent
	reach=unix:///run/tokenagent/agent.sock
	node_agents socket
	sender "$reach" socket
	rotations
	# The sender keeps its mount of the directory, and finds the new socket.
	rolls ds/tokenagent
}

case_host_network() {
	container=tokenagent
	reach=http://127.0.0.1:9465/
	node_agents host-network
	sender "$reach" host
	rotations
	rolls ds/tokenagent
}

case_sidecar() {
	reach=http path=/ container=tokenagent label=app.kubernetes.io/name=orders port=8080
	wrap sidecar/base <<-Y
		images:
		  - {name: registry.example/orders, newName: tokenagent/peer, newTag: $tag}
		patches:
		  - target: {kind: Deployment}
		    patch: |-
		      - {op: add, path: /spec/template/spec/containers/0/args, value: [serve, "127.0.0.1:3000"]}
	Y
	kubectl create namespace "$ns" >/dev/null
	kubectl label namespace "$ns" pod-security.kubernetes.io/enforce=restricted >/dev/null
	secret
	kubectl apply -k "$work/$ns" >/dev/null
	kubectl -n "$ns" rollout status deploy/orders --timeout=180s >/dev/null || die "the app is not ready"
	sender "http://$(agents | head -n 1):8080/orders/1"
	service http://orders/orders/1
	rotations
	rolls deploy/orders
}

# Like case_sidecar, with the directory for Dapr but without Dapr. The sender takes the
# place of daprd, whose token never changes. The case kills the agent's container in the
# middle of a rotation whose Secret does not declare the old token. The agent must still
# accept the old token.
case_dapr_sidecar() {
	local old new pod
	reach=http path=/ container=tokenagent label=app.kubernetes.io/name=orders port=8080
	wrap sidecar/dapr <<-Y
		images:
		  - {name: registry.example/orders, newName: tokenagent/peer, newTag: $tag}
		patches:
		  - target: {kind: Deployment}
		    patch: |-
		      - {op: add, path: /spec/template/spec/containers/0/args, value: [serve, "127.0.0.1:3000"]}
		      # For crash, below.
		      - {op: add, path: /spec/template/spec/shareProcessNamespace, value: true}
	Y
	kubectl create namespace "$ns" >/dev/null
	kubectl label namespace "$ns" pod-security.kubernetes.io/enforce=restricted >/dev/null
	secret
	kubectl apply -k "$work/$ns" >/dev/null
	kubectl -n "$ns" rollout status deploy/orders --timeout=180s >/dev/null || die "the app is not ready"
	sender "http://$(agents | head -n 1):8080/orders/1"
	! kubectl -n "$ns" get pods -l "$label" -o jsonpath='{.items[*].spec.containers[*].volumeMounts[*].mountPath} {.items[*].spec.initContainers[*].volumeMounts[*].mountPath}' |
		grep -F serviceaccount || die "a container has a token for the API server"
	old=$(key token) new=$("$agent" generate)
	within 120 "the first token is accepted" answers 200 "$old"
	kubectl -n "$ns" create secret generic app-token --from-literal=token="$new" --dry-run=client -o yaml | kubectl replace -f - >/dev/null
	within 120 "the new token is accepted" answers 200 "$new"
	answers 200 "$old" || die "the old token was refused inside its overlap"
	for pod in $(kubectl -n "$ns" get pods -l "$label" -o name); do
		crash "$pod"
	done
	within 120 "the new token is accepted by the agents that were restarted" answers 200 "$new"
	answers 200 "$old" || die "an agent that was restarted forgot the old token"
}
# crash POD: kills the agent's container, and waits until the kubelet has restarted it.
crash() {
	local before
	before=$(restarts "$1")
	kubectl -n "$ns" exec "$1" -c orders -- /peer kill tokenagent >/dev/null || die "$1: the agent cannot be killed"
	within 60 "$1: the agent's container is restarted" restarted "$1" "$before"
}
restarts() { kubectl -n "$ns" get "$1" -o jsonpath='{.status.initContainerStatuses[0].restartCount}'; }
restarted() { [ "$(restarts "$1")" -gt "$2" ]; }

# Runs examples/http, an app that embeds the agent, with a mounted Secret.
case_embedded() {
	reach=http path=/hello container=app label=app=embedded port=8080
	kubectl create namespace "$ns" >/dev/null
	kubectl label namespace "$ns" pod-security.kubernetes.io/enforce=restricted >/dev/null
	secret
	kubectl -n "$ns" apply -f - >/dev/null <<-Y
		apiVersion: apps/v1
		kind: Deployment
		metadata: {name: embedded}
		spec:
		  replicas: 2
		  selector: {matchLabels: {app: embedded}}
		  template:
		    metadata: {labels: {app: embedded}}
		    spec:
		      automountServiceAccountToken: false
		      terminationGracePeriodSeconds: 5
		      securityContext: {runAsNonRoot: true, runAsUser: 65532, runAsGroup: 65532, fsGroup: 65532, seccompProfile: {type: RuntimeDefault}}
		      containers:
		        - name: app
		          image: tokenagent/embedded:$tag
		          env:
		            - {name: APP_API_TOKEN_FILE, value: /var/run/secrets/app-token}
		            - {name: ADDR, value: ":8080"}
		          readinessProbe: {httpGet: {path: /metrics, port: 8080}, periodSeconds: 1}
		          securityContext: {allowPrivilegeEscalation: false, readOnlyRootFilesystem: true, capabilities: {drop: [ALL]}}
		          volumeMounts:
		            - {name: token, mountPath: /var/run/secrets/app-token, readOnly: true}
		      volumes:
		        - {name: token, secret: {secretName: app-token, defaultMode: 0400}}
	Y
	kubectl -n "$ns" rollout status deploy/embedded --timeout=180s >/dev/null || die "the app does not run"
	sender "http://$(agents | head -n 1):8080/hello"
	rotations
	rolls deploy/embedded
}

restricted() {
	[ "$(kubectl get namespace "$ns" -o jsonpath='{.metadata.labels.pod-security\.kubernetes\.io/enforce}')" = restricted ] ||
		die "the namespace is not restricted"
}

# service URL: asks through the Service, if the cluster has a service network.
service() {
	local status
	if status=$(ask "$1" "$(key token)"); then
		[ "$status" = 200 ] || die "through the Service: $status"
		say "the Service answers"
	else
		say "skipped: $1 cannot be reached (a cluster without kube-proxy or DNS)"
	fi
}
