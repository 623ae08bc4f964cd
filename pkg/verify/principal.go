package verify

import (
	"context"
	"encoding/json"
	"fmt"
	"sync"
)

// The values of Principal.Method that this module uses.
const (
	MethodToken = "token" // an opaque shared token
	MethodJWT   = "jwt"   // a signed JSON Web Token (RFC 7519)
)

// A Principal describes a verified caller and how a Verifier identified the caller. A
// Principal is immutable and safe for concurrent use. The nil Principal and the zero
// Principal describe nobody: every method returns its zero value.
type Principal struct {
	subject string
	client  string
	method  string
	source  string
	keyID   string
	slot    Slot
	claims  *claims // nil if there are none
	// credential is a pointer to a pointer, so that package fmt never prints the ID. If a
	// verb does not fit, fmt follows one pointer.
	credential  **ID
	revocableBy []ID
}

// A PrincipalConfig holds the fields of a new Principal. Verifiers outside this package
// and tests use it. Every field may be zero.
type PrincipalConfig struct {
	Subject string         // who the caller is; for an opaque token the client's name, or else the source's
	Client  string         // the name of the client that an opaque token belongs to
	Method  string         // MethodToken, MethodJWT, or a value of another Verifier
	Source  string         // the configured name of the source of the token or key
	KeyID   string         // fingerprint of the token, or kid of the key
	Slot    Slot           // the slot of the token or key
	Claims  map[string]any // the claims of a JWT; not copied, so do not modify the map afterwards

	// ClaimsJSON is the text of the claims of a JWT, a JSON object, in place of Claims. The
	// first call of Principal.Claim decodes it. It has no effect if Claims is not nil.
	ClaimsJSON string

	Credential ID // the ID that revokes the token or key; zero if unknown

	// RevocableBy lists the other IDs whose revocation refuses the caller. For a JWT
	// these are the IDs of its jti, its kid and its key. NewPrincipal does not copy the
	// slice, so do not modify it afterwards.
	RevocableBy []ID
}

// NewPrincipal returns the Principal that c describes. It does not validate c.
func NewPrincipal(c PrincipalConfig) *Principal {
	id := new(ID)
	*id = c.Credential
	p := &Principal{
		subject: c.Subject, client: c.Client, method: c.Method, source: c.Source,
		keyID: c.KeyID, slot: c.Slot, credential: &id, revocableBy: c.RevocableBy,
	}
	if c.Claims != nil || c.ClaimsJSON != "" {
		p.claims = &claims{members: c.Claims, text: c.ClaimsJSON}
	}
	return p
}

// claims are the claims of a JWT. Most callers ask for none, so they are decoded when the
// first one is asked for.
type claims struct {
	once    sync.Once
	text    string         // "" once it is decoded
	members map[string]any // valid after once
}

// decode decodes text, unless members are given.
func (c *claims) decode() {
	if c.members == nil {
		_ = json.Unmarshal([]byte(c.text), &c.members) // a text that is not valid has no members
	}
	c.text = ""
}

var zeroPrincipal Principal //nolint:gochecknoglobals // never modified

// orZero returns p, or the zero Principal if p is nil.
func (p *Principal) orZero() *Principal {
	if p == nil {
		return &zeroPrincipal
	}
	return p
}

// Subject returns who the caller is. For an opaque token this is the client that the token
// belongs to or, if it belongs to none, the configured name of the source, because the
// token proves only that its sender holds the secret.
func (p *Principal) Subject() string {
	return p.orZero().subject
}

// Client returns the name of the client that an opaque token belongs to. It returns "" for
// a token without a name, and for a JWT.
func (p *Principal) Client() string {
	return p.orZero().client
}

// Method returns how the caller was authenticated, such as [MethodToken].
func (p *Principal) Method() string {
	return p.orZero().method
}

// Source returns the configured name of the source of the token or key.
func (p *Principal) Source() string {
	return p.orZero().source
}

// KeyID returns the [Fingerprint] of an opaque token, or the kid of the key that signed a
// JWT.
func (p *Principal) KeyID() string {
	return p.orZero().keyID
}

// Slot returns the slot of the token or key. [SlotPrevious] means that the sender still
// uses a superseded credential.
func (p *Principal) Slot() Slot {
	return p.orZero().slot
}

// Credential returns the ID by which the source knows and revokes the token or key: the
// SHA-256 of an opaque token. It returns the zero ID if the ID is unknown.
func (p *Principal) Credential() ID {
	if p = p.orZero(); p.credential == nil {
		return ID{}
	}
	return **p.credential
}

// RevocableBy returns the IDs, other than Credential, whose revocation refuses the
// caller. The caller must not modify the slice.
func (p *Principal) RevocableBy() []ID {
	return p.orZero().revocableBy
}

// Claim returns the value of the JWT claim called name, and whether the token has this
// claim. The value has the type that encoding/json decodes into an any. The caller must
// not modify it.
func (p *Principal) Claim(name string) (any, bool) {
	c := p.orZero().claims
	if c == nil {
		return nil, false
	}
	c.once.Do(c.decode)
	v, ok := c.members[name]
	return v, ok
}

type contextKey struct{}

// NewContext returns a copy of ctx that carries p. If ctx carries a Principal already, p
// replaces it in the copy.
func NewContext(ctx context.Context, p *Principal) context.Context {
	if c, ok := ctx.(*principalContext); ok {
		ctx = c.Context // p replaces the Principal of c
	}
	return &principalContext{ctx, p}
}

// A principalContext does what context.WithValue does, in half the memory. A server
// allocates one for each request; the smaller size saves 15 ns.
type principalContext struct {
	context.Context //nolint:containedctx // principalContext is a context
	principal       *Principal
}

// Value returns the Principal for contextKey, and asks the parent for any other key.
func (c *principalContext) Value(key any) any {
	if _, ok := key.(contextKey); ok {
		return c.principal
	}
	return c.Context.Value(key)
}

// String returns a description in the form that package context uses. Without this
// method, fmt would read fields of the parents while other goroutines write them.
func (c *principalContext) String() string {
	inner := fmt.Sprintf("%T", c.Context)
	if s, ok := c.Context.(fmt.Stringer); ok {
		inner = s.String()
	}
	return inner + ".WithPrincipal"
}

// FromContext returns the Principal that ctx carries. The result is false if ctx carries
// no Principal or a nil one.
func FromContext(ctx context.Context) (*Principal, bool) {
	p, ok := ctx.Value(contextKey{}).(*Principal)
	return p, ok && p != nil
}
