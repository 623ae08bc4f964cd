package plan

import (
	"strings"
	"testing"

	"github.com/tokenagent/tokenagent/cmd/tokenagent/internal/exitcode"
)

func TestUsage(t *testing.T) {
	for args, says := range map[string]string{
		"--receivers 0":                       "--receivers must be from 1 to 100000",
		"--receivers 100001":                  "--receivers must be from 1 to 100000",
		"--senders 0":                         "--senders must be from 1 to 100000",
		"--replicas 0":                        "--replicas must be from 1 to 100000",
		"--replicas 100001":                   "--replicas must be from 1 to 100000",
		"--replicas 2 --receivers 2":          "--replicas replaces --receivers and --senders",
		"--replicas 2 --senders 3":            "--replicas replaces --receivers and --senders",
		"--newcomers -1":                      "--newcomers must be from 0 to 100000",
		"--rotations -1":                      "--rotations must be from 0 to 100000",
		"--request-rate 0":                    "--request-rate must be above 0",
		"--request-rate NaN":                  "--request-rate must be above 0",
		"--request-rate Inf":                  "--request-rate must be above 0",
		"--risk 0":                            "--risk must be a chance from 1e-12",
		"--risk 1":                            "--risk must be a chance from 1e-12",
		"--risk NaN":                          "--risk must be a chance from 1e-12",
		"--kubelet-sync -1s":                  "--kubelet-sync must be from 0s to 720h",
		"--detection cache --cache-ttl 721h":  "--cache-ttl must be from 0s to 720h",
		"--poll-interval -1s":                 "--poll-interval must be from 0s to 720h",
		"--poll-interval 0s":                  "--poll-interval must be above 0s; if the agents do not poll, give --watch events",
		"--debounce -1s":                      "--debounce must be",
		"--sender exec --restart-delay -1s":   "--restart-delay must be",
		"--in-flight 800h":                    "--in-flight must be",
		"--clock-skew -1s":                    "--clock-skew must be",
		"--stage-wait -1s":                    "--stage-wait must be",
		"--overlap -1s":                       "--overlap must be",
		"--protocol now --stage-wait 1s":      "--stage-wait needs --protocol staged; add that, or leave it out",
		"--sliding":                           "--sliding needs --protocol replace",
		"--protocol replace --max-overlap 1h": "--max-overlap needs --protocol replace and --sliding",
		"--protocol replace --sliding --max-overlap 1m":  "--max-overlap is shorter than the overlap, 11m; give at least as much",
		"--protocol replace --sliding --max-overlap -1s": "--max-overlap must be",
		"--kubelet-sync 0s --detection get":              "--detection needs a kubelet",
		"--cache-ttl 1m":                                 "--cache-ttl needs --detection cache",
		"--watch events --poll-interval 1s":              "--poll-interval needs --watch poll",
		"--restart-delay 1s":                             "--restart-delay needs --sender exec",
		"--sender transport --sender-restart fixed:1s":   "--sender-restart needs --sender restart or exec, since a transport does not restart",
		"--sender-restart 10m":                           "--sender-restart has the form fixed:D, uniform:D..D",
		"--sender-restart=":                              "--sender-restart has the form",
		"--delivery uniform:2s..1s":                      "--delivery: uniform ends before it begins",
	} {
		out, errs, err := run(t.Context(), strings.Fields(args)...)
		if exitcode.Of(err) != 2 {
			t.Errorf("plan %s: exit code %d, want 2 (%v)", args, exitcode.Of(err), err)
			continue
		}
		if !strings.Contains(err.Error(), says) {
			t.Errorf("plan %s: %v; want %q", args, err, says)
		}
		if out != "" || errs != "" {
			t.Errorf("plan %s prints:\n%s%s", args, out, errs)
		}
	}
	for _, name := range []string{"sender-restart", "delivery"} {
		for _, value := range []string{canary, "fixed:" + canary, "uniform:1s.." + canary} {
			if _, _, err := run(t.Context(), "--"+name, value); err == nil || strings.Contains(err.Error(), "CANARY") {
				t.Errorf("--%s: %v", name, err)
			}
		}
	}
}
