package cli

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/tokenagent/tokenagent/agent"
	"github.com/tokenagent/tokenagent/cmd/tokenagent/internal/config"
	"github.com/tokenagent/tokenagent/cmd/tokenagent/internal/exitcode"
	"github.com/tokenagent/tokenagent/cmd/tokenagent/internal/inspect"
	"github.com/tokenagent/tokenagent/cmd/tokenagent/internal/termsafe"
	"github.com/tokenagent/tokenagent/pkg/verify"
)

// An inspection is the answer of inspect.
type inspection struct {
	JWT         bool                 `json:"jwt"`
	Fault       string               `json:"fault,omitempty"` // why it is no JWT, or a bad one
	Fingerprint string               `json:"fingerprint"`
	Bytes       int                  `json:"bytes"`
	Digest      string               `json:"digest,omitempty"` // to revoke it by
	Header      inspect.Object       `json:"header,omitempty"`
	Claims      inspect.Object       `json:"claims,omitempty"`
	Times       map[string]time.Time `json:"times,omitempty"` // the claims that are times
	Warnings    []string             `json:"warnings,omitempty"`
	Verdict     *judgement           `json:"verdict,omitempty"` // nil without a key source

	token *inspect.Token
}

// A judgement says whether the keys accept a token.
type judgement struct {
	Accepted  bool     `json:"accepted"`
	Subject   string   `json:"subject,omitempty"`
	KeyID     string   `json:"key_id,omitempty"` // kid of the key that signed it, or its fingerprint if it has none
	Slot      string   `json:"slot,omitempty"`   // of that key
	Source    string   `json:"source,omitempty"`
	Reason    string   `json:"reason,omitempty"` // invalid, expired, revoked or unavailable
	Why       string   `json:"why,omitempty"`    // in words
	Hints     []string `json:"hints,omitempty"`
	Unchecked []string `json:"unchecked,omitempty"` // iss, aud: nothing was given to compare them with
}

func newInspect() *cobra.Command {
	r := config.Defaults()
	var output string
	cmd := &cobra.Command{
		Use:   "inspect",
		Short: "Say what a signed token claims, and why it is refused",
		Long: `inspect reads a JSON Web Token from standard input and prints its header and its
claims, with their times in words, and what is unusual about it. It prints neither
the token nor its signature; claims may be personal data.

With --key-file or --jwks-url it also says whether those keys accept it, as an
agent would, and if not, why, and how to fix it. Without --issuer and --audience
the token's own are not compared with anything, and it says so.

Exit code 0 means accepted, or without keys that it is well formed; 1 refused,
malformed, or no JSON Web Token.`,
		Example: `  tokenagent inspect < token
  tokenagent inspect --key-file jwks.json --issuer https://issuer.example --audience orders < token`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			cfg, err := agentConfig(cmd, &r, config.Check, slog.New(slog.DiscardHandler))
			if err != nil {
				return err
			}
			cfg.PollOnly = true
			token, err := readToken(cmd)
			if err != nil {
				return err
			}
			i := decode(token, time.Now())
			if r.Keys.Given() && i.Fault == "" {
				if err := i.judge(cmd, token, cfg); err != nil {
					return err
				}
			}
			return i.print(cmd.OutOrStdout(), output)
		},
	}
	addRealmFlags(cmd, &r, config.Signed)
	addOutput(cmd, &output)
	return cmd
}

func decode(token string, now time.Time) *inspection {
	i := &inspection{Fingerprint: verify.Fingerprint(verify.Digest(token)), Bytes: len(token)}
	t, err := inspect.Decode(token)
	if err != nil {
		i.Fault = err.Error()
	}
	if t == nil {
		return i
	}
	i.token, i.JWT, i.Digest, i.Header, i.Claims = t, true, t.Digest, t.Header, t.Claims
	i.Times = make(map[string]time.Time)
	for _, name := range inspect.Times() {
		if at, ok := t.Claims.Time(name); ok {
			i.Times[name] = at
		}
	}
	if t.Claims != nil {
		i.Warnings = t.Warnings(now)
	}
	return i
}

// judge asks the keys of cfg. An issuer or audience that is not given is taken from the
// token.
func (i *inspection) judge(cmd *cobra.Command, token string, cfg agent.Config) error {
	j := &judgement{}
	i.Verdict = j
	if iss := i.Claims.Text("iss"); cfg.JWT.Issuer == "" && iss != "" {
		cfg.JWT.Issuer = iss
		j.Unchecked = append(j.Unchecked, "iss")
	}
	if aud := i.Claims.Texts("aud"); len(cfg.JWT.Audiences) == 0 && len(aud) > 0 && aud[0] != "" {
		cfg.JWT.Audiences = aud[:1]
		j.Unchecked = append(j.Unchecked, "aud")
	}
	asked := cfg.JWT
	fillJWT(&cfg)
	a, err := startAgent(cmd.Context(), cfg)
	if err != nil {
		return err
	}
	defer a.Close()
	p, err := a.Verify(cmd.Context(), token)
	if err != nil {
		j.Reason, j.Why = verify.Class(err).String(), why(err)
		j.Hints = i.token.Hints(asked, a.Status().Sources[0].Tokens, err, time.Now())
		return nil
	}
	j.Accepted, j.Subject, j.KeyID, j.Slot, j.Source = true, p.Subject(), p.KeyID(), p.Slot().String(), p.Source()
	return nil
}

// why returns the text of err without its class.
func why(err error) string {
	for _, class := range []error{verify.ErrInvalidToken, verify.ErrExpiredToken, verify.ErrRevokedToken, verify.ErrUnavailable} {
		if errors.Is(err, class) {
			return strings.TrimPrefix(err.Error(), class.Error()+": ")
		}
	}
	return err.Error()
}

func (i *inspection) print(w io.Writer, form string) error {
	var out bytes.Buffer
	write := i.text
	if form == outputJSON {
		write = i.json
	}
	err := write(&out)
	if err == nil {
		_, err = w.Write(out.Bytes())
	}
	if err == nil && (i.Fault != "" || i.Verdict != nil && !i.Verdict.Accepted) {
		err = exitcode.Refused
	}
	return err
}

// json escapes what a terminal would obey: encoding/json lets some of it pass.
func (i *inspection) json(out *bytes.Buffer) error {
	text, err := json.Marshal(i)
	if err != nil {
		return err
	}
	defer out.WriteByte('\n')
	return json.Indent(out, []byte(termsafe.Text(string(text))), "", "  ")
}

func (i *inspection) text(out *bytes.Buffer) error {
	if i.token != nil {
		if err := i.token.Text(out, time.Now()); err != nil {
			return err
		}
	}
	for _, text := range i.Warnings {
		fmt.Fprintf(out, "warning: %s\n", text)
	}
	v := i.Verdict
	switch {
	case i.token == nil:
		fmt.Fprintf(out, "no signed token: fingerprint %s: %s\n", i.Fingerprint, i.Fault)
	case i.Fault != "":
		fmt.Fprintf(out, "malformed: %s\n", i.Fault)
	case v == nil:
		fmt.Fprintln(out, "well formed; nothing was verified: that takes --key-file or --jwks-url")
	case v.Accepted:
		fmt.Fprintf(out, "accepted: signed by key %s, which is %s in source %s; its subject is %s\n", readable(v.KeyID), v.Slot, v.Source, readable(v.Subject))
	default:
		fmt.Fprintf(out, "refused (%s): %s\n", v.Reason, v.Why)
	}
	if v == nil {
		return nil
	}
	for _, text := range v.Hints {
		fmt.Fprintf(out, "  %s\n", text)
	}
	for _, claim := range v.Unchecked {
		flag := map[string]string{"iss": "issuer", "aud": "audience"}[claim]
		fmt.Fprintf(out, "  %s was not checked: the token's own was taken, since there is no --%s\n", claim, flag)
	}
	return nil
}

// readable returns untrusted text in a form that is safe to show on a terminal. It
// escapes control sequences, and quotes text that would be ambiguous without quotes.
func readable(text string) string {
	if text == "" || termsafe.Text(text) != text || strings.ContainsAny(text, ` ,;"\`) {
		return inspect.Quote(text)
	}
	return text
}
