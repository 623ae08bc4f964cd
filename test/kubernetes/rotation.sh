# The case rotate-run of run.sh, which sources this file after lib.sh and accounts.sh.
# shellcheck shell=bash disable=SC2034,SC2154

# A Job of the CronJob in deploy/rotation rotates the Secret of case_sidecar and restarts
# the sender, while the sender sends requests. The Job's pod is deleted in the middle, and
# the next one goes on. No request may be refused, and the old token is refused at the end.
case_rotate_run() {
	local old new pod
	reach=http path=/ container=tokenagent label=app.kubernetes.io/name=orders port=8080
	wrap sidecar/base <<-Y
		  - ../../../deploy/rotation
		components:
		  - ../../../deploy/rotation/network-policy
		images:
		  - {name: registry.example/orders, newName: tokenagent/peer, newTag: $tag}
		patches:
		  - target: {kind: Deployment}
		    patch: |-
		      - {op: add, path: /spec/template/spec/containers/0/args, value: [serve, "127.0.0.1:3000"]}
		  - target: {kind: Role}
		    patch: |-
		      - {op: replace, path: /rules/1/resourceNames, value: [sender]}
		  - target: {kind: CronJob}
		    patch: |-
		      - {op: replace, path: /spec/jobTemplate/spec/template/spec/containers/0/args/4, value: --restart=deployment/sender}
		      - {op: add, path: /spec/jobTemplate/spec/template/spec/containers/0/args/-, value: --overlap=4m}
		      - {op: add, path: /spec/jobTemplate/spec/template/spec/containers/0/args/-, value: --idle=20s}
	Y
	find_api_server
	if [ -n "$api_host" ]; then
		cat >>"$work/$ns/kustomization.yaml" <<-Y
			      - {op: add, path: /spec/jobTemplate/spec/template/spec/hostNetwork, value: true}
			      - {op: add, path: /spec/jobTemplate/spec/template/spec/containers/0/env/-, value: {name: KUBERNETES_SERVICE_HOST, value: "$api_host"}}
			      - {op: add, path: /spec/jobTemplate/spec/template/spec/containers/0/env/-, value: {name: KUBERNETES_SERVICE_PORT, value: "$api_port"}}
		Y
	fi
	kubectl create namespace "$ns" >/dev/null
	secret
	kubectl apply -k "$work/$ns" >/dev/null
	kubectl -n "$ns" rollout status deploy/orders --timeout=180s >/dev/null || die "the app is not ready"
	sender "http://$(agents | head -n 1):8080/orders/1"
	old=$(key token)
	within 120 "the first token is accepted" answers 200 "$old"
	kubectl -n "$ns" logs -f deploy/sender >"$work/sender.log" 2>/dev/null &
	kubectl -n "$ns" create job --from=cronjob/tokenagent-rotation rotate >/dev/null
	within 120 "the Job stages a token" staged
	new=$(key token-next)
	pod=$(kubectl -n "$ns" get pods -l app.kubernetes.io/component=rotation -o name)
	kubectl -n "$ns" delete "$pod" --grace-period=0 --force >/dev/null 2>&1
	within 180 "the next pod of the Job promotes the same token" promoted "$new"
	within 120 "the sender sends the new token" sends "$new"
	within 300 "the Job completes" completed
	wait
	[ "$(key token)" = "$new" ] || die "the rotation made a second token"
	within 120 "the old token is refused once retired" answers 401 "$old"
	answers 200 "$new" || die "the new token is refused"
	[[ $(tail -n 1 "$work/sender.log") == good=[1-9]*" refused=0 failed=0 "* ]] || die "requests of the first sender were refused: $(grep -v ' refused=0 failed=0 ' "$work/sender.log" | head -n 3)"
	tally
	kubectl -n "$ns" logs job/rotate --tail=-1 >"$work/rotate-run.log"
	! grep -qF -e "$old" -e "$new" "$work/rotate-run.log" || die "the Job's log contains a token"
	[ -n "$(kubectl -n "$ns" get events --field-selector involvedObject.name=app-token -o name)" ] || die "the Secret has no Event"
	kubectl -n "$ns" create job --from=cronjob/tokenagent-rotation again >/dev/null
	within 120 "a second Job right after does nothing" kubectl -n "$ns" wait --for=condition=complete job/again --timeout=1s
	[ "$(key token)" = "$new" ] && [ -z "$(key token-next)" ] || die "a second Job right after the first rotated again"
}
staged() { [ -n "$(key token-next)" ]; }
promoted() { [ "$(key token)" = "$1" ]; }
completed() { kubectl -n "$ns" wait --for=condition=complete job/rotate --timeout=1s; }
