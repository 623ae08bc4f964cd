# The case service-accounts of run.sh, which sources this file after lib.sh.
# shellcheck shell=bash disable=SC2034,SC2154

# Agents accept the tokens of service accounts while senders send them: tokens that the
# kubelet projects and replaces, and tokens of the TokenRequest API. Meanwhile the API
# server gets another signing key, if ROTATE_SIGNING_KEY names a command for that. No
# request may be refused. An agent with --token-review refuses the tokens of a deleted pod
# and of a deleted service account within 10 s; an agent without it accepts them.
case_service_accounts() {
	local round plain reviewing kubelet=${KUBELET_ROTATIONS:-1}
	container=tokenagent
	kubectl create namespace "$ns" >/dev/null
	kubectl -n "$ns" create serviceaccount agent >/dev/null
	kubectl -n "$ns" create serviceaccount cart >/dev/null
	kubectl delete clusterrolebinding "$ns" --ignore-not-found >/dev/null
	kubectl create clusterrolebinding "$ns" --clusterrole=system:auth-delegator --serviceaccount="$ns:agent" >/dev/null
	find_api_server
	account_agent plain 9475
	account_agent reviewing 9476 --token-review
	plain=$(address plain 9475) reviewing=$(address reviewing 9476)
	request_token | kubectl -n "$ns" create secret generic app-token --from-file=token=/dev/stdin >/dev/null
	account_sender projected "$plain" 2 "projected: {sources: [{serviceAccountToken: {path: token, audience: orders, expirationSeconds: 600}}]}"
	account_sender sender "$plain" 1 "secret: {secretName: app-token}"

	reach=$plain
	within 60 "a service account's token is accepted" answers 200 "$(key token)"
	answers 401 "$(kubectl -n "$ns" create token cart --audience=payments)" || die "a token for another audience was accepted"
	answers 401 "$(kubectl -n default create token default --audience=orders)" || die "a token of another namespace was accepted"
	for round in $(seq "${ROUNDS:-3}"); do
		replace_token
		within 120 "round $round: the new token is sent" sends "$(key token)"
	done
	deleted_accounts

	if [ -n "${ROTATE_SIGNING_KEY:-}" ]; then
		$ROTATE_SIGNING_KEY add >&2 || die "$ROTATE_SIGNING_KEY add"
		sleep 70 # the agents ask for the keys every minute
		$ROTATE_SIGNING_KEY sign >&2 || die "$ROTATE_SIGNING_KEY sign"
		local before
		before=$(key_id "$(key token)")
		replace_token
		[ "$(key_id "$(key token)")" != "$before" ] || die "the API server still signs with the old key"
		within 120 "a token of the new signing key is sent" sends "$(key token)"
		say "the API server has another signing key"
	else
		say "the rotation of the signing key is skipped: ROTATE_SIGNING_KEY is not set"
	fi
	say "waiting until the kubelet has replaced each projected token $kubelet times: 8 to 10 minutes each"
	for round in $(seq $((kubelet * 12 * 60 / 10))); do
		! rotated_by_kubelet "$kubelet" || break
		sleep 10
	done
	rotated_by_kubelet "$kubelet" || die "the kubelet has not replaced the projected tokens"
	sleep 1.2 # the senders print their counts every hundred requests
	local pod last
	for pod in $(kubectl -n "$ns" get pods -l 'app in (sender, projected)' -o name); do
		last=$(kubectl -n "$ns" logs "$pod" --tail=1)
		say "$pod: $last"
		[[ $last == good=[1-9]*" refused=0 failed=0 "* ]] || die "requests were refused: $(kubectl -n "$ns" logs "$pod" | grep -v ' refused=0 failed=0 ' | head -n 3)"
	done
	! kubectl -n "$ns" logs deploy/plain --tail=-1 | grep -F 'eyJ' || die "the agent's log contains a token"
	kubectl delete clusterrolebinding "$ns" >/dev/null
}

# deleted_accounts: deletes a pod, and then a service account, whose tokens are in use.
deleted_accounts() {
	local token gone refused
	kubectl -n "$ns" create serviceaccount guest >/dev/null
	kubectl -n "$ns" apply -f - >/dev/null <<-Y
		apiVersion: v1
		kind: Pod
		metadata: {name: guest, labels: {app: guest}}
		spec:
		  serviceAccountName: guest
		  terminationGracePeriodSeconds: 1
		  securityContext: {runAsNonRoot: true, runAsUser: 65532}
		  containers: [{name: guest, image: "tokenagent/peer:$tag", args: [serve, "127.0.0.1:0"]}]
	Y
	kubectl -n "$ns" wait --for=condition=Ready pod/guest --timeout=60s >/dev/null || die "the pod guest does not run"
	local kind
	for kind in pod serviceaccount; do
		local bound=()
		[ "$kind" != pod ] || bound=(--bound-object-kind Pod --bound-object-name guest)
		token=$(kubectl -n "$ns" create token guest --audience=orders --duration=600s "${bound[@]}")
		printf %s "$token" | kubectl -n "$ns" create secret generic "guest-$kind" --from-file=token=/dev/stdin >/dev/null
		account_sender "uses-$kind" "$reviewing" 1 "secret: {secretName: guest-$kind}"
		reach=$plain
		within 60 "the $kind's token is accepted" answers 200 "$token"
		reach=$reviewing
		within 60 "the $kind's token is accepted after its review" answers 200 "$token"
		kubectl -n "$ns" delete "$kind" guest >/dev/null
		gone=$(date +%s.%N)
		within 60 "the deleted $kind's token is refused" refused_in_log "uses-$kind"
		refused=$(kubectl -n "$ns" logs "deploy/uses-$kind" --timestamps | grep -m 1 'last=401')
		refused=$(date -d "${refused%% *}" +%s.%N)
		say "the deleted $kind's token was refused after $(awk "BEGIN {print $refused - $gone}") s"
		awk "BEGIN {exit !($refused - $gone < 10)}" || die "the deleted $kind's token was accepted for more than 10 s"
		answers 200 "$(key token)" || die "another token is refused"
		reach=$plain
		answers 200 "$token" || die "an agent without --token-review refuses a token that has not expired"
		kubectl -n "$ns" delete deploy "uses-$kind" >/dev/null
	done
}
refused_in_log() { kubectl -n "$ns" logs "deploy/$1" | grep -q 'last=401'; }

# request_token: prints a token of the service account cart from the TokenRequest API, which
# also issues the kubelet's tokens.
request_token() { kubectl -n "$ns" create token cart --audience=orders --duration=600s | tr -d '\n'; }
replace_token() {
	request_token | kubectl -n "$ns" create secret generic app-token --from-file=token=/dev/stdin --dry-run=client -o yaml | kubectl replace -f - >/dev/null
}
# key_id TOKEN: prints the part of the token with its key ID.
key_id() { cut -d. -f1 <<<"$1"; }

# rotated_by_kubelet N: succeeds if each sender with a projected token has sent N new ones.
rotated_by_kubelet() {
	local pod
	for pod in $(kubectl -n "$ns" get pods -l app=projected -o name); do
		[ "$(kubectl -n "$ns" logs "$pod" | grep -o 'token=[0-9a-f]*' | sort -u | wc -l)" -gt "$1" ] || return 1
	done
}

# find_api_server: if the API server listens on the node's own address, and the cluster may
# have no service network, the pods use that address and the node's network.
find_api_server() {
	local server
	server=$(kubectl config view --minify -o jsonpath='{.clusters[0].cluster.server}')
	server=${server#https://}
	api_host='' api_port=''
	if [ "${server%:*}" = "$(kubectl get nodes -o jsonpath='{.items[0].status.addresses[?(@.type=="InternalIP")].address}')" ]; then
		api_host=${server%:*} api_port=${server##*:}
	fi
}
# address AGENT PORT: prints the address of an agent.
address() {
	local host=$api_host
	[ -n "$host" ] || host=$(kubectl -n "$ns" get pods -l "app=$1" -o jsonpath='{.items[0].status.podIP}')
	echo "http://$host:$2/"
}

# account_agent NAME PORT [FLAG]: deploys an agent for service account tokens.
account_agent() {
	local env='' host=false listen=":$2"
	if [ -n "$api_host" ]; then
		host=true listen="$api_host:$2"
		env="env: [{name: KUBERNETES_SERVICE_HOST, value: \"$api_host\"}, {name: KUBERNETES_SERVICE_PORT, value: \"$api_port\"}]"
	fi
	kubectl -n "$ns" apply -f - >/dev/null <<-Y
		apiVersion: apps/v1
		kind: Deployment
		metadata: {name: $1}
		spec:
		  selector: {matchLabels: {app: $1}}
		  template:
		    metadata: {labels: {app: $1}}
		    spec:
		      hostNetwork: $host
		      serviceAccountName: agent
		      terminationGracePeriodSeconds: 2
		      securityContext: {runAsNonRoot: true, runAsUser: 65532, runAsGroup: 65532, fsGroup: 65532, seccompProfile: {type: RuntimeDefault}}
		      containers:
		        - name: $container
		          image: tokenagent/tokenagent:$tag
		          args: [run, --kubernetes, --audience=orders, --require-claim=/kubernetes.io/namespace=$ns, --listen=$listen, --admin-listen=, --log-format=json${3:+, $3}]
		          $env
		          securityContext: {allowPrivilegeEscalation: false, readOnlyRootFilesystem: true, capabilities: {drop: [ALL]}}
	Y
	kubectl -n "$ns" rollout status "deploy/$1" --timeout=120s >/dev/null || die "the agent $1 does not run: $(kubectl -n "$ns" logs "deploy/$1" --tail=3)"
}

# account_sender NAME TARGET REPLICAS VOLUME: deploys a sender with the token in VOLUME.
account_sender() {
	local host=false
	[ -z "$api_host" ] || host=true
	kubectl -n "$ns" apply -f - >/dev/null <<-Y
		apiVersion: apps/v1
		kind: Deployment
		metadata: {name: $1}
		spec:
		  replicas: $3
		  selector: {matchLabels: {app: $1}}
		  template:
		    metadata: {labels: {app: $1}}
		    spec:
		      hostNetwork: $host
		      serviceAccountName: cart
		      automountServiceAccountToken: false
		      terminationGracePeriodSeconds: 2
		      securityContext: {runAsNonRoot: true, runAsUser: 65532, runAsGroup: 65532, fsGroup: 65532, seccompProfile: {type: RuntimeDefault}}
		      containers:
		        - name: sender
		          image: tokenagent/peer:$tag
		          args: [send, /var/run/secrets/app-token, "$2"]
		          securityContext: {allowPrivilegeEscalation: false, readOnlyRootFilesystem: true, capabilities: {drop: [ALL]}}
		          volumeMounts: [{name: token, mountPath: /var/run/secrets/app-token, readOnly: true}]
		      volumes: [{name: token, $4}]
	Y
	kubectl -n "$ns" rollout status "deploy/$1" --timeout=120s >/dev/null || die "the sender $1 does not run"
}
