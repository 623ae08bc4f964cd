package rotate

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/tokenagent/tokenagent/agent"
	"github.com/tokenagent/tokenagent/cmd/tokenagent/internal/exitcode"
	"github.com/tokenagent/tokenagent/cmd/tokenagent/internal/keygen"
	"github.com/tokenagent/tokenagent/cmd/tokenagent/internal/rotate/content"
	"github.com/tokenagent/tokenagent/cmd/tokenagent/internal/rotate/gate"
	"github.com/tokenagent/tokenagent/cmd/tokenagent/internal/rotate/store"
	"github.com/tokenagent/tokenagent/cmd/tokenagent/internal/statusclient"
	"github.com/tokenagent/tokenagent/cmd/tokenagent/internal/stdin"
	"github.com/tokenagent/tokenagent/internal/jwt"
	"github.com/tokenagent/tokenagent/internal/rotation"
	"github.com/tokenagent/tokenagent/internal/token"
)

// checkFlags refuses flags that do not go together, and reads the file of --from.
func (r *request) checkFlags(ctx context.Context) (err error) {
	r.expect, r.fingerprint = strings.ToLower(r.expect), strings.ToLower(r.fingerprint)
	switch {
	case r.output != formText && r.output != formJSON:
		return exitcode.Usage("--output must be text or json")
	case r.read.MinTokenBytes < 1:
		return exitcode.Usage("--min-token-bytes must be at least 1")
	case r.kind != "" && r.kind != content.Tokens.String() && r.kind != content.Keys.String():
		return exitcode.Usage("--kind must be tokens or keys")
	case r.read.Algorithm != "" && !slices.Contains(jwt.Algorithms(), r.read.Algorithm):
		return exitcode.Usage("--key-algorithm must be one of %s", strings.Join(jwt.Algorithms(), ", "))
	case r.overlap < 0 && r.overlap != unset:
		return exitcode.Usage("--overlap must not be negative; 0s means none")
	case r.changed("overlap") && r.changed("until"):
		return exitcode.Usage("--overlap and --until are both set; one deadline is meant")
	case r.expect != "" && !isFingerprint(r.expect):
		return exitcode.Usage("--expect must be a fingerprint: 8 hex digits, as tokenagent rotate status shows them")
	case r.Wait < 0:
		return exitcode.Usage("--wait must not be negative; 0s asks once")
	}
	if r.until != "" && !r.changed("overlap") {
		if r.at, err = time.Parse(time.RFC3339, r.until); err != nil {
			return exitcode.Usage("--until is no RFC 3339 time; write it as 2006-01-02T15:04:05Z")
		}
		if !r.at.After(time.Now()) {
			return exitcode.Usage("--until has passed; --overlap 0s refuses the old token at once")
		}
	}
	for _, url := range r.Agents {
		if err := statusclient.Check(url); err != nil {
			return exitcode.Usage("--agent %w", err)
		}
	}
	client, err := r.secure.Client()
	if err != nil {
		return err
	}
	r.Ask = client.Ask
	if r.check != nil {
		if err := r.check(r); err != nil {
			return err
		}
	}
	if r.from == "" {
		return nil
	}
	return r.readFrom(ctx)
}

func isFingerprint(text string) bool {
	return len(text) == 8 && strings.Trim(text, "0123456789abcdef") == ""
}

// maxToken bounds what is read as one token or key, in bytes.
const maxToken = 1 << 20

// readFrom reads the file of --from.
func (r *request) readFrom(ctx context.Context) (err error) {
	var text []byte
	switch {
	case r.from == "-" && r.path == "":
		return exitcode.Usage("--from - goes with PATH alone; without it, standard input is the Secret's")
	case r.from == "-":
		text, err = stdin.Read(ctx, r.stdin, r.stderr, "a token or key", maxToken)
	default:
		if text, err = store.ReadFrom(ctx, r.from, maxToken); err != nil {
			err = fmt.Errorf("--from: %w", err)
		}
	}
	if err == nil && len(text) > maxToken {
		err = fmt.Errorf("--from %s: longer than a token or a key can be (%d bytes)", r.from, maxToken)
	}
	r.text = token.New(string(text))
	return err
}

// credential returns the token or key that --from holds, of the kind of the source.
func (r *request) credential() (content.Credential, error) {
	o := r.read
	o.Name = "--from " + r.from
	parse := content.ParseLines
	if o.Kind == content.Keys {
		parse = content.ParseKeyFile
	}
	c, err := parse([]byte(r.text.Reveal()), o)
	switch {
	case err != nil:
		return content.Credential{}, err
	case c.Set:
		return content.Credential{}, fmt.Errorf("--from %s: a set of keys; one key must be there alone", r.from)
	case len(c.Next)+len(c.Previous)+len(c.Listed)+len(c.Revoked) > 0:
		return content.Credential{}, fmt.Errorf("--from %s: more than one %s; it must be there alone", r.from, o.Kind.Noun())
	}
	return c.Current, nil
}

func (r *request) checkStage() error {
	switch {
	case r.privateOut == "":
		return nil
	case r.from != "":
		return exitcode.Usage("--from and --private-out are both set; stage a key that there is, or make one")
	}
	return r.checkPrivateOut()
}

// validateStage makes what is to be staged, once. Where one of several Secrets has
// a token staged already, that is the one for all of them: kubectl replace may have
// come through with some of them alone.
func (r *request) validateStage(all []content.Content) (err error) {
	r.given = r.from != ""
	c := all[0]
	staged := stagedIn(all)
	switch {
	case r.from != "":
		r.token, err = r.credential()
		if err == nil && c.Set {
			r.token, err = forSet(r.token)
		}
	case len(all) > 1 && len(staged) > 1 && !r.replace:
		err = fmt.Errorf("the Secrets of the list have different %ss staged, %s; stage one for all of them with --replace", c.Kind.Noun(), prints(staged))
	case len(all) > 1 && len(staged) == 1 && !r.replace:
		r.token, r.given = staged[0], true
	case c.Kind == content.Keys:
		err = r.pair(all)
	case r.privateOut != "":
		err = exitcode.Usage("--private-out goes with verification keys; a token has no private half")
	default:
		r.token = content.Token(keygen.Secret(keygen.TokenBytes))
	}
	return err
}

// stagedIn returns each token or key once that is staged in one of all, and not
// revoked there.
func stagedIn(all []content.Content) (staged []content.Credential) {
	for _, c := range all {
		for _, t := range c.Next {
			if !c.Refuses(t) && !isIn(staged, t.ID()) {
				staged = append(staged, t)
			}
		}
	}
	return staged
}

// validateOverlap refuses to guess how long an old key is needed.
func (r *request) validateOverlap(all []content.Content) error {
	switch c := all[0]; {
	case r.overlap != unset || r.until != "" || c.Set:
	case c.Kind == content.Keys:
		return exitcode.Usage("--overlap is missing: what the old key signed is refused when it ends; make it longer than signers take to change, and the longest token is good for, together")
	default:
		r.overlap = agent.DefaultOverlap
	}
	return nil
}

func (r *request) validateNow(all []content.Content) error {
	if all[0].Set {
		return nil // it is refused, and nothing is made for that
	}
	if err := r.validateOverlap(all); err != nil {
		return err
	}
	return r.validateStage(all)
}

// deadline counts from now, in whole seconds: an overlap is never shorter than was
// asked for, and none is over at once. It is declared all the same where there is
// none, since an agent that sees no previous token remembers it for an overlap of its
// own.
func (r *request) deadline(now time.Time) time.Time {
	if !r.at.IsZero() {
		return r.at
	}
	until := now.Add(r.overlap).Truncate(time.Second)
	if r.overlap > 0 && until.Before(now.Add(r.overlap)) {
		until = until.Add(time.Second)
	}
	return until
}

// loaded is passed by agents that accept what is promoted.
func (r *request) loaded(_, to content.Content) gate.Check {
	if !to.Set {
		return gate.Loaded(to.Current.Fingerprint())
	}
	var all []string
	for _, k := range accepted(to) {
		all = append(all, k.Fingerprint())
	}
	return gate.Loaded(all...)
}

func (r *request) checkRetire() error {
	if r.slot != rotation.Previous.String() && r.slot != rotation.Next.String() {
		return exitcode.Usage("--slot must be previous or next; senders send the current one, which promote replaces")
	}
	if r.idle == unset {
		r.idle = 0 // the agents' overlap decides
	} else if r.idle <= 0 {
		return exitcode.Usage("--idle must be positive")
	}
	return nil
}

// validateRetire holds --key to key sets, where no key is previous.
func (r *request) validateRetire(all []content.Content) error {
	c := all[0]
	if r.slot == rotation.Next.String() {
		switch {
		case c.Set:
			return exitcode.Usage("a key set has no slots; --key names the one that goes")
		case r.key != "":
			return exitcode.Usage("--key goes with key sets; here it is the staged %s that goes", c.Kind.Noun())
		case len(r.Agents) > 0:
			return exitcode.Usage("--agent goes with --slot previous: of a staged %s agents record no use", c.Kind.Noun())
		}
		return nil
	}
	switch {
	case c.Set && r.key == "":
		return exitcode.Usage("--key is missing: of a key set name the one that goes, by its kid or fingerprint, once everything that it signed has expired")
	case c.Set && len(r.Agents) > 0:
		return exitcode.Usage("--agent cannot tell who uses a key of a set, since agents record uses of a previous one alone; leave it out, and wait until what the key signed has expired")
	case !c.Set && r.key != "":
		return exitcode.Usage("--key goes with key sets; here the previous %s is what goes", c.Kind.Noun())
	}
	return nil
}

// unused is passed by agents that saw no use of what is retired.
func (r *request) unused(from, _ content.Content) gate.Check {
	var old []string
	for _, p := range from.Previous {
		old = append(old, p.Token.Fingerprint())
	}
	return gate.Unused(from.Current.Fingerprint(), old, r.idle)
}

var errDigest = exitcode.Usage("--digest must be the SHA-256 of the token: 64 hex digits, as from printf %%s \"$TOKEN\" | sha256sum; or the thumbprint of the key")

// count returns how many of flags are given.
func count(flags ...string) int {
	return len(slices.DeleteFunc(flags, func(f string) bool { return f == "" }))
}

func (r *request) checkRevoke() error {
	slots := []string{rotation.Current.String(), rotation.Next.String(), rotation.Previous.String()}
	named := count(r.digest, r.from, r.kid, r.jti, r.forget)
	switch {
	case named > 1 || named == 1 && r.changed("slot"):
		return exitcode.Usage("of --slot, --digest, --from, --kid, --jti and --forget one is meant")
	case r.expect != "" && named > 0:
		return exitcode.Usage("--expect goes with --slot; the other flags name what is meant already")
	case !slices.Contains(slots, r.slot):
		return exitcode.Usage("--slot must be previous, next or current")
	case r.forget != "":
		id, ok := parseDigest(r.forget)
		if !ok {
			id, ok = content.Revocation(r.forget, content.Keys)
		}
		if !ok {
			return exitcode.Usage("--forget must be a SHA-256: 64 hex digits; of keys also a thumbprint in base64url, kid NAME or jti ID")
		}
		r.id = &id
	case r.kid != "":
		r.said = "every key and token of that kid"
	case r.jti != "":
		r.said = "the token with that jti"
	}
	return r.named()
}

func (r *request) checkUnrevoke() error {
	switch given := count(r.from, r.fingerprint, r.digest, r.kid, r.jti); {
	case given > 1:
		return exitcode.Usage("of --from, --digest, --fingerprint, --kid and --jti one is meant")
	case given == 0 && r.path == "":
		return exitcode.Usage("say what is no longer revoked, with --digest, --fingerprint or --from FILE; standard input is the Secret's")
	case given == 0:
		r.from = "-"
	case r.fingerprint != "" && !isFingerprint(r.fingerprint):
		return exitcode.Usage("--fingerprint must be 8 hex digits, as tokenagent rotate status shows them")
	}
	return r.named()
}

// named takes --digest, --kid or --jti.
func (r *request) named() (err error) {
	var id rotation.ID
	switch {
	case r.digest != "":
		var ok bool
		if id, ok = parseDigest(r.digest); !ok {
			return errDigest
		}
	case r.kid != "":
		id, r.line, err = revokedName("kid", r.kid)
	case r.jti != "":
		id, r.line, err = revokedName("jti", r.jti)
	default:
		return nil
	}
	r.id = &id
	return err
}

// validateRevoke holds the flags to the kind of source, and finds what is meant.
func (r *request) validateRevoke(all []content.Content) error {
	switch c := all[0]; {
	case c.Kind == content.Tokens && r.kid+r.jti != "":
		return exitcode.Usage("--kid and --jti go with verification keys; name the token with --from or --digest")
	case c.Set && (r.changed("slot") || count(r.digest, r.from, r.kid, r.jti, r.forget) == 0):
		return exitcode.Usage("a key set has no slots; say what to revoke with --from, --digest, --kid or --jti")
	}
	if err := r.idFrom(); err != nil {
		return err
	}
	ids, err := r.resolve(all)
	r.ids = ids
	return err
}

func (r *request) validateUnrevoke(all []content.Content) error {
	if all[0].Kind == content.Tokens && r.kid+r.jti != "" {
		return exitcode.Usage("--kid and --jti go with verification keys; name the token with --from, --digest or --fingerprint")
	}
	return r.idFrom()
}

// idFrom takes the ID of what --from holds.
func (r *request) idFrom() error {
	if r.from == "" {
		return nil
	}
	v, err := r.credential()
	if err != nil {
		return err
	}
	id := v.ID()
	r.id = &id
	return nil
}
