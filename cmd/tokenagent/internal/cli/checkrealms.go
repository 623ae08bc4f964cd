package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/tokenagent/tokenagent/agent"
	"github.com/tokenagent/tokenagent/cmd/tokenagent/internal/exitcode"
	"github.com/tokenagent/tokenagent/cmd/tokenagent/internal/realm"
	"github.com/tokenagent/tokenagent/cmd/tokenagent/internal/termsafe"
	"github.com/tokenagent/tokenagent/pkg/reload"
)

// A realmsReport is all that check has to say of a file of realms.
type realmsReport struct {
	OK     bool           `json:"ok"`
	Realms []*realmReport `json:"realms"`
}

type realmReport struct {
	Name  string   `json:"name"`
	Hosts []string `json:"hosts,omitempty"`
	report
}

// checkRealms explains a file of realms, and the sources of each.
func checkRealms(cmd *cobra.Command, path, output string) error {
	if err := realmsAlone(cmd); err != nil {
		return err
	}
	data, err := os.ReadFile(path)
	if err != nil {
		return fmt.Errorf("--config: %w", err)
	}
	plan, err := realmParser(path, slog.New(slog.DiscardHandler))(reload.Content{Data: data, Path: path})
	if err != nil {
		return err
	}
	all := &realmsReport{OK: true}
	for _, spec := range plan.Specs {
		r, err := examineRealm(cmd.Context(), spec)
		if err != nil {
			return err
		}
		all.OK = all.OK && r.OK
		all.Realms = append(all.Realms, r)
	}
	if err := all.print(cmd.OutOrStdout(), output); err != nil {
		return err
	}
	if !all.OK {
		return exitcode.Refused
	}
	return nil
}

func examineRealm(ctx context.Context, spec realm.Spec) (*realmReport, error) {
	r := &realmReport{Name: spec.Name, Hosts: spec.Hosts}
	cfg := spec.Config
	cfg.PollOnly, cfg.WaitForSource, cfg.StateFile = true, true, ""
	a, err := agent.Start(ctx, cfg)
	switch {
	case ctx.Err() != nil:
		return nil, err
	case err != nil:
		r.add("error", "%s", err)
		return r, nil
	}
	defer a.Close()
	r.report = *examine(a.Status().Sources, time.Now())
	return r, nil
}

func (r *realmsReport) print(w io.Writer, form string) error {
	if form == outputJSON {
		e := json.NewEncoder(w)
		e.SetIndent("", "  ")
		return e.Encode(r)
	}
	var b strings.Builder
	var bad []string
	for _, one := range r.Realms {
		fmt.Fprintf(&b, "realm %s", one.Name)
		if len(one.Hosts) > 0 {
			fmt.Fprintf(&b, " (%s)", strings.Join(one.Hosts, ", "))
		}
		b.WriteString(":\n")
		for _, f := range one.Findings {
			text := f.Text
			if f.Level != "info" {
				text = f.Level + ": " + text
			}
			b.WriteString("  " + termsafe.Lines(text) + "\n")
		}
		if !one.OK {
			bad = append(bad, one.Name)
		}
	}
	if r.OK {
		fmt.Fprintf(&b, "good: an agent would start on it, with %d realms\n", len(r.Realms))
	} else {
		fmt.Fprintf(&b, "bad: realms that would not start, or accept nothing: %s\n", strings.Join(bad, ", "))
	}
	_, err := io.WriteString(w, b.String())
	return err
}
