package cli

import (
	"fmt"
	"log/slog"
	"strings"

	"github.com/spf13/cobra"

	"github.com/tokenagent/tokenagent/cmd/tokenagent/internal/choice"
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
}

func newVerify() *cobra.Command {
	r := config.Defaults()
	var output string
	cmd := &cobra.Command{
		Use:   "verify",
		Short: "Say whether a source accepts the token on standard input",
		Long: `verify reads a token from standard input, removes white space around it, and says
whether the source accepts it. It knows only what the source declares, not the old
tokens that a running agent still accepts. With a token source and keys, either may
accept the token.

Exit code 0 means accepted, 1 refused. 'tokenagent inspect' explains why a signed
token is refused.`,
		Example: `  tokenagent verify --token-file /var/run/secrets/app-api-token < token`,
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
			var text string
			p, err := a.Verify(cmd.Context(), token)
			if err != nil {
				v.Reason = verify.Class(err).String()
				text = fmt.Sprintf("refused: token %s is %s", v.Fingerprint, v.Reason)
				if r.HasKeys() && strings.Count(token, ".") == 2 {
					text += "; tokenagent inspect says why"
				}
			} else {
				v.Accepted, v.Method, v.Slot, v.Source = true, p.Method(), p.Slot().String(), p.Source()
				signer := ""
				if v.Method == verify.MethodJWT {
					v.KeyID = p.KeyID()
					signer = "signed by key " + readable(v.KeyID) + ", which is "
				}
				text = fmt.Sprintf("accepted: token %s is %s%s in source %s", v.Fingerprint, signer, v.Slot, v.Source)
			}
			return printAnswer(cmd, output, v, text+"\n", v.Accepted)
		},
	}
	addRealmFlags(cmd, &r, config.Tokens, config.Signed)
	choice.AddOutput(cmd.Flags(), &output)
	return cmd
}

// maxToken is the largest size of a token in bytes.
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
