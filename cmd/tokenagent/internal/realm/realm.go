// Package realm holds the agents of one process, each for one realm: a protection
// space with sources of its own (RFC 9110 section 11.5). It finds the realm of a
// request, and replaces the realms as a whole when their file changes.
package realm

import (
	"cmp"
	"context"
	"net/url"
	"path"
	"slices"
	"strings"

	"github.com/tokenagent/tokenagent/agent"
	"github.com/tokenagent/tokenagent/cmd/tokenagent/internal/extauthz"
	"github.com/tokenagent/tokenagent/cmd/tokenagent/internal/gateway"
	"github.com/tokenagent/tokenagent/pkg/verify"
	"github.com/tokenagent/tokenagent/pkg/verify/httpauth"
)

// A Spec says what a realm is to be.
type Spec struct {
	Name    string
	Hosts   []string // as [CheckHost] takes them
	Headers []string // where the token stands; none means the default
	// Settings is equal where Config is, so that an agent is kept whose realm did
	// not change.
	Settings string
	Config   agent.Config
}

// A Plan says which realms there are to be.
type Plan struct {
	Specs   []Spec
	Default string // the realm of requests that name none; "" for none
	Paths   bool   // whether a path can name a realm
}

// A Realm is what decides about the requests that are its own. It is immutable.
type Realm struct {
	Name  string // "" for the one of an agent without realms
	Hosts []string
	Agent *agent.Agent
	// Guard decides about requests to the main listener, Rule about those that
	// Envoy asks about over gRPC.
	Guard   *httpauth.Guard
	Headers []string // that Guard reads
	Rule    *extauthz.Rule

	set      *Set
	settings string
}

var _ verify.RevocationWaiter = (*Realm)(nil)

// newRealm returns the Realm of a.
func (s *Set) newRealm(a *agent.Agent, spec Spec) *Realm {
	r := &Realm{Name: spec.Name, Hosts: spec.Hosts, Agent: a, set: s, settings: spec.Settings}
	template := s.o.Auth
	template.Headers, template.Realm = spec.Headers, spec.Name
	r.Guard = httpauth.New(a, template)
	r.Headers = r.Guard.Headers()
	verdict := r.Guard
	if !template.ForwardAuth {
		template.ForwardAuth, template.Exempt = true, nil
		verdict = httpauth.New(a, template)
	}
	r.Rule = extauthz.NewRule(verdict)
	return r
}

// AwaitRevocation asks the realm's agent, and once that is closed, the one that has
// taken its place. It returns true, too, when the file has no realm of that name any
// more: such a realm accepts nothing. It returns false when ctx ends, when no agent of
// the realm knows p any more, and when the Set is closed.
func (r *Realm) AwaitRevocation(ctx context.Context, p *verify.Principal) bool {
	for a := r.Agent; ; {
		if a.AwaitRevocation(ctx, p) {
			return true
		}
		now := r.set.table.Load().Named(r.Name)
		if ctx.Err() != nil || now != nil && now.Agent == a {
			return false
		}
		if now == nil {
			return r.set.plan != nil && r.set.run.Err() == nil
		}
		a = now.Agent
	}
}

// A Table is the realms as they are for a while. It is immutable. Once another is
// in force, the agents that are not in that one are closed after a grace.
type Table struct {
	realms   []*Realm // in the order of their file
	byName   map[string]*Realm
	byHost   map[string]*Realm
	suffixes []suffix // the longest first
	fallback *Realm
	paths    bool
	single   bool // fallback is the realm of every request

	denyAll *httpauth.Guard // nil where single
	headers []string        // that denyAll reads
}

// A suffix is what follows the '*' of a host such as *.example.com.
type suffix struct {
	text  string
	realm *Realm
}

// add puts r in, before anybody has t.
func (t *Table) add(r *Realm) {
	t.realms = append(t.realms, r)
	t.byName[r.Name] = r
	for _, host := range r.Hosts {
		if end, wild := strings.CutPrefix(host, "*"); wild {
			t.suffixes = append(t.suffixes, suffix{end, r})
		} else {
			t.byHost[host] = r
		}
	}
}

// finish does what is left to do once all are in.
func (t *Table) finish(plan *Plan) {
	slices.SortStableFunc(t.suffixes, func(a, b suffix) int { return cmp.Compare(len(b.text), len(a.text)) })
	t.fallback, t.paths = t.byName[plan.Default], plan.Paths
}

// ofNone makes the Guard for requests of no realm.
func (t *Table) ofNone(o httpauth.Options) {
	t.headers = httpauth.New(gateway.DenyAll(), o).Headers()
	for _, r := range t.realms {
		for _, name := range r.Headers {
			if !slices.Contains(t.headers, name) {
				t.headers = append(t.headers, name)
			}
		}
	}
	o.Headers = t.headers
	t.denyAll = httpauth.New(gateway.DenyAll(), o)
}

// DenyAll returns the Guard for requests of no realm, and the headers that it reads:
// those of all realms and the default ones. It refuses every token; where a request
// needs none, it takes off the token of whichever realm.
func (t *Table) DenyAll() (g *httpauth.Guard, headers []string) { return t.denyAll, t.headers }

// Realms returns all of them. Nobody may modify it.
func (t *Table) Realms() []*Realm { return t.realms }

// Named returns the realm called name, and nil if there is none. t may be nil.
func (t *Table) Named(name string) *Realm {
	if t == nil {
		return nil
	}
	return t.byName[name]
}

// ByHost returns the realm of the host that a request was sent to (the Host header
// field or :authority), with or without a port: the one that names it, else the one
// with the longest *.suffix that covers it, else the default. It is nil for none; a
// host that [ParseHost] does not take, or that is missing, belongs to none. The one
// realm of an agent without realms takes every request, whatever its host.
func (t *Table) ByHost(host string) *Realm {
	if t.single {
		return t.fallback
	}
	r, ok := t.ofHost(host)
	if r == nil && ok {
		return t.fallback
	}
	return r
}

// ofHost is ByHost without the default. It reports false for a malformed host.
func (t *Table) ofHost(host string) (r *Realm, ok bool) {
	name, ok := ParseHost(host)
	if !ok {
		return nil, false
	}
	if r := t.byHost[name]; r != nil {
		return r, true
	}
	for i := range t.suffixes {
		if s := &t.suffixes[i]; len(name) > len(s.text) && strings.HasSuffix(name, s.text) {
			return s.realm, true
		}
	}
	return nil, true
}

const prefix = "/verify/"

// ByPath returns the realm of a request to a gateway's endpoint: the one that its
// path names, as /verify/NAME with anything behind it, and otherwise that of its
// host. The path is as it was escaped. Where the host is malformed, or is another
// realm's than the path, there is none: a gateway that hands on the path of its
// client would let that one choose. There is none either for a path that is nearly
// /verify/NAME: it was meant to name a realm, and must not get another.
func (t *Table) ByPath(escaped, host string) *Realm {
	if !t.paths {
		return t.ByHost(host)
	}
	rest, ok := strings.CutPrefix(escaped, prefix)
	if !ok {
		if isNearPrefix(escaped) {
			return nil
		}
		return t.ByHost(host)
	}
	other, ok := t.ofHost(host)
	name, _, _ := strings.Cut(rest, "/")
	if r := t.byName[name]; ok && (other == nil || other == r) {
		return r
	}
	return nil
}

// isNearPrefix reports whether a path that does not begin with prefix would do so, or
// would be prefix without its '/', to a program that decodes it (however often), takes
// '\' for '/', cleans it, drops parameters (;x) and final dots of segments, and
// ignores case.
func isNearPrefix(escaped string) bool {
	const most = 5 // times that it is decoded; nobody means to encode it more often
	plain := escaped
	for range most {
		next, err := url.PathUnescape(plain)
		if err != nil {
			return plain == escaped || beginsLikePrefix(plain) // whatever it was meant to be
		}
		if next == plain {
			return beginsLikePrefix(plain)
		}
		plain = next
	}
	return true
}

// beginsLikePrefix is isNearPrefix for a decoded path.
func beginsLikePrefix(plain string) bool {
	segments := strings.Split(strings.ReplaceAll(plain, `\`, "/"), "/")
	for i, s := range segments {
		s, _, _ = strings.Cut(s, ";")
		if bare := strings.TrimRight(s, "."); bare != "" {
			s = bare // but not of . and ..
		}
		segments[i] = s
	}
	plain = strings.ToLower(path.Clean(strings.Join(segments, "/")))
	return plain+"/" == prefix || strings.HasPrefix(plain, prefix)
}
