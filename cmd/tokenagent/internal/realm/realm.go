// Package realm finds the realm of a request: a protection space with credential sources
// of its own (RFC 9110 section 11.5). It holds one agent for each realm, and replaces all
// realms together when their file changes.
package realm

import (
	"cmp"
	"context"
	"net/url"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/tokenagent/tokenagent/agent"
	"github.com/tokenagent/tokenagent/cmd/tokenagent/internal/extauthz"
	"github.com/tokenagent/tokenagent/pkg/verify"
	"github.com/tokenagent/tokenagent/pkg/verify/httpauth"
)

// A Spec is the configuration of a realm.
type Spec struct {
	Name    string
	Hosts   []string // as [CheckHost] returns them
	Headers []string // the headers that may hold the token; none means the default
	Config  agent.Config
}

// A Plan is the configuration of all realms.
type Plan struct {
	Specs   []Spec
	Default string // the name of the default realm, for requests of no other realm; "" for none
	Paths   bool   // a path can name a realm
}

// A Realm decides about its requests. It is immutable.
type Realm struct {
	Name    string // "" for [Single]
	Hosts   []string
	Agent   *agent.Agent
	Guard   *httpauth.Guard // for requests to the main listener
	Headers []string        // the headers that Guard reads
	Rule    *extauthz.Rule  // for checks of Envoy over gRPC

	set    *Set
	config agent.Config
}

var _ verify.RevocationWaiter = (*Realm)(nil)

func (s *Set) newRealm(a *agent.Agent, spec Spec) *Realm {
	r := &Realm{Name: spec.Name, Hosts: spec.Hosts, Agent: a, set: s, config: spec.Config}
	options := s.o.Auth
	options.Headers, options.Realm = spec.Headers, spec.Name
	r.Guard = httpauth.New(a, options)
	r.Headers = r.Guard.Headers()
	r.Rule = newRule(r.Guard, a, options)
	return r
}

// newRule returns the Rule that decides by v with the headers and the name of auth. g is
// the Guard of v and auth.
func newRule(g *httpauth.Guard, v verify.Verifier, auth httpauth.Options) *extauthz.Rule {
	if !auth.ForwardAuth {
		auth.ForwardAuth, auth.Exempt = true, nil
		g = httpauth.New(v, auth)
	}
	return extauthz.NewRule(g)
}

// AwaitRevocation waits until the realm's agent, or an agent that replaced it, has
// revoked the credential of p, and returns true. It also returns true if the file no longer
// has the realm, or if the realm no longer has the source or the issuer that accepted p. It
// returns false when ctx ends, when the realm's agent never knew p, and when the Set is closed.
func (r *Realm) AwaitRevocation(ctx context.Context, p *verify.Principal) bool {
	for a := r.Agent; ; {
		if a.AwaitRevocation(ctx, p) {
			return true
		}
		now := r.set.table.Load().Named(r.Name)
		switch {
		case ctx.Err() != nil, now != nil && now.Agent == r.Agent:
			return false
		case now == nil || now.Agent == a || !r.hasIssuerIn(now, p):
			return r.set.plan != nil && r.set.run.Err() == nil
		}
		a = now.Agent
	}
}

// hasIssuerIn reports whether next, which replaced r, still has the issuer whose key verified p
// for r. It also returns true if p has no issuer. An issuer that took the place of another may
// have its name, so the agent of next cannot tell.
func (r *Realm) hasIssuerIn(next *Realm, p *verify.Principal) bool {
	at := slices.IndexFunc(r.config.Issuers, func(i agent.Issuer) bool { return i.Name == p.Source() })
	if at < 0 {
		return true
	}
	was := r.config.Issuers[at]
	return slices.ContainsFunc(next.config.Issuers, func(is agent.Issuer) bool {
		if is.JWT.Issuer != was.JWT.Issuer || is.JWT.TrustDomain != was.JWT.TrustDomain || is.Kubernetes != was.Kubernetes {
			return false
		}
		isNamed := is.JWT.Issuer != "" || is.JWT.TrustDomain != "" || is.Kubernetes
		return isNamed || is.KeyFile == was.KeyFile && is.JWKSURL == was.JWKSURL
	})
}

// A Table holds the realms that are in force. It is immutable, so readers need no lock.
type Table struct {
	plan     *Plan     // nil if single
	since    time.Time // when the plan came into force
	realms   []*Realm  // in the order of their file
	byName   map[string]*Realm
	byHost   map[string]*Realm
	suffixes []suffix // the longest first
	fallback *Realm
	paths    bool
	single   bool // fallback is the realm of every request

	denyAll     *httpauth.Guard // nil if single
	denyAllRule *extauthz.Rule  // nil if single
	headers     []string        // the headers that denyAll reads
}

// A suffix is the part after the '*' of a host such as *.example.com.
type suffix struct {
	text  string
	realm *Realm
}

// newTable returns the Table of realms, which are the realms of plan. auth is the template
// of the Guard for requests of no realm.
func newTable(realms []*Realm, plan *Plan, auth httpauth.Options) *Table {
	t := &Table{plan: plan, since: time.Now(), realms: realms, byName: make(map[string]*Realm), byHost: make(map[string]*Realm), paths: plan.Paths}
	denyAll := verify.VerifierFunc(refuse)
	t.headers = httpauth.New(denyAll, auth).Headers()
	for _, r := range realms {
		t.byName[r.Name] = r
		for _, host := range r.Hosts {
			if text, wild := strings.CutPrefix(host, "*"); wild {
				t.suffixes = append(t.suffixes, suffix{text, r})
			} else {
				t.byHost[host] = r
			}
		}
		for _, name := range r.Headers {
			if !slices.Contains(t.headers, name) {
				t.headers = append(t.headers, name)
			}
		}
	}
	slices.SortStableFunc(t.suffixes, func(a, b suffix) int { return cmp.Compare(len(b.text), len(a.text)) })
	t.fallback = t.byName[plan.Default]
	auth.Headers = t.headers
	t.denyAll = httpauth.New(denyAll, auth)
	t.denyAllRule = newRule(t.denyAll, denyAll, auth)
	return t
}

// refuse is a [verify.VerifierFunc] that refuses every token as invalid.
func refuse(context.Context, string) (*verify.Principal, error) {
	return nil, verify.ErrInvalidToken
}

// DenyAll returns the Guard for requests of no realm, and the headers that it reads: the
// default headers and those of all realms. The Guard refuses every token. From a request
// that needs no token, it removes a token of any realm.
func (t *Table) DenyAll() (g *httpauth.Guard, headers []string) { return t.denyAll, t.headers }

// Named returns the realm called name, or nil if there is none. t may be nil.
func (t *Table) Named(name string) *Realm {
	if t == nil {
		return nil
	}
	return t.byName[name]
}

// ByHost returns the realm of the host that a request was sent to (the Host header field
// or :authority), with or without a port: the realm that lists the host, else the realm
// with the longest *.suffix that matches, else the default realm. It returns nil if there
// is none. A missing host, or a host that [ParseHost] refuses, belongs to no realm. In the
// Table of [Single] every host belongs to the only realm.
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

// ofHost returns the realm of host without the default realm. It returns false if host is
// malformed.
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

// ByPath returns the realm of a check by a gateway: the realm that the escaped path names,
// as /verify/NAME or /verify/NAME/ANYTHING, and otherwise the realm of the host. It
// returns nil if the host is malformed. It returns nil if the host belongs to another
// realm than the path names: a client could choose the realm if its gateway forwards its
// path. It also returns nil for a path that is nearly /verify/NAME, because such a path
// was meant to name a realm and must not get the default realm.
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

// isNearPrefix reports whether another program may read an escaped path as prefix, with
// or without the final '/', or as a path that begins with it. Such a program decodes the
// path any number of times, reads '\' as '/', cleans the path, ignores case, and drops
// parameters (;x) and dots at the end of segments.
func isNearPrefix(escaped string) bool {
	const most = 5 // no honest program encodes a path more often
	plain := escaped
	for range most {
		next, err := url.PathUnescape(plain)
		if err != nil {
			return plain == escaped || beginsLikePrefix(plain)
		}
		if next == plain {
			return beginsLikePrefix(plain)
		}
		plain = next
	}
	return true
}

// beginsLikePrefix does for a decoded path what isNearPrefix does for an escaped one.
func beginsLikePrefix(plain string) bool {
	segments := strings.Split(strings.ReplaceAll(plain, `\`, "/"), "/")
	for i, s := range segments {
		s, _, _ = strings.Cut(s, ";")
		if bare := strings.TrimRight(s, "."); bare != "" {
			s = bare // . and .. keep their dots
		}
		segments[i] = s
	}
	plain = strings.ToLower(path.Clean(strings.Join(segments, "/")))
	return plain+"/" == prefix || strings.HasPrefix(plain, prefix)
}
