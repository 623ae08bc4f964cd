# Functions that the cases of run.sh share. run.sh sources this file.
# shellcheck shell=bash

work=dist/kubernetes
agent=dist/tokenagent # for this machine; the nodes have the image
tag=dev
reach=http # how the sender of a case gets to the agent: http, grpc, or one address for all
path=/     # of http
container=tokenagent # that holds the agent

say() { printf '[%s] kubernetes: %s\n' "$(date +%H:%M:%S)" "$*" >&2; }
die() {
	say "FAILED: $*"
	[ -z "${ns:-}" ] || kubectl -n "$ns" get pods -o wide >&2 || true
	[ -z "${ns:-}" ] || kubectl -n "$ns" get events --sort-by=.lastTimestamp 2>/dev/null | tail -n 15 >&2 || true
	exit 1
}

# within SECONDS WHAT COMMAND...: repeats the command until it succeeds. Each try changes
# an annotation of the pod, so that the kubelet syncs the pod and its Secrets at once.
within() {
	local what=$2 end=$((SECONDS + $1))
	shift 2
	until "$@" >/dev/null 2>&1; do
		[ "$SECONDS" -lt "$end" ] || die "timed out; expected: $what"
		nudge
		sleep 0.5
	done
}
nudge() {
	[ "${NUDGE:-1}" = 0 ] || kubectl -n "$ns" annotate pods --all --overwrite "tokenagent-e2e/nudge=$RANDOM$RANDOM" >/dev/null 2>&1 || true
}

build() {
	local arch=${IMAGE_ARCH:-$(go env GOARCH)}
	rm -rf "$work" && mkdir -p "$work"
	CGO_ENABLED=0 go build -o "$agent" ./cmd/tokenagent
	CGO_ENABLED=0 GOOS=linux GOARCH=$arch go build -trimpath -ldflags '-s -w' -o "$work/peer" ./test/kubernetes/peer
	make -s image IMAGE="tokenagent/tokenagent:$tag" IMAGE_ARCH="$arch" >/dev/null
	mv dist/tokenagent-image.tar "$work/tokenagent.tar"
	pack tokenagent/peer:$tag "$PWD/$work/peer" /peer peer.tar
	# This app embeds the agent.
	CGO_ENABLED=0 GOOS=linux GOARCH=$arch go build -trimpath -ldflags '-s -w' -o "$work/embedded" ./examples/http
	pack tokenagent/embedded:$tag "$PWD/$work/embedded" /app embedded.tar
	[ -z "${BUSYBOX:-}" ] || pack busybox:1.37 "$BUSYBOX" /bin/busybox busybox.tar
	if [ -z "${LOAD_IMAGE:-}" ]; then
		say "LOAD_IMAGE is not set; the nodes must have the images of $work already"
		return
	fi
	for archive in "$work"/*.tar; do
		$LOAD_IMAGE "$archive" >&2 || die "$LOAD_IMAGE $archive"
	done
}
# pack NAME BINARY PATH ARCHIVE [FLAG...]: packs an image with tools/image.
pack() { go run -C tools/image . -name "$1" -arch "${IMAGE_ARCH:-$(go env GOARCH)}" -binary "$2" -path "$3" -out "$PWD/$work/$4" "${@:5}" >/dev/null; }

forget() { kubectl delete namespace "$1" --ignore-not-found --timeout=120s >/dev/null; }

# wrap FOLDER: writes a kustomization to $work that puts deploy/FOLDER into $ns.
wrap() {
	mkdir -p "$work/$ns"
	{
		printf 'apiVersion: kustomize.config.k8s.io/v1beta1\nkind: Kustomization\nnamespace: %s\n' "$ns"
		printf 'resources:\n  - ../../../deploy/%s\n' "$1"
		cat
	} >"$work/$ns/kustomization.yaml"
}

# agents: prints the addresses of the agents' pods.
agents() { kubectl -n "$ns" get pods -l "$label" -o jsonpath='{range .items[*]}{.status.podIP}{"\n"}{end}'; }
targets() {
	case $reach in
	http) agents | sed "s|.*|http://&:$port$path|" ;;
	grpc) agents | sed "s|.*|grpc://&:$port|" ;;
	*) echo "$reach" ;;
	esac
}
# ask TARGET TOKEN: prints the status of the answer. kubectl sometimes loses the output of
# a command; ask then tries again.
ask() {
	local status _
	for _ in 1 2 3; do
		status=$(printf %s "$2" | kubectl -n "$ns" exec -i deploy/sender -- /peer ask "$1" 2>/dev/null) || continue
		[ -z "$status" ] || break
	done
	[ -n "$status" ] && echo "$status"
}
key() { kubectl -n "$ns" get secret app-token -o jsonpath="{.data.$1}" | base64 -d; }
fingerprint() { printf %s "$1" | sha256sum | cut -c1-8; }

# answers STATUS TOKEN: succeeds if every agent answers the token with this status.
answers() {
	local target status
	for target in $(targets); do
		status=$(ask "$target" "$2") || return 1
		[ "$status" = "$1" ] || return 1
	done
}
sends() { kubectl -n "$ns" logs deploy/sender --tail=1 | grep -q "token=$(fingerprint "$1")"; }
rotate() {
	kubectl -n "$ns" get secret app-token -o json | "$agent" rotate "$@" 2>>"$work/rotate.log" | kubectl replace -f - >/dev/null ||
		die "rotate $*: see $work/rotate.log"
}

secret() {
	"$agent" generate | tr -d '\n' | kubectl -n "$ns" create secret generic app-token --from-file=token=/dev/stdin >/dev/null
}

# sender TARGET [MOUNT]: deploys a sender. MOUNT socket mounts the node's directory of the
# socket; MOUNT host uses the node's network.
sender() {
	local host=false mount='' volume=''
	[ "${2:-}" != host ] || host=true
	if [ "${2:-}" = socket ]; then
		mount='- {name: socket, mountPath: /run/tokenagent, readOnly: true}'
		volume='- {name: socket, hostPath: {path: /run/tokenagent, type: Directory}}'
	fi
	kubectl -n "$ns" apply -f - >/dev/null <<-Y
		apiVersion: apps/v1
		kind: Deployment
		metadata: {name: sender}
		spec:
		  selector: {matchLabels: {app: sender}}
		  template:
		    metadata: {labels: {app: sender}}
		    spec:
		      hostNetwork: $host
		      automountServiceAccountToken: false
		      terminationGracePeriodSeconds: 2
		      securityContext: {runAsNonRoot: true, runAsUser: 65532, runAsGroup: 65532, fsGroup: 65532, seccompProfile: {type: RuntimeDefault}}
		      containers:
		        - name: sender
		          image: tokenagent/peer:$tag
		          args: [send, /var/run/secrets/app-token, "$1"]
		          securityContext: {allowPrivilegeEscalation: false, readOnlyRootFilesystem: true, capabilities: {drop: [ALL]}}
		          volumeMounts:
		            - {name: token, mountPath: /var/run/secrets/app-token, readOnly: true}
		            $mount
		      volumes:
		        - {name: token, secret: {secretName: app-token, defaultMode: 0400}}
		        $volume
	Y
	kubectl -n "$ns" rollout status deploy/sender --timeout=120s >/dev/null || die "the sender does not run"
}

# tally: fails if a request of the sender was refused, or none was accepted.
tally() {
	local last
	last=$(kubectl -n "$ns" logs deploy/sender --tail=1)
	say "$name: $last"
	[[ $last == good=[1-9]*" refused=0 failed=0 "* ]] || die "requests were refused: $(kubectl -n "$ns" logs deploy/sender | grep -v ' refused=0 failed=0 ' | head -n 3)"
}

# rotations: runs ROUNDS of stage, promote and retire, and then a revocation, while the
# sender sends requests.
rotations() {
	local old new round
	within 120 "the first token is accepted" answers 200 "$(key token)"
	answers 401 a-token-that-nobody-knows || die "an unknown token was not refused with 401"
	for round in $(seq $((${ROUNDS:-3} + 1))); do
		old=$(key token)
		rotate stage
		new=$(key token-next)
		within 120 "round $round: the staged token is accepted" answers 200 "$new"
		rotate promote --overlap 30m
		within 120 "round $round: the sender sends the new token" sends "$new"
		answers 200 "$old" || die "round $round: the old token was refused inside its overlap"
		if [ "$round" -le "${ROUNDS:-3}" ]; then
			# A receiver that sees both changes at once does not know the promotion, and
			# remembers the old token with a window of its own.
			[ "${NUDGE:-1}" != 0 ] || sleep 100
			rotate retire
			within 120 "round $round: the old token is refused once retired" answers 401 "$old"
		else
			rotate revoke
			within 120 "the old token is refused once revoked" answers 401 "$old"
			[ "$(kubectl -n "$ns" get secret app-token -o jsonpath='{.data.token-revoked}')" ] || die "the Secret holds no revocation"
		fi
		answers 200 "$new" || die "round $round: the new token is refused"
	done
	sleep 1.2 # the sender prints its counts every hundred requests
	tally
	kubectl -n "$ns" logs -l "$label" -c "$container" --tail=-1 >"$work/agent.log" || die "the agent has no log"
	! grep -qF -e "$old" -e "$new" "$work/agent.log" || die "the agent's log contains a token"
}

# rolls KIND: restarts the agents, and checks that they accept the same token afterwards.
rolls() {
	kubectl -n "$ns" rollout restart "$1" >/dev/null
	kubectl -n "$ns" rollout status "$1" --timeout=180s >/dev/null || die "the restart of $1 does not end"
	within 60 "after the restart the token is accepted" answers 200 "$(key token)"
}

runs() { kubectl -n "$ns" get pods -l "$label" --field-selector status.phase=Running -o name | grep -q .; }

node_agents() { # FOLDER: the DaemonSet of an overlay, with its Secret
	label=app.kubernetes.io/component=node port=9465
	wrap "daemonset/overlays/$1" </dev/null
	kubectl apply -k "$work/$ns" >/dev/null
	within 120 "the pods run without a Secret" runs
	secret
	kubectl -n "$ns" rollout status ds/tokenagent --timeout=180s >/dev/null || die "the DaemonSet is not ready"
}
