# The cases of run.sh. It is sourced after lib.sh.
# shellcheck shell=bash disable=SC2034,SC2154

# Every folder of deploy/ as the API server judges it, with unknown fields an
# error. The kinds of operators are left out where the cluster does not know them.
case_dry_run() {
	local folder warnings
	kubectl create namespace "$ns" >/dev/null
	for folder in deploy/daemonset/overlays/*/ deploy/sidecar/*/; do
		folder=${folder#deploy/}
		wrap "${folder%/}" </dev/null
		if [[ $folder == daemonset/* ]]; then
			printf 'components:\n' >>"$work/$ns/kustomization.yaml"
			component monitoring.coreos.com podmonitors daemonset/components/pod-monitor
			[[ $folder != */ext-authz/ ]] || component security.istio.io authorizationpolicies daemonset/overlays/ext-authz/istio
			sed -i.bak '/^components:$/{$d;}' "$work/$ns/kustomization.yaml"
		fi
		warnings=$(kubectl kustomize "$work/$ns" | kubectl apply --dry-run=server --validate=strict -f - 2>&1 >/dev/null) || die "$folder: $warnings"
		warnings=$(grep -v last-applied-configuration <<<"$warnings" || true)
		[ -z "$warnings" ] || die "$folder: $warnings"
		say "$folder passes"
	done
}
component() { # GROUP KIND FOLDER
	if kubectl get "$2.$1" --all-namespaces >/dev/null 2>&1; then
		echo "  - ../../../deploy/$3" >>"$work/$ns/kustomization.yaml"
	else
		say "left out, since the cluster does not know $2.$1: $3"
	fi
}

case_port() {
	reach=http path=/ container=tokenagent
	node_agents port
	restricted
	sender "http://$(agents | head -n 1):9465/"
	service http://tokenagent:9465/
	rotations
	rolls ds/tokenagent # with maxSurge 1
}

# Asked over gRPC, as Envoy asks.
case_ext_authz() {
	reach=grpc container=tokenagent
	node_agents ext-authz
	port=9466
	restricted
	sender "grpc://$(agents | head -n 1):9466"
	rotations
	rolls ds/tokenagent
}

# Two realms, of which one has the Secret that rotates. The other's comes later, and
# a third realm with the ConfigMap, which no pod is restarted for.
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
	answers 401 "$(key token)" || die "a realm that there is not does not answer 401"
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
	# The sender has had the folder mounted all the time, and finds the new socket.
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

# The agent in the app's own process, examples/http, with the Secret as the kubelet
# mounts it.
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

# service URL: ask through the Service, where the cluster has its network.
service() {
	local status
	if status=$(ask "$1" "$(key token)"); then
		[ "$status" = 200 ] || die "through the Service: $status"
		say "the Service answers"
	else
		say "not tried: no way to $1 (a cluster without kube-proxy or DNS)"
	fi
}
