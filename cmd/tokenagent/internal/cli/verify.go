package cli

import (
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"strings"

	"github.com/spf13/cobra"

	"github.com/tokenagent/tokenagent/agent"
	"github.com/tokenagent/tokenagent/cmd/tokenagent/internal/fail"
	"github.com/tokenagent/tokenagent/pkg/verify"
)

// A verdict is what verify says of a token.
type verdict struct {
	Accepted    bool   `json:"accepted"`
	Slot        string `json:"slot,omitempty"`
	Fingerprint string `json:"fingerprint"`
	Source      string `json:"source,omitempty"`
	Reason      string `json:"reason,omitempty"` // missing, invalid, expired, revoked or unavailable
}

func newVerify() *cobra.Command {
	var s source
	var output string
	cmd := &cobra.Command{
		Use:   "verify",
		Short: "Say whether a source accepts the token on standard input",
		Long: `verify reads a token from standard input, without the white space around it,
and says whether the source accepts it. It knows what the source declares; what a
running agent remembers through an overlap, only that agent knows.

Exit code 0 means accepted, 1 refused.`,
		Example: `  tokenagent verify --token-file /var/run/secrets/app-api-token < token`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := checkOutput(output); err != nil {
				return err
			}
			cfg, err := s.config(slog.New(slog.DiscardHandler))
			if err != nil {
				return err
			}
			token, err := readToken(cmd.InOrStdin())
			if err != nil {
				return err
			}
			cfg.PollOnly = true
			a, err := agent.Start(cmd.Context(), cfg)
			if err != nil {
				return err
			}
			defer a.Close()
			v := verdict{Fingerprint: verify.Fingerprint(verify.Digest(token))}
			p, err := a.Verify(cmd.Context(), token)
			if err != nil {
				v.Reason = verify.Class(err).String()
			} else {
				v.Accepted, v.Slot, v.Source = true, p.Slot().String(), p.Source()
			}
			return v.print(cmd.OutOrStdout(), output)
		},
	}
	s.add(cmd)
	addOutput(cmd, &output)
	return cmd
}

func (v verdict) print(w io.Writer, form string) error {
	var err error
	switch {
	case form == outputJSON:
		err = json.NewEncoder(w).Encode(v)
	case v.Accepted:
		_, err = fmt.Fprintf(w, "accepted: token %s is %s in source %s\n", v.Fingerprint, v.Slot, v.Source)
	default:
		_, err = fmt.Fprintf(w, "refused: token %s is %s\n", v.Fingerprint, v.Reason)
	}
	if err == nil && !v.Accepted {
		err = fail.Refused
	}
	return err
}

// maxToken bounds what is read as one token.
const maxToken = 1 << 20

func readToken(r io.Reader) (string, error) {
	b, err := io.ReadAll(io.LimitReader(r, maxToken+1))
	if err != nil {
		return "", fmt.Errorf("reading the token from standard input: %w", err)
	}
	token := strings.TrimSpace(string(b))
	switch {
	case len(b) > maxToken:
		return "", fail.Usage("standard input is longer than a token can be (1 MiB)")
	case token == "":
		return "", fail.Usage("standard input is empty; the token is read from there")
	}
	return token, nil
}
