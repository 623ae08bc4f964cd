package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/tokenagent/tokenagent/agent"
	"github.com/tokenagent/tokenagent/cmd/tokenagent/internal/exitcode"
	"github.com/tokenagent/tokenagent/cmd/tokenagent/internal/realm"
	"github.com/tokenagent/tokenagent/cmd/tokenagent/internal/statusclient"
	"github.com/tokenagent/tokenagent/cmd/tokenagent/internal/termsafe"
)

func newStatus() *cobra.Command {
	var url, output string
	var secure statusclient.TLS
	var timeout time.Duration
	cmd := &cobra.Command{
		Use:   "status",
		Short: "Show what a running agent accepts and who still uses the old token",
		Long: `status asks the admin port of a running agent.

Exit code 0 means that the agent is ready and its sources good, and its file of
realms and the certificates of its listeners if it has those; 1 that it is not
or does not answer.`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := checkOutput(output); err != nil {
				return err
			}
			if timeout <= 0 {
				return exitcode.Usage("--timeout must be above 0s")
			}
			client, err := secure.Client()
			if err != nil {
				return err
			}
			ctx, cancel := context.WithTimeout(cmd.Context(), timeout)
			defer cancel()
			answer, err := client.Ask(ctx, url)
			if errors.Is(err, statusclient.ErrURL) {
				return exitcode.Usage("--agent %w", err)
			}
			if err != nil {
				return err
			}
			s, now := answer.Status, time.Now()
			if output == outputJSON {
				e := json.NewEncoder(cmd.OutOrStdout())
				e.SetIndent("", "  ")
				err = e.Encode(s)
			} else {
				err = printStatus(cmd.OutOrStdout(), s, now)
			}
			if err == nil && !healthy(s, now) {
				err = exitcode.Refused
			}
			return err
		},
	}
	cmd.Flags().StringVar(&url, "agent", "http://127.0.0.1:9464", "`URL` of the agent's admin port, or unix:///path")
	secure.Add(cmd.Flags())
	cmd.Flags().DurationVar(&timeout, "timeout", 5*time.Second, "how long to wait for the answer")
	addOutput(cmd, &output)
	return cmd
}

// healthy reports whether all is well at now.
func healthy(s *realm.Status, now time.Time) bool {
	if s.Config != nil && !s.Config.Good {
		return false
	}
	for _, src := range s.Sources {
		if !src.Ready || !src.LastReloadGood || src.StateFault != "" {
			return false
		}
	}
	for _, c := range s.Certificates {
		if !c.Good || !now.Before(c.NotAfter) {
			return false
		}
	}
	return s.Ready
}

// printStatus writes s for people. What the agent says is text and no more.
func printStatus(w io.Writer, s *realm.Status, now time.Time) error {
	if s.Draining {
		termsafe.Fprintf(w, "not ready: the agent is draining, and about to end\n")
	}
	if c := s.Config; c != nil {
		termsafe.Fprintf(w, "realms: %d from %s, watched by %s, last change %s\n", len(s.Realms), c.File, c.WatchMode, ago(c.LastChange, now))
		if c.Fault != "" {
			termsafe.Fprintf(w, "  fault %s\n", c.Fault)
		}
	}
	for _, c := range s.Certificates {
		clients := ""
		if c.ClientCerts {
			clients = ", clients show one too"
		}
		termsafe.Fprintf(w, "certificate of %s: %s, last change %s%s\n", c.Listener, expiry(c.NotAfter, now), ago(c.LastChange, now), clients)
		if c.Fault != "" {
			termsafe.Fprintf(w, "  fault %s\n", c.Fault)
		}
	}
	for _, src := range s.Sources {
		state := "ready"
		if !src.Ready {
			state = "not ready: no good content yet"
		}
		termsafe.Fprintf(w, "source %s: %s\n", src.Name, state)
		t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
		termsafe.Fprintf(t, "  from\t%s %s, watched by %s\n", src.Kind, src.Location, src.WatchMode)
		termsafe.Fprintf(t, "  generation\t%d, rotated %d times, last change %s\n", src.Generation, src.Rotations, ago(src.LastChange, now))
		termsafe.Fprintf(t, "  last good read\t%s\n", ago(src.LastReloadSuccess, now))
		if src.Fault != "" {
			termsafe.Fprintf(t, "  fault\t%s\n", src.Fault)
		}
		if src.StateFault != "" {
			termsafe.Fprintf(t, "  state file\t%s\n", src.StateFault)
		}
		for _, l := range src.Limits {
			termsafe.Fprintf(t, "  note\t%s\n", l)
		}
		for _, tok := range src.Tokens {
			termsafe.Fprintf(t, "  %s\t%s%s\n", tok.Slot, tok.Fingerprint, about(tok, now))
		}
		if src.Revoked > 0 {
			termsafe.Fprintf(t, "  revoked\t%d\n", src.Revoked)
		}
		for _, u := range src.PreviousUsers {
			termsafe.Fprintf(t, "  used by\t%s with %s, last %s\n", u.Host, u.Fingerprint, ago(u.Last, now))
		}
		if err := t.Flush(); err != nil {
			return err
		}
	}
	return nil
}

func about(t agent.TokenStatus, now time.Time) string {
	var s strings.Builder
	if t.KeyID != "" {
		fmt.Fprintf(&s, ", kid %s", readable(t.KeyID))
	}
	if t.Algorithm != "" {
		fmt.Fprintf(&s, ", %s", t.Algorithm)
	}
	switch {
	case t.Waiting:
		fmt.Fprintf(&s, ", accepted until the new one has been used, at most another %s", t.Deadline.Sub(now).Round(time.Second))
	case !t.Cap.IsZero():
		fmt.Fprintf(&s, ", accepted for another %s, or up to %s with use", t.Deadline.Sub(now).Round(time.Second), t.Cap.Sub(now).Round(time.Second))
	case !t.Deadline.IsZero():
		fmt.Fprintf(&s, ", accepted for another %s", t.Deadline.Sub(now).Round(time.Second))
	case t.Slot == "previous":
		s.WriteString(", accepted while the source declares it")
	}
	if t.Slot == "previous" {
		fmt.Fprintf(&s, ", last used %s", ago(t.LastUsed, now))
	}
	if !t.Expires.IsZero() {
		fmt.Fprintf(&s, ", a JWT with exp %s", t.Expires.Format(time.RFC3339))
	}
	return s.String()
}

// expiry says how long a certificate is good.
func expiry(until, now time.Time) string {
	at := until.UTC().Format(time.RFC3339)
	if !now.Before(until) {
		return "EXPIRED at " + at + ", clients refuse it"
	}
	left := until.Sub(now).Round(time.Second)
	if days := int(left / (24 * time.Hour)); days >= 2 {
		return fmt.Sprintf("good until %s, another %d days", at, days)
	}
	return fmt.Sprintf("good until %s, another %s", at, left)
}

func ago(t, now time.Time) string {
	if t.IsZero() {
		return "never"
	}
	return now.Sub(t).Round(time.Second).String() + " ago"
}
