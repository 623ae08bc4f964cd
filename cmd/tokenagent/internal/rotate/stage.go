package rotate

import (
	"fmt"
	"slices"

	"github.com/spf13/pflag"

	"github.com/tokenagent/tokenagent/cmd/tokenagent/internal/exitcode"
	"github.com/tokenagent/tokenagent/cmd/tokenagent/internal/keygen"
	"github.com/tokenagent/tokenagent/cmd/tokenagent/internal/rotate/content"
)

func (r *request) addStage(f *pflag.FlagSet) {
	r.addFrom(f, "stage the token or verification key")
	f.StringVar(&r.privateOut, "private-out", "", "make a key pair, and put the private key into a new `FILE` (mode 0600) and nowhere else")
	f.BoolVar(&r.replace, "replace", false, "replace a token or key that is already staged")
}

// prepareStage finds or makes what is to be staged, once for all sources. If one of them
// has a token staged, all get that one: kubectl replace may have come through for some
// Secrets of a List only.
func (r *request) prepareStage(all []content.Source) (err error) {
	c := all[0].Content
	var staged []content.Credential // each once; not what is revoked or current there
	for _, c := range all {
		for _, t := range c.Next {
			if !c.Refuses(t) && t.ID() != c.Current.ID() && !isIn(staged, t.ID()) {
				staged = append(staged, t)
			}
		}
	}
	r.given = r.from != ""
	switch {
	case r.given:
		if r.candidate, err = r.fromCredential(); err == nil && c.IsKeySet {
			r.candidate, err = forSet(r.candidate)
		}
	case len(staged) == 1 && !r.replace:
		r.candidate, r.given = staged[0], true
	case len(staged) > 1 && !r.replace:
		err = severalStaged(staged)
	case c.Kind == content.Keys:
		err = r.makeKey(c)
	case r.privateOut != "":
		err = exitcode.Usage("--private-out goes with verification keys; a token has no private key")
	default:
		r.candidate = content.Token(keygen.Secret(keygen.TokenBytes))
	}
	return err
}

// fromCredential parses the file of --from as one token or key. The token may have the name
// of the client.
func (r *request) fromCredential() (content.Credential, error) {
	o := r.read
	o.Name, o.Client = "--from "+r.from, ""
	c, err := content.ParseFile([]byte(r.fromText.Reveal()), o)
	if named, is := c.Of(r.read.Client); err == nil && is {
		c = named
	}
	switch {
	case err != nil:
	case c.IsKeySet:
		err = fmt.Errorf("%s: a set of keys; one key must be there alone", o.Name)
	case len(c.Owners)+len(c.Revoked) > 1:
		err = fmt.Errorf("%s: more than one %s; it must be there alone", o.Name, o.Kind.Noun())
	case !c.HasCurrent():
		err = fmt.Errorf("%s: the token has the name of another client; take name= out, or give --client that name", o.Name)
	}
	return c.Current, err
}

func stage(c content.Content, o options) (change, error) {
	if c.IsKeySet {
		return addKey(c, o)
	}
	if nextIsCurrent(c) {
		c.Next = nil
	}
	noun, id, fingerprint := c.Kind.Noun(), o.candidate.ID(), o.candidate.Fingerprint()
	staged := slices.DeleteFunc(slices.Clone(c.Next), c.Refuses)
	switch {
	case o.given && c.Refuses(o.candidate):
		return refuse("the %s %s is revoked; give another one", noun, fingerprint)
	case o.given && id == c.Current.ID():
		return done(c, "%s is the current %s already", fingerprint, noun)
	case o.given && len(c.Next) == 1 && id == c.Next[0].ID():
		return done(c, "%s is staged already", fingerprint)
	case o.replace || len(staged) == 0:
		c.Next = []content.Credential{o.candidate}
		return done(c, "staged %s as the next %s", fingerprint, noun)
	case len(staged) > 1:
		return change{}, severalStaged(staged)
	}
	return refuse("another %s, %s, is staged; promote it first, or put yours in its place with --replace", noun, staged[0].Fingerprint())
}

// addKey stages a key in a key set. No key of a set is current: receivers accept all of
// them, and the signers choose.
func addKey(c content.Content, o options) (change, error) {
	fingerprint := o.candidate.Fingerprint()
	switch {
	case o.given && c.Refuses(o.candidate):
		return refuse("the key %s is revoked; give another one", fingerprint)
	case o.replace:
		return refuse("a key set holds many keys, and nothing is replaced in it; leave --replace out, and retire the keys that are no longer to be accepted")
	case isIn(c.Listed, o.candidate.ID()):
		return done(c, "%s is in the set already", fingerprint)
	}
	c.Listed = append(c.Listed, o.candidate)
	return done(c, "added %s to the set", fingerprint)
}

func (r *request) addNow(f *pflag.FlagSet) {
	r.addStage(f)
	r.addOverlap(f)
	f.BoolVar(&r.again, "again", false, "rotate although the last rotation's overlap is under way")
}

func (r *request) prepareNow(all []content.Source) error {
	if all[0].IsKeySet {
		return nil // now refuses it
	}
	if err := r.prepareOverlap(all); err != nil {
		return err
	}
	return r.prepareStage(all)
}

// now stages and promotes. Unlike the other steps it is not idempotent, so while an
// overlap is under way it needs --again.
func now(c content.Content, o options) (change, error) {
	if c.IsKeySet {
		return refuse("a key set has no current key; stage, wait for the receivers, let signers change, wait for what the old key signed to expire, and retire it")
	}
	for _, old := range c.Previous {
		if !o.again && old.Live(o.now) && !c.Refuses(old.Token) && old.Token.ID() != c.Current.ID() {
			more := ""
			if c.OnePrevious {
				more = " --drop-previous, which refuses it"
			}
			return refuse("the last rotation is still under way: %s is accepted%s; retire it first, or rotate all the same with --again%s",
				old.Token.Fingerprint(), deadline(old), more)
		}
	}
	ch, err := stage(c, o)
	if err != nil || o.given && o.candidate.ID() == c.Current.ID() {
		return ch, err
	}
	return promote(ch.to, o)
}
