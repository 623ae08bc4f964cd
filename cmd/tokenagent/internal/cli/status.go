package cli

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/tokenagent/tokenagent/agent"
	"github.com/tokenagent/tokenagent/cmd/tokenagent/internal/choice"
	"github.com/tokenagent/tokenagent/cmd/tokenagent/internal/clients"
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

Exit code 0 means that the agent is ready, and that its sources, its file of realms
and its certificates are good. Otherwise, or without an answer, the exit code is 1.`,
		RunE: func(cmd *cobra.Command, _ []string) error {
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
			return printAnswer(cmd, output, s, statusText(s, now), healthy(s, now))
		},
	}
	cmd.Flags().StringVar(&url, "agent", "http://127.0.0.1:9464", "`URL` of the agent's admin port, or unix:///path")
	secure.Add(cmd.Flags())
	cmd.Flags().DurationVar(&timeout, "timeout", 5*time.Second, "`DURATION` to wait for the answer")
	choice.AddOutput(cmd.Flags(), &output)
	return cmd
}

func healthy(s *realm.Status, now time.Time) bool {
	if s.Config != nil && !s.Config.Good {
		return false
	}
	for _, src := range s.Sources {
		if !src.Ready || !src.LastReloadGood || src.StateError != "" {
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

// statusText returns s for people. It escapes texts of the agent that could control the
// terminal.
func statusText(s *realm.Status, now time.Time) string {
	var b strings.Builder
	printf := func(format string, args ...any) { termsafe.Fprintf(&b, format, args...) }
	if s.Draining {
		printf("not ready: the agent is draining and will end soon\n")
	}
	if c := s.Config; c != nil {
		printf("realms: %d from %s, watched by %s, last change %s\n", len(s.Realms), c.File, c.WatchMode, ago(c.LastChange, now))
		if c.Error != "" {
			printf("  error %s\n", c.Error)
		}
	}
	for _, c := range s.Certificates {
		clients := ""
		if c.ClientCerts {
			clients = ", clients must present one too"
		}
		printf("certificate of %s: %s, last change %s%s\n", c.Listener, expiry(c.NotAfter, now), ago(c.LastChange, now), clients)
		if c.Error != "" {
			printf("  error %s\n", c.Error)
		}
	}
	for _, src := range s.Sources {
		printSource(&b, src, now)
	}
	return b.String()
}

func printSource(b *strings.Builder, src agent.SourceStatus, now time.Time) {
	state := "ready"
	if !src.Ready {
		state = "not ready: no good content yet"
	}
	termsafe.Fprintf(b, "source %s: %s\n", src.Name, state)
	t := tabwriter.NewWriter(b, 0, 0, 2, ' ', 0)
	row := func(name, format string, args ...any) {
		termsafe.Fprintf(t, "  %s\t", name)
		termsafe.Fprintf(t, format+"\n", args...)
	}
	row("from", "%s %s, watched by %s", src.Kind, src.Location, src.WatchMode)
	row("generation", "%d, rotated %d times, last change %s", src.Generation, src.Rotations, ago(src.LastChange, now))
	row("last good read", "%s", ago(src.LastReloadSuccess, now))
	if src.Error != "" {
		row("error", "%s", src.Error)
	}
	if src.StateError != "" {
		row("state file", "%s", src.StateError)
	}
	for _, l := range src.Limits {
		row("note", "%s", l)
	}
	all := clients.Group(src.Tokens, now)
	if summary := clients.Summary(all); summary != "" {
		row("clients", "%s", summary)
	}
	for _, c := range all {
		for _, tok := range c.Tokens {
			row(tok.Slot, "%s%s", tok.Fingerprint, ofClient(c.Name)+about(tok, now))
		}
	}
	if src.Revoked > 0 {
		row("revoked", "%d", src.Revoked)
	}
	for _, u := range src.PreviousUsers {
		row("used by", "%s with %s%s, last %s", u.Host, u.Fingerprint, ofClient(u.Client), ago(u.Last, now))
	}
	_ = t.Flush() // a strings.Builder does not fail
}

// ofClient returns " of client " and the name, or "" for the unnamed client.
func ofClient(name string) string {
	if name == "" {
		return ""
	}
	return " of client " + name
}

// about describes a token or key.
func about(t agent.TokenStatus, now time.Time) string {
	var s strings.Builder
	left := func(t time.Time) time.Duration { return t.Sub(now).Round(time.Second) }
	if t.KeyID != "" {
		fmt.Fprintf(&s, ", kid %s", readable(t.KeyID))
	}
	if t.Algorithm != "" {
		fmt.Fprintf(&s, ", %s", t.Algorithm)
	}
	switch {
	case t.Waiting:
		fmt.Fprintf(&s, ", accepted until the new one has been used, at most another %s", left(t.Deadline))
	case !t.Cap.IsZero():
		fmt.Fprintf(&s, ", accepted for another %s, or up to %s with use", left(t.Deadline), left(t.Cap))
	case !t.Deadline.IsZero():
		fmt.Fprintf(&s, ", accepted for another %s", left(t.Deadline))
	case t.Slot == "previous":
		s.WriteString(", accepted while the source declares it")
	}
	if t.Slot == "previous" || t.Client != "" {
		fmt.Fprintf(&s, ", last used %s", ago(t.LastUsed, now))
	}
	if t.Client != "" {
		s.WriteString(", " + clients.Count(t.Uses, "use"))
	}
	if !t.Expires.IsZero() {
		fmt.Fprintf(&s, ", a JWT with exp %s", t.Expires.Format(time.RFC3339))
	}
	return s.String()
}

// expiry describes how long a certificate is valid.
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
