package jwt

import (
	"slices"
	"strings"

	"github.com/tokenagent/tokenagent/internal/strictjson"
)

// The longest SPIFFE ID and the longest name of a trust domain, in bytes (SPIFFE-ID
// section 2.3).
const (
	maxSPIFFEID    = 2048
	maxTrustDomain = 255
)

// SVIDAlgorithms returns the signature algorithms of JWT-SVIDs in a new slice (JWT-SVID
// section 2.1).
func SVIDAlgorithms() []string {
	return []string{"RS256", "RS384", "RS512", "ES256", "ES384", "ES512", "PS256", "PS384", "PS512"}
}

// algorithms returns the algorithms that Algorithms may contain.
func (c *Config) algorithms() []string {
	if c.TrustDomain != "" {
		return SVIDAlgorithms()
	}
	return Algorithms()
}

// ValidTrustDomain reports whether name is the name of a SPIFFE trust domain (SPIFFE-ID
// section 2.1).
func ValidTrustDomain(name string) bool {
	return name != "" && len(name) <= maxTrustDomain && !strings.ContainsFunc(name, func(r rune) bool { return !isTrustDomainRune(r) })
}

func isTrustDomainRune(r rune) bool {
	return 'a' <= r && r <= 'z' || '0' <= r && r <= '9' || r == '.' || r == '-' || r == '_'
}

// TrustDomainOf returns the trust domain of the SPIFFE ID of a workload, such as
// "prod.example" of "spiffe://prod.example/billing". The result is false if id is not in
// the one form that SPIFFE-ID section 2 defines, or has no path: such an ID names the
// trust domain itself.
func TrustDomainOf(id string) (trustDomain string, ok bool) {
	rest, isID := strings.CutPrefix(id, "spiffe://")
	trustDomain, path, _ := strings.Cut(rest, "/")
	if !isID || len(id) > maxSPIFFEID || !ValidTrustDomain(trustDomain) {
		return "", false
	}
	for segment := range strings.SplitSeq(path, "/") {
		other := func(r rune) bool { return !isTrustDomainRune(r) && (r < 'A' || r > 'Z') }
		if segment == "" || segment == "." || segment == ".." || strings.ContainsFunc(segment, other) {
			return "", false
		}
	}
	return trustDomain, true
}

// acceptsType reports whether the header "typ" of a token may be typ. That of a JWT-SVID
// is absent, JWT or JOSE (JWT-SVID section 2.3).
func (iss *Issuer) acceptsType(typ string) bool {
	if iss.cfg.TrustDomain != "" {
		return typ == "" || typ == "JWT" || typ == "JOSE"
	}
	return len(iss.types) == 0 || slices.Contains(iss.types, BareType(typ))
}

// acceptsIssuer reports whether the "iss" of a token may be name. JWT-SVIDs need no iss:
// unless the Config has one, the trust domain in "sub" takes its place.
func (iss *Issuer) acceptsIssuer(name string, has bool) bool {
	switch {
	case iss.cfg.Issuer == "" && iss.cfg.TrustDomain != "":
		return !has || name != ""
	case !has:
		return iss.cfg.AllowMissingIssuer
	default:
		return name != "" && iss.accepts(name)
	}
}

// ownerOfSubject returns the index of the issuer whose trust domain the "sub" in claims
// names.
func (v *Verifier) ownerOfSubject(claims string) (at int, owned bool) {
	if len(v.byTrustDomain) == 0 {
		return 0, false
	}
	value, _ := strictjson.First(claims, "sub")
	subject, _ := strictjson.String(value)
	trustDomain, _ := TrustDomainOf(subject)
	at, owned = v.byTrustDomain[trustDomain]
	return at, owned
}

// checkSubject checks the subject of a token that a key of issuer at signed. The keys of a
// trust domain sign only for SPIFFE IDs of this trust domain, and no other keys sign for
// them, nor for a subject that an app could take for a SPIFFE ID.
func (v *Verifier) checkSubject(at int, subject string) error {
	if len(v.byTrustDomain) == 0 {
		return nil
	}
	trustDomain, isID := TrustDomainOf(subject)
	owner, owned := v.byTrustDomain[trustDomain]
	switch own := v.issuers[at].cfg.TrustDomain; {
	case !isID && (own != "" || hasSPIFFEScheme(subject)):
		return errSPIFFEID
	case own != "" && own != trustDomain, owned && owner != at:
		return errTrustDomain
	default:
		return nil
	}
}

// hasSPIFFEScheme reports whether a lenient parser reads subject as a SPIFFE ID. Schemes have
// no case (RFC 3986 section 3.1).
func hasSPIFFEScheme(subject string) bool {
	const scheme = "spiffe://"
	return len(subject) >= len(scheme) && strings.EqualFold(subject[:len(scheme)], scheme)
}
