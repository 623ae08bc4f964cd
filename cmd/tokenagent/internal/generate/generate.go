// Package generate implements the command generate, which makes opaque random tokens and
// signed JSON Web Tokens. Apart from the filter rotate, it is the only command that prints a
// token.
package generate

import (
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/tokenagent/tokenagent/cmd/tokenagent/internal/choice"
	"github.com/tokenagent/tokenagent/cmd/tokenagent/internal/exitcode"
	"github.com/tokenagent/tokenagent/cmd/tokenagent/internal/keygen"
	"github.com/tokenagent/tokenagent/internal/rotation"
	"github.com/tokenagent/tokenagent/pkg/verify"
)

// The limits of --bytes.
const (
	minBytes = 16
	maxBytes = 4096 // in base64, the token still fits into the headers that servers accept
)

// flags are the flags of generate.
type flags struct {
	bytes   int
	client  string
	output  string
	jwt     string
	keys    keyFlags
	claims  claimFlags
	forJWT  *pflag.FlagSet // the flags of keys and claims
	changed func(name string) bool
}

// Command returns the command generate.
func Command() *cobra.Command {
	var f flags
	cmd := &cobra.Command{
		Use:   "generate",
		Short: "Print a new token: random bytes, or a signed JWT",
		Long: `generate prints a new token and a newline. Without flags it is opaque: 32 random
bytes as base64url without padding, 43 characters that fit every header. With --client
it is a line for a token file, which names the client that the token belongs to.

With --jwt it is a signed JSON Web Token (RFC 7519) with the claims that flags
give, and iat, exp and a random jti. The signing key comes from a file, never from
the command line: a PEM private key for ES256 (P-256), EdDSA (Ed25519), RS256 and
PS256 (RSA, 2048 bits at least); the bytes of the secret, at least 32 without
surrounding white space, for HS256.

--new-signing-key makes the key; --public-jwks-out and --public-key-out write what
verifiers get of it, as 'tokenagent run --key-file'. Token and JWKS name the key
alike. A verifier takes an RSA key in PEM for RS256: for PS256 give it the JWKS. For
HS256 it gets the file of the secret itself.`,
		Example: `  (umask 077; tokenagent generate > token)
  tokenagent generate --client orders >> token
  tokenagent generate --jwt ES256 --new-signing-key key.pem --public-jwks-out jwks.json --subject orders > token
  tokenagent generate --jwt ES256 --signing-key key.pem --issuer us --audience app --claim roles='["reader"]'`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			f.changed = cmd.Flags().Changed
			return f.run(cmd.OutOrStdout(), cmd.ErrOrStderr())
		},
	}
	fs := cmd.Flags()
	fs.IntVar(&f.bytes, "bytes", keygen.TokenBytes, "`N` random bytes in an opaque token, at least 16")
	fs.StringVar(&f.client, "client", "", "`NAME` of the client of an opaque token; prints the line TOKEN name=NAME")
	choice.AddOutput(fs, &f.output)
	fs.StringVar(&f.jwt, "jwt", "", "`ALG` of a signed JWT to print instead: "+algorithmsText)
	f.forJWT = pflag.NewFlagSet("", pflag.ContinueOnError)
	f.keys.add(f.forJWT)
	f.claims.add(f.forJWT)
	fs.AddFlagSet(f.forJWT)
	return cmd
}

func (f *flags) run(stdout, stderr io.Writer) error {
	var token string
	var expires time.Time // zero for an opaque token
	var err error
	if f.jwt != "" || f.changed("jwt") {
		token, expires, err = f.signed(stderr, time.Now())
		f.client = "" // a variable may give it to other commands
	} else {
		token, err = f.opaque()
	}
	if err != nil {
		return err
	}
	switch {
	case f.output == choice.JSON:
		return json.NewEncoder(stdout).Encode(answer{token, f.client, verify.Fingerprint(verify.Digest(token)), expires})
	case f.client != "":
		token += " name=" + f.client
	}
	_, err = fmt.Fprintln(stdout, token)
	return err
}

// An answer is what generate prints with --output json.
type answer struct {
	Token       string    `json:"token"`
	Client      string    `json:"client,omitempty"` // that of --client
	Fingerprint string    `json:"fingerprint"`      // the first 8 hex digits of the token's SHA-256
	Expires     time.Time `json:"expires,omitzero"`
}

// opaque makes an opaque token. It refuses flags that are for JWTs.
func (f *flags) opaque() (string, error) {
	var names []string
	f.forJWT.VisitAll(func(fl *pflag.Flag) {
		if fl.Changed {
			names = append(names, "--"+fl.Name)
		}
	})
	switch {
	case len(names) > 0:
		return "", exitcode.Usage("%s: only for a JWT; add --jwt %s, or leave it out", strings.Join(names, ", "), algorithmsText)
	case f.client != "" && !rotation.ValidClient(f.client):
		return "", exitcode.Usage("--client: " + rotation.ClientRule)
	case f.bytes < minBytes:
		return "", exitcode.Usage("--bytes must be at least %d; a shorter token can be guessed", minBytes)
	case f.bytes > maxBytes:
		return "", exitcode.Usage("--bytes must be at most %d; a longer token fits no header", maxBytes)
	}
	return keygen.Secret(f.bytes), nil
}

// signed makes a JWT. It checks all flags before it writes a file.
func (f *flags) signed(stderr io.Writer, now time.Time) (token string, expires time.Time, err error) {
	i := slices.IndexFunc(algorithms, func(a string) bool { return strings.EqualFold(a, f.jwt) })
	switch {
	case i < 0:
		return "", expires, exitcode.Usage("--jwt must be " + algorithmsText)
	case f.changed("client"):
		return "", expires, exitcode.Usage("--client is for opaque tokens; a JWT names the client by --subject")
	case f.changed("bytes"):
		return "", expires, exitcode.Usage("--bytes is for opaque tokens; leave it out with --jwt")
	}
	claims, expires, err := f.claims.claims(now)
	if err != nil {
		return "", expires, err
	}
	key, err := f.keys.open(algorithms[i], stderr)
	if err != nil {
		return "", expires, err
	}
	token, err = key.sign(claims)
	return token, expires, err
}
