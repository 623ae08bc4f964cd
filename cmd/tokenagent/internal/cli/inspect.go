package cli

import (
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/spf13/cobra"

	"github.com/tokenagent/tokenagent/agent"
	"github.com/tokenagent/tokenagent/cmd/tokenagent/internal/choice"
	"github.com/tokenagent/tokenagent/cmd/tokenagent/internal/config"
	"github.com/tokenagent/tokenagent/cmd/tokenagent/internal/inspect"
	"github.com/tokenagent/tokenagent/cmd/tokenagent/internal/termsafe"
	"github.com/tokenagent/tokenagent/pkg/verify"
)

// An inspection is the answer of inspect.
type inspection struct {
	*inspect.Token
	Verdict *judgement `json:"verdict,omitempty"` // nil without a key source
}

// A judgement says whether the keys accept a token.
type judgement struct {
	Accepted  bool     `json:"accepted"`
	Subject   string   `json:"subject,omitempty"`
	KeyID     string   `json:"key_id,omitempty"` // kid of the key that signed the token, or its fingerprint if it has none
	Slot      string   `json:"slot,omitempty"`   // of that key
	Source    string   `json:"source,omitempty"`
	Reason    string   `json:"reason,omitempty"` // invalid, expired, revoked or unavailable
	Why       string   `json:"why,omitempty"`    // explains Reason
	Hints     []string `json:"hints,omitempty"`
	Unchecked []string `json:"unchecked,omitempty"` // iss or aud, if no flag says what they must be
}

func newInspect() *cobra.Command {
	r := config.Defaults()
	var output string
	cmd := &cobra.Command{
		Use:   "inspect",
		Short: "Say what a signed token claims, and why it is refused",
		Long: `inspect reads a JSON Web Token from standard input and prints its header, its claims
and warnings. It prints neither the token nor its signature. Claims may be personal
data.

With --key-file, --jwks-url or the https URL of an --issuer it also says whether an
agent with those keys accepts the token and, if not, why, and how to fix it. Without
--issuer and --audience it does not check iss and aud.

Exit code 0 means that the token is accepted or, without keys, well formed.
Otherwise the exit code is 1.`,
		Example: `  tokenagent inspect --key-file jwks.json --issuer https://issuer.example --audience orders < token`,
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
			i := inspection{Token: inspect.Decode(token, time.Now())}
			if r.HasKeys() && i.Error == "" {
				if i.Verdict, err = judge(cmd, token, i.Token, r.Issuer.JWT, cfg); err != nil {
					return err
				}
			}
			text, err := i.text(time.Now())
			if err != nil {
				return err
			}
			return printAnswer(cmd, output, i, text, i.Error == "" && (i.Verdict == nil || i.Verdict.Accepted))
		},
	}
	addRealmFlags(cmd, &r, config.Signed)
	choice.AddOutput(cmd.Flags(), &output)
	return cmd
}

// judge returns what an agent with cfg decides. If the flags give no issuer or audience,
// which given shows, the token's own is accepted.
func judge(cmd *cobra.Command, token string, t *inspect.Token, given agent.JWT, cfg agent.Config) (*judgement, error) {
	accepted := &cfg.Issuers[0].JWT
	j, rules := &judgement{}, *accepted
	rules.Issuer, rules.Audiences = given.Issuer, given.Audiences
	claims := jwt.MapClaims(t.Claims)
	if iss, _ := claims.GetIssuer(); given.Issuer == "" && given.TrustDomain == "" && iss != "" {
		rules.Issuer, accepted.Issuer = iss, iss
		j.Unchecked = append(j.Unchecked, "iss")
	}
	if aud, _ := claims.GetAudience(); len(given.Audiences) == 0 && len(aud) > 0 && aud[0] != "" {
		rules.Audiences, accepted.Audiences = aud[:1], aud[:1]
		j.Unchecked = append(j.Unchecked, "aud")
	}
	a, err := startAgent(cmd.Context(), cfg)
	if err != nil {
		return nil, err
	}
	defer a.Close()
	p, err := a.Verify(cmd.Context(), token)
	if err != nil {
		j.Reason, j.Why = verify.Class(err).String(), withoutClass(err)
		j.Hints = t.Hints(rules, a.Status().Sources[0].Tokens, err, time.Now())
		return j, nil
	}
	j.Accepted, j.Subject, j.KeyID, j.Slot, j.Source = true, p.Subject(), p.KeyID(), p.Slot().String(), p.Source()
	return j, nil
}

// withoutClass returns the text of err without its class, such as "invalid token".
func withoutClass(err error) string {
	for _, class := range []error{verify.ErrInvalidToken, verify.ErrExpiredToken, verify.ErrRevokedToken, verify.ErrUnavailable} {
		if errors.Is(err, class) {
			return strings.TrimPrefix(err.Error(), class.Error()+": ")
		}
	}
	return err.Error()
}

func (i *inspection) text(now time.Time) (string, error) {
	if !i.JWT {
		return fmt.Sprintf("no signed token: fingerprint %s: %s\n", i.Fingerprint, i.Error), nil
	}
	var b strings.Builder
	if err := i.Token.Text(&b, now); err != nil {
		return "", err
	}
	v := i.Verdict
	switch {
	case i.Error != "":
		fmt.Fprintf(&b, "malformed: %s\n", i.Error)
	case v == nil:
		b.WriteString("well formed; nothing was verified: give --key-file, --jwks-url or the https URL of an --issuer to verify it\n")
	case v.Accepted:
		fmt.Fprintf(&b, "accepted: signed by key %s, which is %s in source %s; its subject is %s\n", readable(v.KeyID), v.Slot, v.Source, readable(v.Subject))
	default:
		fmt.Fprintf(&b, "refused (%s): %s\n", v.Reason, v.Why)
	}
	if v == nil {
		return b.String(), nil
	}
	for _, text := range v.Hints {
		fmt.Fprintf(&b, "  %s\n", text)
	}
	for _, claim := range v.Unchecked {
		flag := map[string]string{"iss": "issuer", "aud": "audience"}[claim]
		fmt.Fprintf(&b, "  %s was not checked; give --%s to check it\n", claim, flag)
	}
	return b.String(), nil
}

// readable returns untrusted text in a form that is safe to show on a terminal. It
// quotes text that would be ambiguous without quotes.
func readable(text string) string {
	if text == "" || termsafe.Text(text) != text || strings.ContainsAny(text, ` ,;"\`) {
		return inspect.Quote(text)
	}
	return text
}
