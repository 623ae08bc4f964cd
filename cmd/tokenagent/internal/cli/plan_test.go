package cli

import (
	"encoding/json"
	"path/filepath"
	"strings"
	"testing"
)

// TestPlan checks that plan reads variables and quotes no misplaced value.
func TestPlan(t *testing.T) {
	invoke(t, "", "plan", "--rotations", "20").want(t, 0, "tokenagent rotate promote --overlap 11m | kubectl", "or all of it: tokenagent rotate run --stage-wait ", " --overlap 11m --idle 10m5s --secret NAMESPACE/NAME --agents SERVICE --restart deployment/NAME\n", "safe")
	invoke(t, "", "plan", good).want(t, 2, "plan takes no arguments")
	invoke(t, "", "plan", "--kubelet-sync", good).want(t, 2, "tokenagent: --kubelet-sync must be a duration")
	for flag, says := range map[string]string{
		"--output": "text or json", "--protocol": "staged, now or replace", "--detection": "watch, cache or get",
		"--watch": "poll or events", "--sender": "restart, exec or transport",
	} {
		invoke(t, "", "plan", flag, good).want(t, 2, "tokenagent: "+flag+" must be "+says)
	}
	invoke(t, "", "plan", "--sender-restart", "fixed:"+good).want(t, 2, "tokenagent: --sender-restart has the form fixed:D", "see 'tokenagent plan --help'")
	invoke(t, "", "plan", "--stage-wait", "1s", "--protocol", "now").want(t, 2, "--stage-wait needs --protocol staged; add that, or leave it out")

	// The command line wins over the environment.
	t.Setenv("TOKENAGENT_REPLICAS", "9")
	invoke(t, "", "plan", "--rotations", "20").want(t, 0, "9 receivers: ", "9 senders: ")
	invoke(t, "", "plan", "--rotations", "20", "--receivers", "2").want(t, 0, "2 receivers: ", "3 senders: ")

	// Variables for run and exec do not affect plan.
	t.Setenv("TOKENAGENT_OVERLAP", "5m")
	t.Setenv("TOKENAGENT_MAX_OVERLAP", "1h")
	t.Setenv("TOKENAGENT_RESTART_DELAY", "1m")
	o := invoke(t, "", "plan", "--rotations", "20")
	o.want(t, 0, "--overlap 5m is too short: 11m is safe")
	if strings.Contains(o.out, "1h") {
		t.Errorf("a cap without a window that slides:\n%s", o.out)
	}
}

// TestPlanAdvisesWhatIsAccepted runs each command line that plan advises, for extreme
// settings as well.
func TestPlanAdvisesWhatIsAccepted(t *testing.T) {
	t.Setenv("PATH", t.TempDir()) // CMD is not found there
	dir := t.TempDir()
	bad := filepath.Join(dir, "token")
	sliding := []string{"--protocol", "replace", "--sliding"}
	seen := map[string]int{}
	for _, args := range [][]string{
		{},
		{"--overlap", "0s"},
		{"--overlap", "1ns", "--stage-wait", "0s"},
		{"--overlap", "720h"},
		{"--protocol", "now"},
		{"--sender", "exec"},
		{"--sender", "exec", "--restart-delay", "0s"},
		{"--sender", "exec", "--restart-delay", "720h"},
		{"--protocol", "replace"},
		{"--protocol", "replace", "--overlap", "0s"},
		sliding,
		append(sliding, "--overlap", "1ns"),
		append(sliding, "--sender-restart", "exponential:10m"),
		append(sliding, "--newcomers", "0", "--watch", "events", "--sender-restart", "fixed:5m", "--in-flight", "0s"),
		append(sliding, "--newcomers", "0", "--watch", "events", "--sender", "transport", "--in-flight", "0s"),
	} {
		args = append([]string{"plan", "--rotations", "20", "--kubelet-sync", "0s", "--output", "json"}, args...)
		o := invoke(t, "", args...)
		var answer struct{ Next []string }
		if err := json.Unmarshal([]byte(o.out), &answer); err != nil {
			t.Fatalf("%v: %v\n%s", args, err, o.errOut)
		}
		for _, step := range answer.Next {
			var command []string
			if _, flags, ok := strings.Cut(step, "run the agents, or the apps that embed them, with "); ok {
				command = append([]string{"run", "--token-file", bad}, strings.Fields(flags)...)
			} else if _, flags, ok := strings.Cut(step, "under tokenagent "); ok {
				command = append(strings.Fields(flags), "--token-file", bad, "--", "cmd")
			} else if words, ok := strings.CutPrefix(step, "tokenagent "); ok {
				command = strings.Fields(strings.Replace(words, "PATH", bad, 1))
			} else {
				continue
			}
			seen[command[0]]++
			// There is no token, so valid flags end with 1.
			if o := invoke(t, "", command...); o.code != 1 || !strings.Contains(o.errOut, bad) {
				t.Errorf("%v advises %q, which ends with %d:\n%s", args, step, o.code, o.errOut)
			}
		}
	}
	for _, command := range []string{"run", "exec", "rotate"} {
		if seen[command] < 3 {
			t.Errorf("%s was advised %d times", command, seen[command])
		}
	}
}
