package rotate

import (
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/spf13/pflag"

	"github.com/tokenagent/tokenagent/cmd/tokenagent/internal/keygen"
	"github.com/tokenagent/tokenagent/cmd/tokenagent/internal/rotate/content"
	"github.com/tokenagent/tokenagent/internal/rotation"
	"github.com/tokenagent/tokenagent/pkg/verify"
)

// isForAll reports whether the step is about a digest alone, which holds for all clients.
func (r *request) isForAll() bool {
	return r.read.Client == "" && (r.name == "unrevoke" || r.name == "revoke" && r.slot == "")
}

// requireClient returns an error unless the client of s has a token. The error does not repeat
// a name that may be a misplaced token.
func requireClient(s content.Source) error {
	named := content.ShortList(slices.DeleteFunc(s.Clients(), func(name string) bool { return name == "" }))
	switch {
	case s.IsKeySet || s.HasCurrent():
		return nil
	case s.Client == "":
		return fmt.Errorf("%s: every token there belongs to a named client; choose one with --client: %s", s.Name, named)
	case named == "":
		return fmt.Errorf("%s: it has no client of that name, nor another named one; add it with tokenagent rotate add-client", s.Name)
	}
	return fmt.Errorf("%s: it has no client of that name, but %s; add it with tokenagent rotate add-client", s.Name, named)
}

// checkClients refuses a change that would give a client the token of another one, or would
// revoke the token of another one.
func checkClients(from, to content.Content) error {
	for _, v := range to.Declared() {
		if owner, is := to.OtherOwner(v.ID()); is {
			return fmt.Errorf("%s and %s would have the same token, %s; give each client a token of its own", rotation.ClientLabel(owner), rotation.ClientLabel(to.Client), v.Fingerprint())
		}
	}
	for _, id := range to.Revoked {
		if owner, is := to.OtherOwner(id); is && !from.IsRevoked(id) {
			return fmt.Errorf("%s is a token of %s, and not of %s; revoke it there: %s", verify.Fingerprint(id), rotation.ClientLabel(owner), rotation.ClientLabel(to.Client), howToName(owner))
		}
	}
	return nil
}

func howToName(client string) string {
	if client == "" {
		return "without --client"
	}
	return "--client " + client
}

func (r *request) addAddClient(f *pflag.FlagSet) { r.addFrom(f, "give the client the token") }

// prepareAddClient finds or makes the token, once for all Secrets of a List. If the client
// is in some of them already, the others get the token that it has there: kubectl replace
// may have come through for some only.
func (r *request) prepareAddClient(all []content.Source) (err error) {
	with := slices.DeleteFunc(slices.Clone(all), func(s content.Source) bool { return !s.HasCurrent() })
	r.given = true
	switch {
	case len(with) == len(all):
		return fmt.Errorf("%s has %s already; rotate its token with stage and promote", listName(all), rotation.ClientLabel(r.read.Client))
	case r.from != "":
		r.candidate, err = r.fromCredential()
	case len(with) > 0:
		r.candidate = with[0].Current
	default:
		r.candidate, r.given = content.Token(keygen.Secret(keygen.TokenBytes)), false
	}
	return err
}

func addClient(c content.Content, o options) (change, error) {
	fingerprint, client := o.candidate.Fingerprint(), rotation.ClientLabel(c.Client)
	switch {
	case c.HasCurrent() && c.Current.ID() != o.candidate.ID():
		return refuse("%s is there with another token, %s", client, c.Current.Fingerprint())
	case c.HasCurrent():
		return done(c, "%s is there already, with %s", client, fingerprint)
	case c.Refuses(o.candidate):
		return refuse("the token %s is revoked; give another one", fingerprint)
	}
	c.Current = o.candidate
	return done(c, "added %s, with %s as its current token", client, fingerprint)
}

func (r *request) addRemoveClient(f *pflag.FlagSet) {
	f.BoolVar(&r.force, "force", false, "remove the client even if no other client has a token there")
}

// prepareRemoveClient finds what is to be revoked, in all Secrets of a List.
func (r *request) prepareRemoveClient(all []content.Source) error {
	for _, s := range all {
		for _, v := range s.Declared() {
			old, isPrevious := s.Superseded(v)
			ended := isPrevious && !old.Live(time.Now()) && !isIn(slices.Concat(s.Next, s.Listed), v.ID()) && v.ID() != s.Current.ID()
			if !ended && !slices.Contains(r.ids, v.ID()) {
				r.ids = append(r.ids, v.ID())
			}
		}
	}
	if len(r.ids) == 0 {
		return requireClient(all[0])
	}
	return nil
}

// removeClient revokes what is accepted of the client, and removes all its tokens.
func removeClient(c content.Content, o options) (change, error) {
	others := slices.DeleteFunc(slices.Collect(maps.Values(c.Owners)), func(owner string) bool { return owner == c.Client })
	switch {
	case len(others) > 0 || !c.HasCurrent():
	case !o.force:
		return refuse("%s is the only client, and without it the source would have no token; add another one first, or remove it all the same with --force", rotation.ClientLabel(c.Client))
	}
	o.force = true
	ch, err := revoke(c, o)
	if err != nil {
		return change{}, err
	}
	ch.warnings = nil
	ch.summary = "removed " + rotation.ClientLabel(c.Client) + "; " + ch.summary
	ch.to.Current, ch.to.Next, ch.to.Previous, ch.to.Listed = content.Credential{}, nil, nil, nil
	if len(others) == 0 {
		ch.warnings = []string{"no token is left there: agents report the source as bad, and accept only what else they remember; put a token in by hand"}
	}
	return ch, nil
}
