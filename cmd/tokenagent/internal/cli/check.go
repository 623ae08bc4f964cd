package cli

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/tokenagent/tokenagent/agent"
	"github.com/tokenagent/tokenagent/cmd/tokenagent/internal/config"
	"github.com/tokenagent/tokenagent/cmd/tokenagent/internal/exitcode"
	"github.com/tokenagent/tokenagent/cmd/tokenagent/internal/realm"
	"github.com/tokenagent/tokenagent/cmd/tokenagent/internal/termsafe"
	"github.com/tokenagent/tokenagent/pkg/reload"
)

func newCheck() *cobra.Command {
	r := config.Defaults()
	var output, configFile string
	cmd := &cobra.Command{
		Use:   "check",
		Short: "Explain a source of tokens or keys in plain words, before anything depends on it",
		Long: `check reads a source once, as an agent would, and explains it: the tokens by slot
and fingerprint, who may read it, whether it can ever update, and when tokens that
are JWTs expire; of a key source each key by slot, fingerprint (the first 8 hex
digits of its RFC 7638 thumbprint), kid and algorithm. With --config it reads a file
of realms, and the sources of each.

Exit code 0 means that an agent would start on it, warnings apart; 1 that it
would not, or would accept nothing.`,
		Example: `  tokenagent check --token-file /var/run/secrets/app-api-token
  tokenagent check --key-file jwks.json
  tokenagent check --config realms.yaml`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			// A flag that names a source wins over a variable that names a file of realms,
			// which may be meant for run.
			if configFile != "" && (cmd.Flags().Changed("config") || realmsAlone(cmd) == nil) {
				return checkRealms(cmd, configFile, output)
			}
			cfg, err := agentConfig(cmd, &r, config.Check, slog.New(slog.DiscardHandler))
			if err != nil {
				return err
			}
			fillJWT(&cfg)
			found, err := examine(cmd.Context(), cfg)
			if err != nil {
				return err
			}
			if r.Keys.Given() && (r.Keys.Issuer == "" || len(r.Keys.Audiences) == 0) {
				found.add("info", "signed tokens are accepted with an --issuer and an --audience alone: check does without, run needs both")
			}
			if output == outputJSON {
				err = writeJSON(cmd.OutOrStdout(), found)
			} else {
				verdict := "good: an agent would start on it"
				if !found.OK {
					verdict = "bad: an agent would not start on it, or accept nothing"
				}
				_, err = io.WriteString(cmd.OutOrStdout(), found.text("")+verdict+"\n")
			}
			if err == nil && !found.OK {
				err = exitcode.Refused
			}
			return err
		},
	}
	cmd.Flags().StringVar(&configFile, "config", "", "`FILE` of realms, instead of one source")
	addRealmFlags(cmd, &r, config.Tokens, config.Signed)
	addOutput(cmd, &output)
	return cmd
}

// fillJWT sets the issuer and the audience, which an agent requires, for a command to
// which they are not given. No token can have this value (RFC 2606 section 2).
func fillJWT(cfg *agent.Config) {
	const nobody = "https://issuer.invalid"
	cfg.JWT.Issuer = cmp.Or(cfg.JWT.Issuer, nobody)
	if len(cfg.JWT.Audiences) == 0 {
		cfg.JWT.Audiences = []string{nobody}
	}
}

// A report is the answer of check about one realm, or without realms.
type report struct {
	OK       bool                `json:"ok"`
	Findings []finding           `json:"findings"`
	Source   *agent.SourceStatus `json:"source,omitempty"` // of tokens
	Keys     *agent.SourceStatus `json:"keys,omitempty"`
}

type finding struct {
	Level string `json:"level"` // info, warning or error
	Text  string `json:"text"`
}

// add adds a finding. After an error the report is not OK.
func (r *report) add(level, format string, args ...any) {
	r.Findings = append(r.Findings, finding{level, fmt.Sprintf(format, args...)})
	r.OK = r.OK && level != "error"
}

// text returns the findings, one a line.
func (r *report) text(indent string) string {
	var b strings.Builder
	for _, f := range r.Findings {
		if f.Level != "info" {
			f.Text = f.Level + ": " + f.Text
		}
		b.WriteString(indent + termsafe.Lines(f.Text) + "\n")
	}
	return b.String()
}

// examine reads the sources of cfg once and explains them.
func examine(ctx context.Context, cfg agent.Config) (*report, error) {
	cfg.PollOnly, cfg.WaitForSource, cfg.StateFile = true, true, ""
	a, err := startAgent(ctx, cfg)
	if err != nil {
		return nil, err
	}
	defer a.Close()
	r, now := &report{OK: true}, time.Now()
	for _, src := range a.Status().Sources {
		if src.Kind == "key file" || src.Kind == "jwks url" {
			r.Keys = &src
			r.keys(&src, now)
		} else {
			r.Source = &src
			r.tokens(&src, now)
		}
	}
	return r, nil
}

// A realmsReport is the answer of check about a file of realms.
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
	if output == outputJSON {
		err = writeJSON(cmd.OutOrStdout(), all)
	} else {
		_, err = io.WriteString(cmd.OutOrStdout(), all.text())
	}
	if err == nil && !all.OK {
		err = exitcode.Refused
	}
	return err
}

// examineRealm returns an error only if ctx has ended.
func examineRealm(ctx context.Context, spec realm.Spec) (*realmReport, error) {
	found, err := examine(ctx, spec.Config)
	if err != nil {
		if ctx.Err() != nil {
			return nil, err
		}
		found = &report{}
		found.add("error", "%s", err)
	}
	return &realmReport{spec.Name, spec.Hosts, *found}, nil
}

func (r *realmsReport) text() string {
	var b strings.Builder
	var bad []string
	for _, one := range r.Realms {
		hosts := ""
		if len(one.Hosts) > 0 {
			hosts = " (" + strings.Join(one.Hosts, ", ") + ")"
		}
		fmt.Fprintf(&b, "realm %s%s:\n%s", one.Name, hosts, one.report.text("  "))
		if !one.OK {
			bad = append(bad, one.Name)
		}
	}
	if r.OK {
		fmt.Fprintf(&b, "good: an agent would start on it, with %d realms\n", len(r.Realms))
	} else {
		fmt.Fprintf(&b, "bad: realms that would not start, or accept nothing: %s\n", strings.Join(bad, ", "))
	}
	return b.String()
}
