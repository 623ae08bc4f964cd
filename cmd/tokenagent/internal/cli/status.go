package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/tokenagent/tokenagent/agent"
	"github.com/tokenagent/tokenagent/cmd/tokenagent/internal/fail"
)

func newStatus() *cobra.Command {
	var url, output string
	var timeout time.Duration
	cmd := &cobra.Command{
		Use:   "status",
		Short: "Show what a running agent accepts and who still uses the old token",
		Long: `status asks the admin port of a running agent.

Exit code 0 means that the agent is ready and its source good, 1 that it is not
or does not answer.`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := checkOutput(output); err != nil {
				return err
			}
			ctx, cancel := context.WithTimeout(cmd.Context(), timeout)
			defer cancel()
			s, err := askStatus(ctx, url)
			if err != nil {
				return err
			}
			if output == outputJSON {
				e := json.NewEncoder(cmd.OutOrStdout())
				e.SetIndent("", "  ")
				err = e.Encode(s)
			} else {
				err = printStatus(cmd.OutOrStdout(), s, time.Now())
			}
			if err == nil && !healthy(s) {
				err = fail.Refused
			}
			return err
		},
	}
	cmd.Flags().StringVar(&url, "agent", "http://127.0.0.1:9464", "`URL` of the agent's admin port, or unix:///path")
	cmd.Flags().DurationVar(&timeout, "timeout", 5*time.Second, "how long to wait for the answer")
	addOutput(cmd, &output)
	return cmd
}

func healthy(s *agent.Status) bool {
	for _, src := range s.Sources {
		if !src.Ready || !src.LastReloadGood {
			return false
		}
	}
	return s.Ready
}

// askStatus fetches /status from the admin port at base.
func askStatus(ctx context.Context, base string) (*agent.Status, error) {
	transport := &http.Transport{DisableKeepAlives: true}
	if path, ok := strings.CutPrefix(base, "unix://"); ok {
		base = "http://agent"
		transport.DialContext = func(ctx context.Context, _, _ string) (net.Conn, error) {
			var d net.Dialer
			return d.DialContext(ctx, "unix", path)
		}
	}
	u, err := url.Parse(base)
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
		return nil, fail.Usage("--agent must be a URL such as http://127.0.0.1:9464, or unix:///path")
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, u.JoinPath("status").String(), nil)
	if err != nil {
		return nil, fail.Usage("--agent: %w", err)
	}
	res, err := (&http.Client{Transport: transport}).Do(req)
	if err != nil {
		return nil, fmt.Errorf("no answer from the agent: %w; is it running, and is --agent its --admin-listen?", err)
	}
	defer res.Body.Close()
	var s agent.Status
	if res.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("%s answers %s; --agent must be the admin port of a tokenagent", u.Host, res.Status)
	}
	if err := json.NewDecoder(io.LimitReader(res.Body, 16<<20)).Decode(&s); err != nil {
		return nil, fmt.Errorf("%s does not answer with a status; --agent must be the admin port of a tokenagent", u.Host)
	}
	if s.Schema != agent.StatusSchema {
		return nil, fmt.Errorf("the agent's status has schema %d, this program knows %d; use the version of the agent", s.Schema, agent.StatusSchema)
	}
	return &s, nil
}

func printStatus(w io.Writer, s *agent.Status, now time.Time) error {
	for _, src := range s.Sources {
		state := "ready"
		if !src.Ready {
			state = "not ready: no good content yet"
		}
		fmt.Fprintf(w, "source %s: %s\n", src.Name, state)
		t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
		fmt.Fprintf(t, "  from\t%s %s, watched by %s\n", src.Kind, src.Location, src.WatchMode)
		fmt.Fprintf(t, "  generation\t%d, rotated %d times, last change %s\n", src.Generation, src.Rotations, ago(src.LastChange, now))
		fmt.Fprintf(t, "  last good read\t%s\n", ago(src.LastReloadSuccess, now))
		if src.Fault != "" {
			fmt.Fprintf(t, "  fault\t%s\n", src.Fault)
		}
		for _, l := range src.Limits {
			fmt.Fprintf(t, "  note\t%s\n", l)
		}
		for _, tok := range src.Tokens {
			fmt.Fprintf(t, "  %s\t%s%s\n", tok.Slot, tok.Fingerprint, about(tok, now))
		}
		if src.Revoked > 0 {
			fmt.Fprintf(t, "  revoked\t%d\n", src.Revoked)
		}
		for _, u := range src.PreviousUsers {
			fmt.Fprintf(t, "  used by\t%s with %s, last %s\n", u.Host, u.Fingerprint, ago(u.Last, now))
		}
		if err := t.Flush(); err != nil {
			return err
		}
	}
	return nil
}

func about(t agent.TokenStatus, now time.Time) string {
	var s strings.Builder
	if !t.Deadline.IsZero() {
		fmt.Fprintf(&s, ", accepted for another %s", t.Deadline.Sub(now).Round(time.Second))
	} else if t.Slot == "previous" {
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

func ago(t, now time.Time) string {
	if t.IsZero() {
		return "never"
	}
	return now.Sub(t).Round(time.Second).String() + " ago"
}
