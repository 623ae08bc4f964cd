# The case dapr of run.sh, which sources this file after lib.sh.
# shellcheck shell=bash disable=SC2034,SC2154,SC2030,SC2031

# Dapr's own control plane, from its chart, puts daprd into the pods of an app. The app's
# token rotates in several ways while another app publishes messages and invokes it.
#
# The cluster needs DNS and a service network. Settings:
#
#   DAPR_VERSION    default: the newest of test/e2e/daprd/versions
#   DAPR_RUNS       "PROTOCOL REPLICAS" of each run, separated by commas
#   DAPR_WAYS       how the app gets its token: env (as Dapr documents it: an environment
#                   variable), embedded (the agent in the app), sidecar (deploy/sidecar/dapr)
#   DAPR_SCENARIOS  which scenarios of dapr_all_scenarios; with all ways, runs and scenarios
#                   the table in docs/dapr.md is written anew
#   DAPR_ROTATIONS  how often `rotate run` is repeated at the end (default 20; 0 for none)
#   DAPR_RESULTS    a file to which the results are added; the table then has the results of
#                   all calls with this file
#   HELM            renders the chart (default: helm, or else go run)
#   REDIS           a redis-server of this machine, loaded with its shared libraries;
#                   without it the nodes pull redis:7
dapr_all_runs="http 2,http 3,grpc 2"
dapr_all_ways="env embedded sidecar"
dapr_all_scenarios="restart at-once later after-deaths staged-deaths run run-deaths cronjob cronjob-deaths"

case_dapr() {
	local run runs way ways=${DAPR_WAYS:-$dapr_all_ways} protocol replicas failed pids
	dapr_version=${DAPR_VERSION:-$(tail -n 1 test/e2e/daprd/versions)}
	dapr_results=${DAPR_RESULTS:-$PWD/$work/dapr-results}
	dapr_control_plane
	IFS=, read -ra runs <<<"${DAPR_RUNS:-$dapr_all_runs}"
	for run in "${runs[@]}"; do
		read -r protocol replicas <<<"$run"
		pids=() failed=
		for way in $ways; do # at the same time, each in a namespace of its own
			dapr_way "$way" "$protocol" "$replicas" &
			pids+=($!)
		done
		for pid in "${pids[@]}"; do
			wait "$pid" || failed=1
		done
		[ -z "$failed" ] || die "$run: see above"
	done
	[ -n "${KEEP:-}" ] || dapr_remove
	if [ -n "${DAPR_RESULTS:-}" ] || [ -z "${DAPR_RUNS:-}${DAPR_WAYS:-}${DAPR_SCENARIOS:-}" ]; then
		dapr_table
	fi
}

# dapr_control_plane: installs sentry, operator, injector, placement and scheduler.
dapr_control_plane() {
	local program binary module
	if kubectl get namespace dapr-system >/dev/null 2>&1; then
		[ "$(kubectl get namespace dapr-system -o jsonpath='{.metadata.labels.tokenagent-e2e}')" = "$dapr_version" ] ||
			die "there is a namespace dapr-system, which this case would change"
		say "using the control plane in dapr-system"
		return
	fi
	module=$(go mod download -json "github.com/dapr/dapr@v$dapr_version" | sed -n 's/^[[:space:]]*"Dir": "\(.*\)",*$/\1/p')
	for program in daprd sentry operator injector placement scheduler; do
		binary=$(test/e2e/daprd/build.sh "$dapr_version" "$program") || die "$program does not build"
		dapr_load "tokenagent/dapr/$program:$dapr_version" "$binary" "/$program"
	done
	[ -z "${REDIS:-}" ] || dapr_load redis:7 "$REDIS" /usr/local/bin/redis-server
	local helm=${HELM:-helm}
	command -v "$helm" >/dev/null || helm="go run helm.sh/helm/v3/cmd/helm@v3.22.0"
	$helm template dapr "$module/charts/dapr" --namespace dapr-system \
		--set global.registry=tokenagent/dapr --set global.tag="$dapr_version" --set global.prometheus.enabled=false \
		--set dapr_scheduler.cluster.inMemoryStorage=true --set dapr_rbac.secretReader.enabled=false \
		--set dapr_sidecar_injector.sidecarDropALLCapabilities=true >"$work/dapr.yaml" || die "$helm"
	kubectl create namespace dapr-system >/dev/null
	kubectl label namespace dapr-system "tokenagent-e2e=$dapr_version" >/dev/null
	kubectl apply --server-side -f "$module/charts/dapr/crds" >/dev/null
	kubectl apply -n dapr-system -f "$work/dapr.yaml" >/dev/null
	for program in deploy/dapr-sentry deploy/dapr-operator deploy/dapr-sidecar-injector statefulset/dapr-placement-server statefulset/dapr-scheduler-server; do
		kubectl -n dapr-system rollout status "$program" --timeout=180s >/dev/null ||
			die "$program does not run: $(kubectl -n dapr-system logs "$program" --tail=3)"
	done
	say "Dapr's control plane $dapr_version runs"
}

# dapr_load IMAGE BINARY PATH: packs a program with the shared libraries that it needs, and
# loads the image.
dapr_load() {
	local libs
	mapfile -t libs < <(ldd "$2" 2>/dev/null | grep -o '/[^ ]*' | sed 's/^/-lib=/')
	pack "$1" "$2" "$3" dapr-image.tar -command "${libs[@]}"
	[ -z "${LOAD_IMAGE:-}" ] || $LOAD_IMAGE "$work/dapr-image.tar" >&2 || die "$LOAD_IMAGE $1"
	rm "$work/dapr-image.tar"
}

dapr_remove() {
	kubectl delete mutatingwebhookconfigurations,clusterroles,clusterrolebindings -l app.kubernetes.io/part-of=dapr >/dev/null
	kubectl delete namespace dapr-system --wait=false >/dev/null
	kubectl get crd -o name | grep '\.dapr\.io$' | xargs kubectl delete --wait=false >/dev/null
}

# dapr_way WAY PROTOCOL REPLICAS: runs the scenarios in one namespace.
dapr_way() {
	local way=$1 protocol=$2 replicas=$3 scenario round
	ns=tokenagent-e2e-dapr-$way
	forget "$ns"
	dapr_deploy
	for scenario in ${DAPR_SCENARIOS:-$dapr_all_scenarios}; do
		dapr_measure "$scenario" "dapr_${scenario//-/_}"
	done
	if [ "$way" != env ] && [ "$protocol $replicas" = "http 2" ]; then
		dapr_measure "${DAPR_ROTATIONS:-20}-rotations" dapr_rotations
	fi
	[ -n "${KEEP:-}" ] || kubectl delete namespace "$ns" --wait=false >/dev/null
}

# dapr_deploy: an app (orders) behind daprd, and an app (cart) that calls it. Between daprd
# and the app or its agent a tap counts the answers that daprd gets.
dapr_deploy() {
	local upstream=http://127.0.0.1:3000 listen=:3000 tokens=$way op=replace probe='httpGet: {path: /healthz, port: 3000}' patch resilient='' more=$'\n      - '
	local secure='securityContext: {allowPrivilegeEscalation: false, readOnlyRootFilesystem: true, capabilities: {drop: [ALL]}}'
	[ "$protocol" = http ] || probe='tcpSocket: {port: 3000}'
	[ "$way" = env ] || resilient='- ../../../deploy/sidecar/dapr/resiliency' # as docs/dapr.md advises for Redis
	case $way in
	env) patch='- {op: add, path: /spec/template/spec/containers/0/env, value: [{name: APP_API_TOKEN, valueFrom: {secretKeyRef: {name: app-token, key: token}}}]}' ;;
	embedded)
		tokens=file
		patch="- {op: add, path: /spec/template/spec/containers/0/env, value: [{name: APP_API_TOKEN_FILE, value: /var/run/secrets/app-token}, {name: STATE_FILE, value: /state/peer/tokens}]}$more{op: add, path: /spec/template/spec/containers/0/volumeMounts, value: [{name: token, mountPath: /var/run/secrets/app-token, readOnly: true}, {name: state, mountPath: /state}]}"
		;;
	sidecar)
		tokens=agent upstream=http://127.0.0.1:8080 listen=127.0.0.1:3000 op=add probe='httpGet: {path: /readyz, port: 9464}'
		patch='- {op: test, path: /spec/template/spec/initContainers/1/name, value: tokenagent}'
		[ "$protocol" = http ] ||
			patch="- {op: replace, path: /spec/template/spec/initContainers/1/args/5, value: '--upstream=h2c://127.0.0.1:3000'}$more{op: replace, path: /spec/template/spec/initContainers/1/args/6, value: '--health-path=/dapr.proto.runtime.v1.AppCallbackHealthCheck/HealthCheck'}"
		;;
	esac
	wrap sidecar/dapr <<-Y
		  - ../../../deploy/rotation
		  - load.yaml
		components:
		  - ../../../deploy/rotation/network-policy
		  $resilient
		images:
		  - {name: registry.example/orders, newName: tokenagent/peer, newTag: $tag}
		patches:
		  - target: {kind: Deployment, name: orders}
		    patch: |-
		      - {op: replace, path: /spec/replicas, value: $replicas}
		      - {op: add, path: /spec/template/spec/shareProcessNamespace, value: true} # for peer kill
		      - {op: replace, path: /spec/template/metadata/annotations/dapr.io~1app-port, value: "8090"}
		      - {op: add, path: /spec/template/metadata/annotations/dapr.io~1app-protocol, value: "$protocol"}
		      - {op: replace, path: /spec/template/spec/containers/0/readinessProbe, value: {$probe, periodSeconds: 1}}
		      - {op: add, path: /spec/template/spec/containers/0/args, value: [app, "$listen", $protocol, $tokens, jobs]}
		      - {op: $op, path: /spec/template/spec/initContainers/0, value: {name: tap, image: "tokenagent/peer:$tag", restartPolicy: Always, args: [tap, ":8090", "$upstream", "http://cart:7000", $protocol], $secure}}
		      $patch
		  - target: {kind: CronJob}
		    patch: |-
		      - {op: add, path: /spec/suspend, value: true}
		      - {op: replace, path: /spec/schedule, value: "* * * * *"}
		      - {op: replace, path: /spec/jobTemplate/spec/template/spec/containers/0/args, value: [rotate, run, $(dapr_rotate_args)]}
	Y
	cat >"$work/$ns/load.yaml" <<-Y
		apiVersion: apps/v1
		kind: Deployment
		metadata: {name: cart}
		spec:
		  selector: {matchLabels: {app: cart}}
		  template:
		    metadata:
		      labels: {app: cart}
		      annotations: {dapr.io/enabled: "true", dapr.io/app-id: cart, dapr.io/disable-builtin-k8s-secret-store: "true"}
		    spec:
		      automountServiceAccountToken: false
		      securityContext: {runAsNonRoot: true, runAsUser: 65532, seccompProfile: {type: RuntimeDefault}}
		      containers: [{name: cart, image: "tokenagent/peer:$tag", args: [load, ":7000"$([ "$protocol" = grpc ] || echo ', actors')], $secure}]
		---
		apiVersion: v1
		kind: Service
		metadata: {name: cart}
		spec: {selector: {app: cart}, ports: [{port: 7000}]}
		---
		apiVersion: apps/v1
		kind: Deployment
		metadata: {name: redis}
		spec:
		  selector: {matchLabels: {app: redis}}
		  template:
		    metadata: {labels: {app: redis}}
		    spec:
		      automountServiceAccountToken: false
		      securityContext: {runAsNonRoot: true, runAsUser: 65532, seccompProfile: {type: RuntimeDefault}}
		      containers: [{name: redis, image: "redis:7", imagePullPolicy: IfNotPresent, command: [redis-server, --save, "", --protected-mode, "no"], readinessProbe: {tcpSocket: {port: 6379}, periodSeconds: 1}, securityContext: {allowPrivilegeEscalation: false, capabilities: {drop: [ALL]}}}]
		---
		apiVersion: v1
		kind: Service
		metadata: {name: redis}
		spec: {selector: {app: redis}, ports: [{port: 6379}]}
		---
		# The admin ports of the receivers, for the rotation.
		apiVersion: v1
		kind: Service
		metadata: {name: orders-admin}
		spec: {clusterIP: None, publishNotReadyAddresses: true, selector: {app.kubernetes.io/name: orders}, ports: [{port: 9464}]}
		---
		apiVersion: dapr.io/v1alpha1
		kind: Component
		metadata: {name: pubsub}
		spec: {type: pubsub.redis, version: v1, metadata: [{name: redisHost, value: "redis.$ns:6379"}, {name: processingTimeout, value: 5s}, {name: redeliverInterval, value: 5s}]}
		---
		apiVersion: dapr.io/v1alpha1
		kind: Component
		metadata: {name: tick}
		spec: {type: bindings.cron, version: v1, metadata: [{name: schedule, value: "@every 1s"}, {name: direction, value: input}]}
		scopes: [orders]
		---
		apiVersion: dapr.io/v1alpha1
		kind: Component
		metadata: {name: state}
		spec: {type: state.redis, version: v1, metadata: [{name: redisHost, value: "redis.$ns:6379"}, {name: actorStateStore, value: "true"}]}
	Y
	kubectl create namespace "$ns" >/dev/null
	kubectl label namespace "$ns" pod-security.kubernetes.io/enforce=restricted >/dev/null
	secret
	kubectl apply -f <(kubectl kustomize "$work/$ns") >/dev/null || die "apply"
	local deployment
	for deployment in redis orders cart; do
		kubectl -n "$ns" rollout status "deploy/$deployment" --timeout=180s >/dev/null || die "$deployment is not ready"
	done
	dapr_pods | grep -q daprd || die "the webhook has put no daprd into the pods"
}

# dapr_rotate_args: prints the flags of `rotate run`. An app that only knows its environment
# reports nothing; the rotation then waits for fixed times.
dapr_rotate_args() {
	# shellcheck disable=SC2016 # for Kubernetes
	printf '%s' '"--secret=$(NAMESPACE)/app-token", --restart=deployment/orders, --min-age=0s, --output=json, '
	case $way in
	env) printf '%s' --stage-wait=5s, --timeout=60s, --overlap=60s ;;
	*) printf '%s' --agents=orders-admin, --idle=10s ;;
	esac
}

# dapr_pods: prints the names of the pods that are not ending, with their containers.
dapr_pods() {
	kubectl -n "$ns" get pods -l app.kubernetes.io/name=orders --field-selector status.phase=Running -o go-template='{{range .items}}{{if not .metadata.deletionTimestamp}}{{.metadata.name}}{{range .spec.containers}} {{.name}}{{end}}{{"\n"}}{{end}}{{end}}'
}
dapr_count() { kubectl -n "$ns" exec deploy/cart -c cart -- /peer post "http://127.0.0.1:7000/$1"; }

# dapr_measure NAME COMMAND: counts what is lost and refused while the command runs.
dapr_measure() {
	local counts name=$1
	dapr_count start || die "the load does not answer"
	sleep 5
	"$2"
	sleep 5
	counts=$(dapr_count stop) || die "the load does not answer"
	say "$way, $protocol, $replicas replicas, $name: $counts"
	printf '%s\t%s\t%s\t%s\t%s\n' "$protocol" "$replicas" "$name" "$way" "$counts" >>"$dapr_results"
	local what
	for what in published "call good" "app topic good" "app cron good" "app job good"; do
		[ "$(dapr_number "$what")" -gt 0 ] || die "$way, $name: nothing was counted: $what"
	done
	[ "$way" != env ] || return 0
	case $name in
	run | run-* | cronjob* | *-rotations)
		! grep -q 'refused' <<<"$counts" || die "$way, $name: requests were refused"
		local most=0 # in flight in the container that was killed
		[[ $name != *-deaths ]] || most=5
		[ "$(dapr_number lost)" -le "$most" ] || die "$way, $name: messages were lost"
		;;
	esac
}
# dapr_number KEY: prints one of the counts.
dapr_number() {
	local number
	number=$(grep -o "\"$1\":[0-9]*" <<<"$counts") || true
	echo "${number##*:}" | sed 's/^$/0/'
}

dapr_apply() { # a new token, as `kubectl apply` of a changed Secret puts it there
	"$agent" generate | tr -d '\n' | kubectl -n "$ns" create secret generic app-token --from-file=token=/dev/stdin --dry-run=client -o yaml | kubectl replace -f - >/dev/null
}
# dapr_seen: waits until every mount has the Secret. The kubelet takes up to 90 s by itself.
dapr_seen() {
	if [ "${NUDGE:-1}" = 0 ]; then
		sleep 100
		return
	fi
	nudge
	sleep 5
}
# dapr_rollout: restarts the app, and waits until the old pods are gone.
dapr_rollout() {
	local old
	old=$(kubectl -n "$ns" get pods -l app.kubernetes.io/name=orders -o name)
	kubectl -n "$ns" rollout restart deploy/orders >/dev/null
	kubectl -n "$ns" rollout status deploy/orders --timeout=180s >/dev/null || die "$way: the restart does not end"
	# shellcheck disable=SC2086 # several names
	kubectl -n "$ns" wait --for=delete $old --timeout=90s >/dev/null 2>&1 || die "$way: an old pod does not end"
}
# dapr_deaths: kills daprd in one pod, and the app (and its agent) in another one.
dapr_deaths() {
	local one other
	one=$(dapr_kill daprd none) || die "$way: daprd cannot be killed"
	other=$(dapr_kill "peer app" "$one") || die "$way: the app cannot be killed"
	[ "$way" != sidecar ] || kubectl -n "$ns" exec "$other" -c tap -- /peer kill tokenagent >/dev/null || die "$way: the agent cannot be killed"
	sleep 20
}
# dapr_kill PROGRAM EXCEPT: kills a program in a pod other than EXCEPT, and prints the pod's
# name. The pods may be about to be replaced, so it looks again if it fails.
dapr_kill() {
	local pod _
	for _ in $(seq 20); do
		for pod in $(dapr_pods | cut -d' ' -f1); do
			[ "$pod" != "$2" ] && kubectl -n "$ns" exec "$pod" -c tap -- /peer kill "$1" >/dev/null 2>&1 || continue
			echo "$pod"
			return
		done
	done
	return 1
}

dapr_restart() { dapr_rollout; }
dapr_at_once() {
	dapr_apply
	dapr_rollout
}
dapr_later() {
	dapr_apply
	dapr_seen
	sleep 10
	dapr_rollout
}
dapr_after_deaths() { # apply, then deaths, then restart
	dapr_apply
	dapr_seen
	dapr_deaths
	dapr_rollout
}
dapr_staged_deaths() {
	rotate stage
	dapr_seen
	rotate promote --overlap 1h
	dapr_seen
	dapr_deaths
	dapr_rollout
	rotate retire
	dapr_seen
}
# dapr_job NAME [COMMAND]: runs a Job of the CronJob, and the command once it has promoted.
dapr_job() {
	local old
	old=$(key token)
	kubectl -n "$ns" delete job "$1" --ignore-not-found >/dev/null
	kubectl -n "$ns" create job "$1" --from=cronjob/tokenagent-rotation >/dev/null
	dapr_rotated "$1" "$old" "${2:-}"
}
dapr_rotated() {
	if [ -n "$3" ]; then
		until [ "$(key token)" != "$2" ]; do sleep 0.2; done
		"$3"
	fi
	within 300 "$way: the rotation ends" kubectl -n "$ns" wait --for=condition=complete "job/$1" --timeout=1s
	[ "$(key token)" != "$2" ] && [ -z "$(key token-previous)$(key token-next)" ] || die "$way: the rotation is not complete"
}
dapr_run() { dapr_job run; }
dapr_run_deaths() { dapr_job run dapr_deaths; }
dapr_rotations() {
	local round
	for round in $(seq "${DAPR_ROTATIONS:-20}"); do
		dapr_job run
	done
}
# dapr_cronjob [COMMAND]: the CronJob starts the Job by itself, at the next minute.
dapr_cronjob() {
	local old job='' end=$((SECONDS + 90))
	old=$(key token)
	kubectl -n "$ns" delete jobs --all >/dev/null
	kubectl -n "$ns" patch cronjob tokenagent-rotation -p '{"spec": {"suspend": false}}' >/dev/null
	until [ -n "$job" ]; do
		[ "$SECONDS" -lt "$end" ] || die "$way: the CronJob starts no Job"
		sleep 1
		job=$(kubectl -n "$ns" get jobs -o jsonpath='{.items[*].metadata.name}')
	done
	kubectl -n "$ns" patch cronjob tokenagent-rotation -p '{"spec": {"suspend": true}}' >/dev/null
	dapr_rotated "$job" "$old" "${1:-}"
}
dapr_cronjob_deaths() { dapr_cronjob dapr_deaths; }

# dapr_table: writes the results into docs/dapr.md, between its two markers.
dapr_table() {
	local server
	server=$(kubectl version -o json | sed -n '/serverVersion/,$s/.*"gitVersion": "\(.*\)".*/\1/p')
	{
		sed '/<!-- dapr.sh begin -->/q' docs/dapr.md
		printf 'Measured on %s with Dapr %s on Kubernetes %s, by `bash test/kubernetes/run.sh dapr`.\n\n' "$(date -u +%F)" "$dapr_version" "${server#v}"
		awk -F '\t' '
			function n(key) { return match($5, "\"" key "\":[0-9]+") ? substr($5, RSTART + length(key) + 3, RLENGTH - length(key) - 3) : 0 }
			BEGIN {
				split("env embedded sidecar", ways, " ")
				what["restart"] = "restart only"
				what["at-once"] = "apply, restart at once"
				what["later"] = "apply, restart 15 s later"
				what["after-deaths"] = "apply, deaths, restart"
				what["staged-deaths"] = "stage, promote, deaths, restart, retire"
				what["run"] = "`rotate run`"
				what["run-deaths"] = "`rotate run`, deaths"
				what["cronjob"] = "the CronJob"
				what["cronjob-deaths"] = "the CronJob, deaths"
				print "| app | what happens | environment | agent embedded | agent as sidecar |\n|---|---|---|---|---|"
			}
			{
				row = $1 ", " $2 " replicas | " ($3 in what ? what[$3] : $3)
				if (!(row in seen)) { seen[row] = 1; rows[++count] = row }
				cell[row, $4] = n("lost") " / " n("call refused") " / " n("app cron refused") (n("app start refused") > 0 ? " †" : "")
			}
			END {
				for (r = 1; r <= count; r++) {
					line = "| " rows[r]
					for (w = 1; w <= 3; w++) line = line " | " ((rows[r], ways[w]) in cell ? cell[rows[r], ways[w]] : "")
					print line " |"
				}
			}' <(sort -s -t $'\t' -k1,1r -k2,2n "$dapr_results" | sed 's/-rotations\t/ times `rotate run`\t/')
		sed -n '/<!-- dapr.sh end -->/,$p' docs/dapr.md
	} >"$work/dapr.md"
	mv "$work/dapr.md" docs/dapr.md
}
