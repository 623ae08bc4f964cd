package cli

import (
	"strings"
	"testing"
)

// plan speaks with the one voice, takes its flags from the environment, and
// quotes no value that went astray.
func TestPlan(t *testing.T) {
	invoke(t, "", "plan", "--rotations", "20").want(t, 0, "tokenagent rotate promote --overlap 11m | kubectl", "safe")
	invoke(t, "", "plan", good).want(t, 2, "plan takes no arguments")
	invoke(t, "", "plan", "--kubelet-sync", good).want(t, 2, "tokenagent: --kubelet-sync is not of the form duration")
	invoke(t, "", "plan", "--sender-restart", "fixed:"+good).want(t, 2, "tokenagent: --sender-restart has the form fixed:D", "see 'tokenagent plan --help'")
	invoke(t, "", "plan", "--stage-wait", "1s", "--protocol", "now").want(t, 2, "--stage-wait goes with --protocol staged")

	// Variables for run and exec do not hinder plan.
	t.Setenv("TOKENAGENT_OVERLAP", "5m")
	t.Setenv("TOKENAGENT_MAX_OVERLAP", "1h")
	t.Setenv("TOKENAGENT_RESTART_DELAY", "1m")
	o := invoke(t, "", "plan", "--rotations", "20")
	o.want(t, 0, "--overlap 5m is too short: 11m is safe")
	if strings.Contains(o.out, "1h") {
		t.Errorf("a cap without a window that slides:\n%s", o.out)
	}
}
