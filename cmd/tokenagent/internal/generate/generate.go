// Package generate is the command that makes tokens: opaque random ones, and
// signed JSON Web Tokens. Its output is the one place where tokenagent prints a
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

	"github.com/tokenagent/tokenagent/cmd/tokenagent/internal/exitcode"
	"github.com/tokenagent/tokenagent/cmd/tokenagent/internal/keygen"
	"github.com/tokenagent/tokenagent/pkg/verify"
)

const (
	defaultBytes = keygen.TokenBytes // 256 bits, as RFC 4086 would have it for a long-lived secret
	minBytes     = 16
	maxBytes     = 4096 // base64 of it still fits the headers that servers take
)

// flags are the flags of generate.
type flags struct {
	bytes   int
	output  string
	jwt     string
	keys    keyFlags
	claims  claimFlags
	changed func(name string) bool
}

// Command returns the command generate.
func Command() *cobra.Command {
	var f flags
	cmd := &cobra.Command{
		Use:   "generate",
		Short: "Print a new token: random bytes, or a signed JWT",
		Long: `generate prints a new token and a newline. Without flags it is opaque: 32 random
bytes as base64url without padding, 43 characters that fit every header.

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
  tokenagent generate --jwt ES256 --new-signing-key key.pem --public-jwks-out jwks.json --subject orders > token
  tokenagent generate --jwt ES256 --signing-key key.pem --issuer us --audience app --claim roles='["reader"]'`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			f.changed = cmd.Flags().Changed
			return f.run(cmd.OutOrStdout(), cmd.ErrOrStderr())
		},
	}
	fs := cmd.Flags()
	fs.IntVar(&f.bytes, "bytes", defaultBytes, "random bytes in an opaque token, 16 at least")
	fs.StringVar(&f.output, "output", "text", "`FORM` of the answer: text or json")
	fs.StringVar(&f.jwt, "jwt", "", "print a JWT signed with `ALG`: "+algorithmsText)
	f.keys.add(fs)
	f.claims.add(fs)
	return cmd
}

func (f *flags) run(stdout, stderr io.Writer) error {
	if f.output != "text" && f.output != "json" {
		return exitcode.Usage("--output must be text or json")
	}
	token, expires, err := f.token(stderr)
	if err != nil {
		return err
	}
	return write(stdout, f.output, token, expires)
}

// token makes the token that the flags ask for. expires is zero for an opaque
// one.
func (f *flags) token(stderr io.Writer) (token string, expires time.Time, err error) {
	if f.jwt != "" || f.changed("jwt") {
		return f.signed(stderr, time.Now())
	}
	if err := f.opaqueOnly(); err != nil {
		return "", time.Time{}, err
	}
	return keygen.Secret(f.bytes), time.Time{}, nil
}

// opaqueOnly refuses what has no meaning for an opaque token.
func (f *flags) opaqueOnly() error {
	var names []string
	list := func(fl *pflag.Flag) {
		if f.changed(fl.Name) {
			names = append(names, "--"+fl.Name)
		}
	}
	own := pflag.NewFlagSet("", pflag.ContinueOnError)
	(&keyFlags{}).add(own)
	(&claimFlags{}).add(own)
	own.VisitAll(list)
	switch {
	case len(names) == 1:
		return exitcode.Usage("%s goes with --jwt; say --jwt %s, or leave it out", names[0], algorithmsText)
	case len(names) > 1:
		return exitcode.Usage("%s go with --jwt; say --jwt %s, or leave them out", strings.Join(names, ", "), algorithmsText)
	case f.bytes < minBytes:
		return exitcode.Usage("--bytes must be at least %d; a shorter token can be guessed", minBytes)
	case f.bytes > maxBytes:
		return exitcode.Usage("--bytes must be at most %d; a longer token fits no header", maxBytes)
	}
	return nil
}

// signed makes a JWT. Whatever can be refused is, before a file is written.
func (f *flags) signed(stderr io.Writer, now time.Time) (string, time.Time, error) {
	alg, err := algorithm(f.jwt)
	if err != nil {
		return "", time.Time{}, err
	}
	if f.changed("bytes") {
		return "", time.Time{}, exitcode.Usage("--bytes is for opaque tokens; leave it out with --jwt")
	}
	claims, expires, err := f.claims.claims(now)
	if err != nil {
		return "", time.Time{}, err
	}
	key, err := f.keys.open(alg, stderr)
	if err != nil {
		return "", time.Time{}, err
	}
	token, err := sign(key, claims)
	return token, expires, err
}

// An answer is what generate prints with --output json.
type answer struct {
	Token       string    `json:"token"`
	Fingerprint string    `json:"fingerprint"` // the first 8 hex digits of the token's SHA-256
	Expires     time.Time `json:"expires,omitzero"`
}

func write(w io.Writer, form, token string, expires time.Time) error {
	if form == "json" {
		a := answer{token, verify.Fingerprint(verify.Digest(token)), expires}
		return json.NewEncoder(w).Encode(a)
	}
	_, err := fmt.Fprintln(w, token)
	return err
}

func algorithm(name string) (string, error) {
	if i := slices.IndexFunc(algorithms, func(a string) bool { return strings.EqualFold(a, name) }); i >= 0 {
		return algorithms[i], nil
	}
	return "", exitcode.Usage("--jwt must be " + algorithmsText)
}
