package agent

import (
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/tokenagent/tokenagent/internal/jwt"
	"github.com/tokenagent/tokenagent/internal/jwt/jwks"
	"github.com/tokenagent/tokenagent/internal/rotation"
	"github.com/tokenagent/tokenagent/internal/token"
	"github.com/tokenagent/tokenagent/pkg/reload"
)

// newTokenSource returns a source of shared tokens.
func newTokenSource(spec *sourceSpec, minBytes int, closed *atomic.Bool, log *slog.Logger) *tokenSource {
	src := newSource[token.Token, token.Set](spec, closed, log)
	src.parse = func(c reload.Content) (d declaration[token.Token], err error) {
		o := token.Options{MinTokenBytes: minBytes, Name: nameOf(c, spec)}
		if c.Keys == nil {
			d.Content, err = token.Parse(c.Data, o)
			return d, err
		}
		d.Content, err = token.ParseDir(c.Keys, o)
		return d, addKeyNames(err, c, token.FileCurrent)
	}
	src.build = func(l *rotation.Ledger[token.Token], _ *token.Set, _ []rotation.Decl[token.Token]) *token.Set {
		return token.NewSet(l, spec.name)
	}
	src.encode = func(token.Token) json.RawMessage { return nil }
	src.decode = token.Remembered
	src.expires = token.Token.Expires
	return src
}

// newKeySource returns a source of verification keys. remote is nil if the source is
// not a server.
func newKeySource(spec *sourceSpec, algorithm string, remote *jwks.RemoteSource, closed *atomic.Bool, log *slog.Logger) *keySource {
	src := newSource[jwt.Key, jwt.KeySet](spec, closed, log)
	src.parse = func(c reload.Content) (d declaration[jwt.Key], err error) {
		o := jwks.ParseOptions{Name: nameOf(c, spec), Algorithm: algorithm}
		if remote != nil {
			o = remote.ParseOptions()
		}
		var k jwks.Keys
		if c.Keys == nil {
			k, err = jwks.Parse(c.Data, o)
		} else {
			k, err = jwks.ParseKeys(c.Keys, o)
			err = addKeyNames(err, c, jwks.KeyCurrent, jwks.KeyJWKS)
		}
		d.Content = k.Content
		for _, skipped := range k.Skipped {
			d.notes = append(d.notes, "left out: "+skipped.Error())
		}
		return d, err
	}
	src.build = func(l *rotation.Ledger[jwt.Key], before *jwt.KeySet, declared []rotation.Decl[jwt.Key]) *jwt.KeySet {
		return jwt.NextKeySet(l, spec.name, before, declared)
	}
	src.encode, src.decode = encodeKey, decodeKey
	if remote != nil {
		src.usable, src.fileError = remote.Usable, remote.FileError
	}
	return src
}

// nameOf returns the name of the source for error messages.
func nameOf(c reload.Content, spec *sourceSpec) string {
	if c.Path != "" {
		return c.Path
	}
	return spec.location
}

// maxNotes is the largest number of notes, fingerprints or key names in a message.
const maxNotes = 10

// keyName matches the names that a key of a Secret can have
// (https://kubernetes.io/docs/concepts/configuration/secret/#restriction-names-data).
var keyName = regexp.MustCompile(`^[-._a-zA-Z0-9]+$`)

// addKeyNames adds the names of the keys in the directory c to err, if c has none of
// the wanted keys: the Secret may hold the token under another key.
func addKeyNames(err error, c reload.Content, wanted ...string) error {
	if err == nil || slices.ContainsFunc(wanted, func(key string) bool { return c.Keys[key] != nil }) {
		return err
	}
	entries, failed := os.ReadDir(filepath.Join(c.Path, "..data"))
	if failed != nil {
		if entries, failed = os.ReadDir(c.Path); failed != nil {
			return err
		}
	}
	var names []string
	for _, e := range entries {
		if name := e.Name(); !e.IsDir() && !strings.HasPrefix(name, "..") && keyName.MatchString(name) {
			names = append(names, name)
		}
	}
	switch more := len(names) - maxNotes; {
	case len(names) == 0:
		return fmt.Errorf("%w; there are no keys at all", err)
	case more > 0:
		return fmt.Errorf("%w; the keys there are %s and %d more", err, strings.Join(names[:maxNotes], ", "), more)
	default:
		return fmt.Errorf("%w; the keys there are %s", err, strings.Join(names, ", "))
	}
}

// A storedKey is a public key in the state file.
type storedKey struct {
	Public    string `json:"public"` // PKIX DER in base64
	Algorithm string `json:"alg"`
	KeyID     string `json:"kid,omitempty"`
}

// encodeKey returns the JSON of a public key. An HMAC secret is not stored, so a restart
// forgets a superseded secret that the source does not declare.
func encodeKey(k jwt.Key) json.RawMessage {
	der, err := x509.MarshalPKIXPublicKey(k.PublicKey())
	if err != nil {
		return nil // an HMAC secret
	}
	text, err := json.Marshal(storedKey{base64.StdEncoding.EncodeToString(der), k.Algorithm(), k.KeyID()})
	if err != nil {
		return nil
	}
	return text
}

// decodeKey returns the public key of e, and false if e holds no key with its ID.
func decodeKey(e rotation.SnapshotEntry) (k jwt.Key, ok bool) {
	var stored storedKey
	if json.Unmarshal(e.Value, &stored) != nil {
		return k, false
	}
	der, err := base64.StdEncoding.DecodeString(stored.Public)
	if err != nil {
		return k, false
	}
	public, err := x509.ParsePKIXPublicKey(der)
	if err != nil {
		return k, false
	}
	k, err = jwt.NewKey(jwt.KeyConfig{KeyID: stored.KeyID, Algorithm: stored.Algorithm, Material: public})
	return k, err == nil && k.ID() == e.ID
}

// remotePoll is the interval at which a key server's source checks whether a request is
// due.
const remotePoll = 2 * time.Second
