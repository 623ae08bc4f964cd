package cli

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/tokenagent/tokenagent/agent"
	"github.com/tokenagent/tokenagent/cmd/tokenagent/internal/choice"
	"github.com/tokenagent/tokenagent/cmd/tokenagent/internal/config"
	"github.com/tokenagent/tokenagent/cmd/tokenagent/internal/termsafe"
)

func newCheck() *cobra.Command {
	r := config.Defaults()
	var output, configFile string
	cmd := &cobra.Command{
		Use:   "check",
		Short: "Explain a source of tokens or keys in plain words, before anything depends on it",
		Long: `check reads a source once, as an agent would, and explains it: each token or key
with its slot and fingerprint, who may read the source, whether it can ever change,
and when tokens that are JWTs expire. With --config it reads a file of realms, and
the sources of each realm.

Exit code 0 means that an agent would start and accept something, warnings apart.
Otherwise the exit code is 1.`,
		Example: `  tokenagent check --token-file /var/run/secrets/app-api-token`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			// A flag that names a source wins over a variable that names a file of realms:
			// the variable may be meant for run.
			if configFile != "" && (cmd.Flags().Changed("config") || refuseRealmFlags(cmd) == nil) {
				return checkRealms(cmd, configFile, output)
			}
			cfg, err := agentConfig(cmd, &r, config.Check, slog.New(slog.DiscardHandler))
			if err != nil {
				return err
			}
			found, err := examine(cmd.Context(), cfg)
			if err != nil {
				return err
			}
			if rules := r.Issuer.JWT; r.HasKeys() && (rules.Issuer == "" && rules.TrustDomain == "" && !r.Issuer.Kubernetes || len(rules.Audiences) == 0) {
				found.add("info", "check needs no --issuer and no --audience; run needs both to accept signed tokens")
			}
			verdict := "good: an agent would start on it"
			if !found.OK {
				verdict = "bad: an agent would not start on it, or accept nothing"
			}
			return printAnswer(cmd, output, found, found.text("")+verdict+"\n", found.OK)
		},
	}
	cmd.Flags().StringVar(&configFile, "config", "", "`FILE` of realms, instead of one source")
	addRealmFlags(cmd, &r, config.Tokens, config.Signed)
	choice.AddOutput(cmd.Flags(), &output)
	return cmd
}

// A report is the answer of check about one realm, or about the sources of the flags.
type report struct {
	Name     string              `json:"name,omitempty"` // of the realm
	Hosts    []string            `json:"hosts,omitempty"`
	OK       bool                `json:"ok"`
	Findings []finding           `json:"findings"`
	Source   *agent.SourceStatus `json:"source,omitempty"` // of tokens
	Keys     *agent.SourceStatus `json:"keys,omitempty"`   // of the first issuer
	// Issuers are the key sources of all issuers, if there are several.
	Issuers []*agent.SourceStatus `json:"issuers,omitempty"`
}

type finding struct {
	Level string `json:"level"` // info, warning or error
	Text  string `json:"text"`
}

// add adds a finding. A report with an error is not OK.
func (r *report) add(level, format string, args ...any) {
	r.Findings = append(r.Findings, finding{level, fmt.Sprintf(format, args...)})
	r.OK = r.OK && level != "error"
}

// text returns the findings, one on each line.
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

// examine reads the sources of cfg once and explains them. The error means that no agent
// can start with cfg.
func examine(ctx context.Context, cfg agent.Config) (*report, error) {
	cfg.PollOnly, cfg.WaitForSource, cfg.StateFile = true, true, ""
	a, err := startAgent(ctx, cfg)
	if err != nil {
		return nil, err
	}
	defer a.Close()
	r, now := &report{OK: true}, time.Now()
	for _, src := range a.Status().Sources {
		if slices.Contains([]string{"key file", "jwks url", "discovery", "kubernetes"}, src.Kind) {
			r.Keys = cmp.Or(r.Keys, &src)
			if len(cfg.Issuers) > 1 {
				r.Issuers = append(r.Issuers, &src)
				r.add("info", "keys of the issuer %s:", src.Name)
			}
			r.explainKeys(&src, now)
		} else {
			r.Source = &src
			r.explainTokens(&src, cfg.AllowClients, now)
		}
	}
	return r, nil
}

// A realmsReport is the answer of check about a file of realms.
type realmsReport struct {
	OK     bool      `json:"ok"`
	Realms []*report `json:"realms"`
}

// checkRealms explains a file of realms, and the sources of each realm.
func checkRealms(cmd *cobra.Command, path, output string) error {
	if err := refuseRealmFlags(cmd); err != nil {
		return err
	}
	data, err := os.ReadFile(path)
	if err != nil {
		return fmt.Errorf("--config: %w", err)
	}
	plan, err := config.ParseFile(path, data, slog.New(slog.DiscardHandler))
	if err != nil {
		return err
	}
	var text strings.Builder
	var bad []string
	all := realmsReport{}
	for _, spec := range plan.Specs {
		r, err := examine(cmd.Context(), spec.Config)
		if cmd.Context().Err() != nil {
			return err
		}
		if err != nil {
			r = &report{}
			r.add("error", "%s", err)
		}
		r.Name, r.Hosts = spec.Name, spec.Hosts
		all.Realms = append(all.Realms, r)
		hosts := ""
		if len(r.Hosts) > 0 {
			hosts = " (" + strings.Join(r.Hosts, ", ") + ")"
		}
		fmt.Fprintf(&text, "realm %s%s:\n%s", r.Name, hosts, r.text("  "))
		if !r.OK {
			bad = append(bad, r.Name)
		}
	}
	if all.OK = len(bad) == 0; all.OK {
		fmt.Fprintf(&text, "good: an agent would start on it, with %d realms\n", len(all.Realms))
	} else {
		fmt.Fprintf(&text, "bad: realms that would not start, or accept nothing: %s\n", strings.Join(bad, ", "))
	}
	return printAnswer(cmd, output, all, text.String(), all.OK)
}
