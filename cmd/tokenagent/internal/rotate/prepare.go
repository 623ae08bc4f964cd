package rotate

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/tokenagent/tokenagent/agent"
	"github.com/tokenagent/tokenagent/cmd/tokenagent/internal/exitcode"
	"github.com/tokenagent/tokenagent/cmd/tokenagent/internal/keygen"
	"github.com/tokenagent/tokenagent/cmd/tokenagent/internal/rotate/content"
	"github.com/tokenagent/tokenagent/cmd/tokenagent/internal/rotate/gate"
	"github.com/tokenagent/tokenagent/internal/rotation"
	"github.com/tokenagent/tokenagent/pkg/verify"
)

// prepareStage finds or makes what is to be staged, once for all sources. If one of them
// has a token staged, all get that one: kubectl replace may have come through for some
// Secrets of a List only.
func (r *request) prepareStage(all []content.Content) (err error) {
	c := all[0]
	staged := stagedIn(all)
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

// stagedIn returns, each once, what is staged in one of all, and there is not revoked and
// not current.
func stagedIn(all []content.Content) (staged []content.Credential) {
	for _, c := range all {
		for _, t := range c.Next {
			if !c.Refuses(t) && t.ID() != c.Current.ID() && !isIn(staged, t.ID()) {
				staged = append(staged, t)
			}
		}
	}
	return staged
}

// fromCredential parses the file of --from as one token or key.
func (r *request) fromCredential() (content.Credential, error) {
	o := r.read
	o.Name = "--from " + r.from
	parse := content.ParseLines
	if o.Kind == content.Keys {
		parse = content.ParseKeyFile
	}
	c, err := parse([]byte(r.fromText.Reveal()), o)
	switch {
	case err != nil:
	case c.IsKeySet:
		err = fmt.Errorf("%s: a set of keys; one key must be there alone", o.Name)
	case len(c.Next)+len(c.Previous)+len(c.Listed)+len(c.Revoked) > 0:
		err = fmt.Errorf("%s: more than one %s; it must be there alone", o.Name, o.Kind.Noun())
	}
	return c.Current, err
}

// prepareOverlap does not guess how long an old key is needed.
func (r *request) prepareOverlap(all []content.Content) error {
	switch c := all[0]; {
	case r.overlap != unset || r.untilFlag != "" || c.IsKeySet:
	case c.Kind == content.Keys:
		return exitcode.Usage("--overlap is missing: what the old key signed is refused when it ends; make it longer than signers take to change, and the longest token is good for, together")
	default:
		r.overlap = agent.DefaultOverlap
	}
	return nil
}

func (r *request) prepareNow(all []content.Content) error {
	if all[0].IsKeySet {
		return nil // now refuses it
	}
	if err := r.prepareOverlap(all); err != nil {
		return err
	}
	return r.prepareStage(all)
}

// deadline rounds an overlap up to whole seconds, which is what a source can declare.
// An overlap of zero has a deadline as well: without one, an agent would remember the
// old token for an overlap of its own.
func (r *request) deadline(now time.Time) time.Time {
	if !r.untilTime.IsZero() {
		return r.untilTime
	}
	until := now.Add(r.overlap)
	if r.overlap > 0 {
		until = until.Add(time.Second - 1)
	}
	return until.Truncate(time.Second)
}

// loaded is passed by agents that accept what is promoted.
func (r *request) loaded(_, to content.Content) gate.Check {
	keys := []content.Credential{to.Current}
	if to.IsKeySet {
		keys = accepted(to)
	}
	return gate.Loaded(fingerprints(idsOf(keys))...)
}

func (r *request) prepareRetire(all []content.Content) error {
	switch c, next := all[0], r.slot == slotNext; {
	case c.IsKeySet && next:
		return exitcode.Usage("a key set has no slots; name the key to take out with --key")
	case next && len(r.Agents) > 0 && r.key == "":
		return exitcode.Usage("--agent goes with --slot previous; agents record no use of a staged %s", c.Kind.Noun())
	case c.IsKeySet && r.key == "":
		return exitcode.Usage("--key is missing: name the key to take out, by its kid or fingerprint, once everything that it signed has expired")
	case c.IsKeySet && len(r.Agents) > 0:
		return exitcode.Usage("--agent cannot tell who uses a key of a set, because agents record only uses of previous keys; leave it out, and wait until everything that the key signed has expired")
	case !c.IsKeySet && r.key != "":
		return exitcode.Usage("--key goes with key sets; here retire takes out the %s %s", r.slot, c.Kind.Noun())
	}
	return nil
}

// unused is passed by agents that saw no use of what is retired.
func (r *request) unused(from, _ content.Content) gate.Check {
	old := fingerprints(idsOf(inSlot(from, slotPrevious)))
	return gate.Unused(from.Current.Fingerprint(), old, max(r.idle, 0))
}

func (r *request) prepareRevoke(all []content.Content) error {
	if c := all[0]; c.IsKeySet && (r.changed("slot") || r.named() == 0) {
		return exitcode.Usage("a key set has no slots; say what to revoke with --from, --digest, --kid or --jti")
	}
	err := r.prepareUnrevoke(all)
	if err == nil {
		r.ids, err = r.meant(all)
	}
	return err
}

func (r *request) prepareUnrevoke(all []content.Content) error {
	if all[0].Kind == content.Tokens && r.line != "" {
		return exitcode.Usage("--kid and --jti go with verification keys; name the token with --from or --digest")
	}
	switch {
	case r.fingerprint != "":
		return r.findRevoked(all)
	case r.from == "":
		return nil
	}
	v, err := r.fromCredential()
	id := v.ID()
	r.id = &id
	return err
}

// findRevoked sets r.id to the revocation with the fingerprint, once for all sources: agents
// of each may remember it.
func (r *request) findRevoked(all []content.Content) error {
	for _, c := range all {
		for _, id := range slices.Concat(c.Revoked, c.Unrevoked) {
			switch {
			case verify.Fingerprint(id) != r.fingerprint:
			case r.id != nil && *r.id != id:
				return errors.New("several revocations have that fingerprint; name one with --digest")
			default:
				r.id = &id
			}
		}
	}
	if r.id == nil {
		return errors.New("no revocation here has that fingerprint; name one that only agents remember with --digest or --from FILE")
	}
	return nil
}

// meant returns what revoke is about, once for all: each Secret of a List is to refuse
// what is in the slot of any of them.
func (r *request) meant(all []content.Content) (ids []rotation.ID, err error) {
	if r.id != nil {
		return []rotation.ID{*r.id}, nil
	}
	isMeant := func(id rotation.ID) bool { return r.expect == "" || verify.Fingerprint(id) == r.expect }
	done := false
	for _, c := range all {
		done = done || slices.ContainsFunc(c.Revoked, isMeant) // what is revoked is in no slot any more
		if r.finishes(c) {
			continue
		}
		for _, t := range inSlot(c, r.slot) {
			if id := t.ID(); isMeant(id) && !slices.Contains(ids, id) {
				ids = append(ids, id)
			}
		}
	}
	noun := all[0].Kind.Noun()
	switch {
	case len(ids) > 0 || done:
		return ids, nil
	case r.expect != "":
		return nil, fmt.Errorf("there is no %s %s %s, as --expect says; see what is there with tokenagent rotate status", r.slot, noun, r.expect)
	}
	return nil, fmt.Errorf("there is no %s %s to revoke; name the %s with --from FILE or --digest, or another --slot", r.slot, noun, noun)
}
