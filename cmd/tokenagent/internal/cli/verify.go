package cli

import (
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"strings"

	"github.com/spf13/cobra"

	"github.com/tokenagent/tokenagent/cmd/tokenagent/internal/config"
	"github.com/tokenagent/tokenagent/cmd/tokenagent/internal/exitcode"
	"github.com/tokenagent/tokenagent/cmd/tokenagent/internal/stdin"
	"github.com/tokenagent/tokenagent/pkg/verify"
)

// A verdict is the answer of verify.
type verdict struct {
	Accepted    bool   `json:"accepted"`
	Method      string `json:"method,omitempty"` // token or jwt
	Slot        string `json:"slot,omitempty"`   // of the token, or of the key that signed it
	Fingerprint string `json:"fingerprint"`      // of the token
	KeyID       string `json:"key_id,omitempty"` // kid of the key that signed it, or its fingerprint if it has none
	Source      string `json:"source,omitempty"`
	Reason      string `json:"reason,omitempty"` // missing, invalid, expired, revoked or unavailable

	hint string
}

func newVerify() *cobra.Command {
	r := config.Defaults()
	var output string
	cmd := &cobra.Command{
		Use:   "verify",
		Short: "Say whether a source accepts the token on standard input",
		Long: `verify reads a token from standard input, without the white space around it,
and says whether the source accepts it. It knows what the source declares; what a
running agent remembers through an overlap, only that agent knows. With both a
token source and keys, either may accept it.

Exit code 0 means accepted, 1 refused. 'tokenagent inspect' says why a signed token
is refused.`,
		Example: `  tokenagent verify --token-file /var/run/secrets/app-api-token < token
  tokenagent verify --key-file jwks.json --issuer https://issuer.example --audience orders < token`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			cfg, err := agentConfig(cmd, &r, config.Run, slog.New(slog.DiscardHandler))
			if err != nil {
				return err
			}
			token, err := readToken(cmd)
			if err != nil {
				return err
			}
			cfg.PollOnly = true
			a, err := startAgent(cmd.Context(), cfg)
			if err != nil {
				return err
			}
			defer a.Close()
			v := verdict{Fingerprint: verify.Fingerprint(verify.Digest(token))}
			p, err := a.Verify(cmd.Context(), token)
			if err != nil {
				v.Reason = verify.Class(err).String()
				if r.Keys.Given() && strings.Count(token, ".") == 2 {
					v.hint = "; tokenagent inspect says why"
				}
			} else {
				v.Accepted, v.Method, v.Slot, v.Source = true, p.Method(), p.Slot().String(), p.Source()
				if v.Method == verify.MethodJWT {
					v.KeyID = p.KeyID()
				}
			}
			return v.print(cmd.OutOrStdout(), output)
		},
	}
	addRealmFlags(cmd, &r, config.Tokens, config.Signed)
	addOutput(cmd, &output)
	return cmd
}

func (v verdict) print(w io.Writer, form string) error {
	var err error
	switch {
	case form == outputJSON:
		err = json.NewEncoder(w).Encode(v)
	case v.Accepted && v.Method == verify.MethodJWT:
		_, err = fmt.Fprintf(w, "accepted: token %s is signed by key %s, which is %s in source %s\n", v.Fingerprint, readable(v.KeyID), v.Slot, v.Source)
	case v.Accepted:
		_, err = fmt.Fprintf(w, "accepted: token %s is %s in source %s\n", v.Fingerprint, v.Slot, v.Source)
	default:
		_, err = fmt.Fprintf(w, "refused: token %s is %s%s\n", v.Fingerprint, v.Reason, v.hint)
	}
	if err == nil && !v.Accepted {
		err = exitcode.Refused
	}
	return err
}

// maxToken bounds what is read as one token.
const maxToken = 1 << 20

func readToken(cmd *cobra.Command) (string, error) {
	b, err := stdin.Read(cmd.Context(), cmd.InOrStdin(), cmd.ErrOrStderr(), "a token", maxToken)
	if err != nil {
		return "", err
	}
	token := strings.TrimSpace(string(b))
	switch {
	case len(b) > maxToken:
		return "", exitcode.Usage("standard input is longer than a token can be (1 MiB)")
	case token == "":
		return "", exitcode.Usage("standard input is empty; the token is read from there")
	}
	return token, nil
}
