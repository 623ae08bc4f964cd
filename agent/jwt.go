package agent

import (
	"log/slog"
	"net/http"
	"time"

	"github.com/tokenagent/tokenagent/internal/jwt"
	"github.com/tokenagent/tokenagent/internal/jwt/jwks"
)

// JWT says which signed tokens (JSON Web Tokens, RFC 7519) are accepted. Issuer
// and Audiences are required.
type JWT struct {
	// Issuer is the "iss" that a token must have, compared byte by byte (RFC 7519
	// section 4.1.1). Without it, any token that the same keys signed would do.
	Issuer string
	// Audiences are the values of which a token's "aud" must hold one (RFC 7519
	// section 4.1.3).
	Audiences []string
	// Algorithms are the accepted signature algorithms (RFC 7518 section 3.1, RFC
	// 8037, RFC 9864). Empty means the algorithm of each key.
	Algorithms []string
	// Types are the accepted values of the header "typ" (RFC 7515 section 4.1.9),
	// such as "at+jwt" (RFC 9068 section 2.1), in any case and with or without
	// "application/". Empty means that the header is not checked.
	Types []string
	// RequiredClaims are the claims that a token must have, each with its accepted
	// values; no value means that any will do. A name that begins with "/" is a JSON
	// Pointer (RFC 6901) into the claims, such as /realm_access/roles. One element
	// of a list must match. The strings "scope" (RFC 8693 section 4.2) and "scp" are
	// lists of words separated by spaces (RFC 6749 section 3.3).
	RequiredClaims map[string][]string
	// Leeway is how far the clocks of issuer and verifier may differ. It is added to
	// "exp" and taken from "nbf". 0 means 30 s, negative none; at most 10 minutes.
	Leeway time.Duration
	// MaxBytes is the length in bytes of the longest token that is parsed. 0 means
	// 16 KiB.
	MaxBytes int
	// CacheSize is the number of verified tokens whose signature is not checked
	// again. 0 means 4,096, negative none.
	CacheSize int
}

// config returns j with what the internal verifier asks when it has no key.
func (j *JWT) config(onUnknownKey func(kid string)) jwt.Config {
	return jwt.Config{
		Issuer: j.Issuer, Audiences: j.Audiences, Algorithms: j.Algorithms, Types: j.Types, RequiredClaims: j.RequiredClaims,
		Leeway: j.Leeway, MaxBytes: j.MaxBytes, CacheSize: j.CacheSize, OnUnknownKey: onUnknownKey,
	}
}

// JWKS says how an issuer's server is asked for its keys (RFC 7517 section 5). The
// zero value is ready to use.
type JWKS struct {
	// Client makes the requests; its cookies are not used. A Client without a
	// Transport gets one that takes proxies from the environment. nil means the
	// zero http.Client.
	Client *http.Client
	// CAFile is the path of a PEM file of the CA certificates that are trusted for
	// the server. It is read again before each request, and needs a Client without
	// a Transport. "" means the system's.
	CAFile string
	// BearerFile is the path of a token that is sent to this server and to none that
	// it redirects to (RFC 6750 section 2.1). It is read again before each request.
	// "" means none.
	//
	// If a CAFile or BearerFile is bad or missing, the last good one stays in use. No
	// request is made before there was a good one.
	BearerFile string
	// Timeout bounds a request including its answer. 0 means 10 s.
	Timeout time.Duration
	// MinRefresh and MaxRefresh bound how long an answer counts as fresh, whatever
	// it says itself. 0 means 1 minute and 1 hour.
	MinRefresh, MaxRefresh time.Duration
	// CoolDown bounds the requests that tokens with an unknown key or a bad
	// signature cause: three at once, then one for each third of a CoolDown. 0 means
	// 1 minute.
	CoolDown time.Duration
	// MaxStale is how long keys stay usable that the server has not confirmed. An
	// answer that only says "not modified" confirms them for an hour at most. It must
	// be at least twice MinRefresh. 0 means forever.
	MaxStale time.Duration
}

func (j *JWKS) options(algorithm string, log *slog.Logger) jwks.RemoteOptions {
	return jwks.RemoteOptions{
		Client: j.Client, CAFile: j.CAFile, BearerFile: j.BearerFile, Timeout: j.Timeout,
		MinRefresh: j.MinRefresh, MaxRefresh: j.MaxRefresh, CoolDown: j.CoolDown, MaxStale: j.MaxStale,
		Algorithm: algorithm, Logger: log,
	}
}
