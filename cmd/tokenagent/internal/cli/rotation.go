package cli

import (
	"time"

	"github.com/spf13/cobra"

	"github.com/tokenagent/tokenagent/agent"
	"github.com/tokenagent/tokenagent/cmd/tokenagent/internal/fail"
)

// rotationFlags say how what a source holds is watched, read and superseded, and
// where in a request it stands.
type rotationFlags struct {
	header                              []string
	overlap, maxOverlap, poll, debounce time.Duration
	stateFile                           string
	wait                                bool
}

func (r *rotationFlags) add(cmd *cobra.Command) {
	f := cmd.Flags()
	f.StringArrayVar(&r.header, "header", nil, "`NAME` of the header that holds the token; repeatable, the first one present decides (default dapr-api-token, Authorization)")
	f.DurationVar(&r.overlap, "overlap", agent.DefaultOverlap, "`DURATION` for which a superseded token or key stays accepted after its last use, counted at the earliest from the first use of the new one; 0s means not at all")
	f.DurationVar(&r.maxOverlap, "max-overlap", 0, "`DURATION` after which a superseded token or key is refused, however much it is used; negative makes the overlap fixed (default 24h, or --overlap where that is longer)")
	f.StringVar(&r.stateFile, "state-file", "", "`PATH` of a file in which superseded tokens, superseded keys and revocations outlive a restart; mode 0600, in a directory that others cannot write")
	f.DurationVar(&r.poll, "poll-interval", 10*time.Second, "how often the source is read whatever the file system reports; 0s means never")
	f.DurationVar(&r.debounce, "debounce", time.Second, "how long a file written in place must be quiet; 0s believes it at once")
	f.BoolVar(&r.wait, "wait-for-source", false, "start even if the source has no good content, and answer 503 until it has")
}

// config puts the flags into cfg.
func (r *rotationFlags) config(cfg *agent.Config) (err error) {
	if cfg.Overlap, err = span("overlap", r.overlap); err != nil {
		return err
	}
	if r.maxOverlap > 0 && r.maxOverlap < r.overlap {
		return fail.Usage("{max-overlap} must be at least {overlap}, %s", r.overlap)
	}
	if r.maxOverlap > 0 && r.overlap == 0 {
		return fail.Usage("{max-overlap} needs {overlap}, and that is 0s")
	}
	cfg.MaxOverlap, cfg.StateFile, cfg.WaitForSource = r.maxOverlap, r.stateFile, r.wait
	if cfg.Poll, err = span("poll-interval", r.poll); err != nil {
		return err
	}
	if r.poll > 0 && r.poll < 10*time.Millisecond {
		return fail.Usage("{poll-interval} must be at least 10ms, or 0s for never")
	}
	cfg.Debounce, err = span("debounce", r.debounce)
	return err
}
