package cli

import (
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/tokenagent/tokenagent/agent"
	"github.com/tokenagent/tokenagent/cmd/tokenagent/internal/config"
	"github.com/tokenagent/tokenagent/cmd/tokenagent/internal/exitcode"
	rotated "github.com/tokenagent/tokenagent/cmd/tokenagent/internal/rotate/content"
	"github.com/tokenagent/tokenagent/cmd/tokenagent/internal/termsafe"
	"github.com/tokenagent/tokenagent/internal/token"
)

// A finding is one thing that check has to say. Only an error is a fault.
type finding struct {
	Level string `json:"level"` // info, warning or error
	Text  string `json:"text"`
}

// A report is all that check has to say.
type report struct {
	OK       bool                `json:"ok"`
	Findings []finding           `json:"findings"`
	Source   *agent.SourceStatus `json:"source,omitempty"` // of tokens
	Keys     *agent.SourceStatus `json:"keys,omitempty"`
}

func (r *report) add(level, format string, args ...any) {
	r.Findings = append(r.Findings, finding{level, fmt.Sprintf(format, args...)})
}

func newCheck() *cobra.Command {
	r := config.Defaults()
	var output, configFile string
	cmd := &cobra.Command{
		Use:   "check",
		Short: "Explain a source of tokens or keys in plain words, before anything depends on it",
		Long: `check reads a source once, as an agent would, and explains it: its form, the
tokens by slot and fingerprint, who may read it, whether it can ever update, and
when tokens that are JWTs expire; of a key source each key by slot, fingerprint
(the first 8 hex digits of its RFC 7638 thumbprint), kid and algorithm. With
--config it reads a file of realms, and the sources of each.

Exit code 0 means that an agent would start on it, warnings apart; 1 that it
would not, or would accept nothing.`,
		Example: `  tokenagent check --token-file /var/run/secrets/app-api-token
  tokenagent check --key-file jwks.json
  tokenagent check --config realms.yaml`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := checkOutput(output); err != nil {
				return err
			}
			// A variable for another command does not say more than a flag for this.
			if configFile != "" && (cmd.Flags().Changed("config") || realmsAlone(cmd) == nil) {
				return checkRealms(cmd, configFile, output)
			}
			cfg, err := agentConfig(cmd, &r, config.Check, slog.New(slog.DiscardHandler))
			if err != nil {
				return err
			}
			cfg.PollOnly, cfg.WaitForSource = true, true
			compareWithNothing(&cfg)
			a, err := startAgent(cmd.Context(), cfg)
			if err != nil {
				return err
			}
			defer a.Close()
			found := examine(a.Status().Sources, time.Now())
			if r.Keys.Given() && (r.Keys.Issuer == "" || len(r.Keys.Audiences) == 0) {
				found.add("info", "signed tokens are accepted with an --issuer and an --audience alone: check does without, run needs both")
			}
			if err := found.print(cmd.OutOrStdout(), output); err != nil {
				return err
			}
			if !found.OK {
				return exitcode.Refused
			}
			return nil
		},
	}
	config.AddFlags(cmd.Flags(), &r, config.Tokens, config.Signed)
	cmd.Flags().StringVar(&configFile, "config", "", "`FILE` of realms, instead of one source")
	addOutput(cmd, &output)
	return cmd
}

// compareWithNothing fills in the issuer and the audience that an agent must have, for
// a command to which neither is given. The name is one that nobody can have (RFC 2606
// section 2).
func compareWithNothing(cfg *agent.Config) {
	const nobody = "https://issuer.invalid"
	cfg.JWT.Issuer = cmp.Or(cfg.JWT.Issuer, nobody)
	if len(cfg.JWT.Audiences) == 0 {
		cfg.JWT.Audiences = []string{nobody}
	}
}

// examine says what there is to say of the sources that an agent has just read.
func examine(sources []agent.SourceStatus, now time.Time) *report {
	r := &report{}
	for i := range sources {
		if src := &sources[i]; isKeys(src) {
			r.Keys = src
			r.keys(src, now)
		} else {
			r.Source = src
			r.tokens(src, now)
		}
	}
	r.OK = true
	for _, f := range r.Findings {
		r.OK = r.OK && f.Level != "error"
	}
	return r
}

// tokens explains a source of tokens.
func (r *report) tokens(src *agent.SourceStatus, now time.Time) {
	if src.Kind == "env" {
		r.add("info", "%s is an environment variable", src.Location)
	} else {
		r.describe(src.Location, token.FileNames(), secretContent)
		r.whiteSpace(src.Location)
	}
	r.state(src)
	for _, t := range src.Tokens {
		r.token(t, now)
	}
	if src.Revoked > 0 {
		r.add("info", "%d revoked", src.Revoked)
	}
	if src.Ready && len(src.Tokens) == 0 {
		r.add("error", "nothing would be accepted; put a token in that is not revoked")
	}
}

// whiteSpace warns of a newline in a mounted Secret that daprd reads, too. path is
// the mount, or the key token in it.
func (r *report) whiteSpace(path string) {
	if filepath.Base(path) == token.FileCurrent {
		path = filepath.Dir(path)
	}
	text, err := os.ReadFile(filepath.Join(path, "..data", token.FileCurrent))
	if err != nil {
		return // no mounted Secret, or the agent's own error says it better
	}
	if warning := rotated.WhiteSpace(map[string][]byte{token.FileCurrent: text}); warning != "" {
		r.add("warning", "%s", warning)
	}
}

// state says what the agent found wrong with a source.
func (r *report) state(src *agent.SourceStatus) {
	if src.Fault != "" {
		r.add("error", "%s", src.Fault)
	}
	for _, l := range src.Limits {
		r.add("warning", "%s", l)
	}
}

func (r *report) token(t agent.TokenStatus, now time.Time) {
	r.add("info", "%s: %s%s", t.Slot, t.Fingerprint, about(t, now))
	if t.Slot == "previous" && t.Deadline.IsZero() {
		r.add("warning", "the previous token %s has no deadline; give it one (%s, or until= in a file)", t.Fingerprint, token.FilePreviousUntil)
	}
	if t.Expires.IsZero() {
		return
	}
	switch left := t.Expires.Sub(now); {
	case left <= 0:
		r.add("warning", "the %s token %s is a JWT that expired %s ago; receivers that check exp refuse it", t.Slot, t.Fingerprint, (-left).Round(time.Second))
	case left < 24*time.Hour:
		r.add("warning", "the %s token %s is a JWT that expires in %s; rotate before", t.Slot, t.Fingerprint, left.Round(time.Second))
	}
}

// content says whether what a source holds may be read by everyone.
type content bool

const (
	secretContent content = true
	publicContent content = false
)

// describe says what stands at path and who may read it; keys are those of a
// directory that are read.
func (r *report) describe(path string, keys []string, c content) {
	info, err := os.Stat(path)
	if err != nil {
		return // the agent's own fault says it better
	}
	if !info.IsDir() {
		r.add("info", "%s is a file of %d bytes, mode %s", path, info.Size(), info.Mode().Perm())
		if target, err := filepath.EvalSymlinks(path); err == nil && strings.Contains(target, string(filepath.Separator)+"..") {
			r.add("info", "it is a key of a mounted Secret, which the kubelet updates")
		}
		r.readers(path, info, c)
		return
	}
	if _, err := os.Lstat(filepath.Join(path, "..data")); err == nil {
		r.add("info", "%s is a mounted Secret (it has ..data): its keys are read together, and the kubelet updates it", path)
	} else {
		r.add("info", "%s is a plain directory: its keys are read until two passes agree", path)
	}
	for _, key := range keys {
		if info, err := os.Stat(filepath.Join(path, key)); err == nil {
			r.add("info", "key %s: %d bytes, mode %s", key, info.Size(), info.Mode().Perm())
			r.readers(filepath.Join(path, key), info, c)
		}
	}
	if runtimePermissions && info.Mode().Perm()&0o002 != 0 && info.Mode()&fs.ModeSticky == 0 {
		r.add("warning", "%s can be written by everyone, who could put something of their own there; chmod o-w", path)
	}
}

func (r *report) readers(path string, info fs.FileInfo, c content) {
	if !runtimePermissions {
		return
	}
	perm := info.Mode().Perm()
	if perm&0o022 != 0 {
		r.add("warning", "%s can be written by others than its owner (mode %s); chmod go-w", path, perm)
	}
	if perm&0o004 != 0 && c == secretContent {
		r.add("warning", "%s can be read by everyone (mode %s); chmod o-r, or defaultMode 0440 with fsGroup in Kubernetes", path, perm)
	}
}

func (r *report) print(w io.Writer, form string) error {
	if form == outputJSON {
		e := json.NewEncoder(w)
		e.SetIndent("", "  ")
		return e.Encode(r)
	}
	for _, f := range r.Findings {
		text := f.Text
		if f.Level != "info" {
			text = f.Level + ": " + text
		}
		if _, err := fmt.Fprintln(w, termsafe.Lines(text)); err != nil {
			return err
		}
	}
	verdict := "good: an agent would start on it"
	if !r.OK {
		verdict = "bad: an agent would not start on it, or accept nothing"
	}
	_, err := fmt.Fprintln(w, verdict)
	return err
}

// outputs are the values of --output.
const (
	outputText = "text"
	outputJSON = "json"
)

func addOutput(cmd *cobra.Command, p *string) {
	cmd.Flags().StringVar(p, "output", outputText, "`FORM` of the answer: text or json")
}

func checkOutput(form string) error {
	if form != outputText && form != outputJSON {
		return exitcode.Usage("{output} must be text or json")
	}
	return nil
}
