package agent

import (
	"log/slog"
	"net/http"
	"time"

	"github.com/tokenagent/tokenagent/internal/jwt"
	"github.com/tokenagent/tokenagent/internal/jwt/jwks"
	"github.com/tokenagent/tokenagent/pkg/verify"
)

// An Issuer is an issuer of signed tokens: it says where the issuer's keys are, and which
// of its tokens are accepted. If a Config has several Issuers, the "iss" of a token chooses
// the one whose keys and rules apply. The keys of other Issuers are never tried. Each
// Issuer is a source of its own: it is read, rotates, fails and recovers independently of
// the others.
type Issuer struct {
	// Name is the name of the key source in metrics, logs, Status and Principals, in the
	// form of Config.Name. No other source of the Agent may have it. "" means "keys" if
	// there is one Issuer; otherwise each Issuer needs a Name.
	Name string
	// KeyFile is the path of the keys that verify the tokens. A file holds a JWKS (RFC
	// 7517), PEM or an HMAC secret. A directory holds the file jwks.json, or the file key
	// and optionally key-next and key-previous.
	KeyFile string
	// JWKSURL is the URL at which the issuer publishes its keys as a JWKS (RFC 7517). It
	// must be https, or http on loopback. If KeyFile and JWKSURL are "" and Kubernetes is
	// false, JWT.Issuer must be such a URL: the Agent then finds the keys in the metadata that
	// the issuer publishes there (OpenID Connect Discovery 1.0 section 4, or RFC 8414 section
	// 3).
	JWKSURL string
	// Kubernetes accepts the service account tokens of the Kubernetes cluster that this
	// process runs in, in place of KeyFile and JWKSURL. The pod's own service account says
	// where the API server is; its token and its CA certificate get the keys there. They are
	// read again as the kubelet replaces them. The subject of a token is
	// "system:serviceaccount:NAMESPACE:NAME". If JWT.Issuer is "", the Agent asks the API
	// server for the name of the issuer; a name that it had since Start stays accepted. The
	// Agent asks once a minute, whatever JWKS says. JWKS must have no CAFile and no
	// BearerFile. Start fails outside of a pod.
	Kubernetes bool
	// TokenReview also asks the API server about each token that the keys and JWT accept
	// (authentication.k8s.io/v1 TokenReview), and so refuses the tokens of deleted pods and
	// service accounts within 10 s. It needs Kubernetes, and the ClusterRole
	// system:auth-delegator for the pod's service account. The Agent remembers an answer for
	// at most 10 s. Without an answer, Verify returns [verify.ErrUnavailable]. Shared
	// tokens and tokens of other Issuers do not wait for it.
	TokenReview bool
	// JWKS configures the requests for the keys and the metadata to a server.
	JWKS JWKS
	// WaitForSource lets Start succeed if the keys of this Issuer cannot be read. Until they
	// are, its tokens are refused with [verify.ErrUnavailable], and the Agent can be ready
	// without them. If it is false, Config.WaitForSource decides.
	WaitForSource bool
	// KeyAlgorithm is the algorithm of keys that do not name one (RFC 7518 section
	// 3.1). "" means RS256 for an RSA key, the algorithm of the curve for an elliptic
	// curve key, and HS256 for a secret.
	KeyAlgorithm string
	// JWT configures which tokens are accepted. Its Audiences is required, and so is its
	// Issuer unless AllowMissingIssuer, TrustDomain or Kubernetes is set.
	JWT JWT
}

// JWT configures which signed tokens (JSON Web Tokens, RFC 7519) of an issuer are
// accepted. A token of more than 16 KiB never is. The zero JWT is invalid:
// Audiences is required, and so is Issuer unless AllowMissingIssuer or TrustDomain is set.
type JWT struct {
	// Issuer is the "iss" that a token must have, compared byte by byte (RFC 7519
	// section 4.1.1). It is required, unless AllowMissingIssuer, TrustDomain or
	// Issuer.Kubernetes is set: otherwise a token that the same keys signed for another
	// issuer would be accepted. No other Issuer of the Config may have it.
	Issuer string
	// AllowMissingIssuer also accepts tokens without "iss". Of the Issuers of a Config
	// without a TrustDomain, only one may set it. If JWT.Issuer is "", only tokens without
	// "iss" are accepted.
	AllowMissingIssuer bool
	// TrustDomain is the name of a SPIFFE trust domain, such as "prod.example". If it is
	// set, the keys are the bundle of this trust domain, and only its JWT-SVIDs (SPIFFE
	// JWT-SVID) are accepted: "sub" must be a SPIFFE ID of this trust domain with a path,
	// the algorithm RS, PS or ES, and "typ" absent, JWT or JOSE. Types must be empty. If
	// JWT.Issuer is "", "iss" is not checked: the trust domain takes its place, also to
	// choose the Issuer of a token. No other Issuer of the Config may have the trust
	// domain, or accept a token whose "sub" is a SPIFFE ID of it. "" means that the tokens
	// need not be JWT-SVIDs.
	TrustDomain string
	// Audiences are the accepted audiences: the "aud" of a token must contain at least
	// one of them (RFC 7519 section 4.1.3). At least one is required: otherwise a token
	// that was issued for another service would be accepted.
	Audiences []string
	// Algorithms are the accepted signature algorithms (RFC 7518 section 3.1, RFC
	// 8037, RFC 9864). If Algorithms is empty, each key verifies tokens of its own
	// algorithm.
	Algorithms []string
	// Types are the accepted values of the header "typ" (RFC 7515 section 4.1.9),
	// such as "at+jwt" (RFC 9068 section 2.1). Case and the prefix "application/" do
	// not matter. If Types is empty, the header is not checked.
	Types []string
	// RequiredClaims maps each claim that a token must have to its accepted values. If
	// a claim has no accepted values here, any value matches. A name that begins with
	// "/" is a JSON Pointer (RFC 6901) into the claims, such as /realm_access/roles. If
	// the claim is a list, one element must match. The strings "scope" (RFC 8693
	// section 4.2) and "scp" are lists of words separated by spaces (RFC 6749 section
	// 3.3).
	RequiredClaims map[string][]string
	// Leeway is how far the clocks of issuer and verifier may differ. The Agent adds
	// Leeway to "exp" and subtracts it from "nbf" (RFC 7519 sections 4.1.4 and 4.1.5).
	// 0 means 30 s; a negative Leeway means none. Leeway must not exceed 10 minutes.
	Leeway time.Duration
}

// A keyOwner is what keys belong to. Superseded keys verify only tokens of their owner.
type keyOwner struct{ kind, value string }

// The kinds of owners. They are in the state file.
const (
	ownerIssuer      = "" // also in state files that have no kind
	ownerTrustDomain = "trust domain"
	ownerCluster     = "kubernetes"
	ownerSource      = "source"
)

// owner returns what the keys of the source belong to: the trust domain, the issuer or the
// API server. If the issuer has no name, the keys belong to the source alone.
func (s *sourceSpec) owner() keyOwner {
	switch j := &s.issuer.JWT; {
	case s.method != verify.MethodJWT:
		return keyOwner{}
	case j.TrustDomain != "":
		return keyOwner{ownerTrustDomain, j.TrustDomain}
	case j.Issuer != "":
		return keyOwner{ownerIssuer, j.Issuer}
	case s.issuer.Kubernetes:
		return keyOwner{ownerCluster, s.account.Host}
	default:
		return keyOwner{ownerSource, s.name + " " + s.kind + " " + s.identity}
	}
}

// config returns the rules of the internal verifier.
func (j *JWT) config() jwt.Config {
	return jwt.Config{
		Issuer: j.Issuer, AllowMissingIssuer: j.AllowMissingIssuer, TrustDomain: j.TrustDomain, Audiences: j.Audiences, Algorithms: j.Algorithms,
		Types: j.Types, RequiredClaims: j.RequiredClaims, Leeway: j.Leeway,
	}
}

// JWKS configures the requests for an issuer's keys (RFC 7517 section 5), and for the
// metadata that says where they are. The zero JWKS has the defaults.
//
// The Agent asks for the keys when its last response is no longer fresh (RFC 9111 section
// 4.2), but no more than once a minute and no less than once an hour. It also asks when a
// token names an unknown key or has a bad signature, at most once in 20 s, and when
// [Agent.Reload] is called.
type JWKS struct {
	// Client makes the requests, without its cookies. If its Timeout is 0, a request
	// may take 10 s, including reading the response. If its Transport is nil, the Agent
	// uses one that takes proxies from the environment ([http.ProxyFromEnvironment]).
	// nil means the zero http.Client.
	Client *http.Client
	// CAFile is the path of a PEM file with the CA certificates that the Agent trusts
	// for the server. The Agent reads the file before each request. With CAFile, the
	// Client must not have a Transport. "" means the CA certificates of the system.
	CAFile string
	// BearerFile is the path of a file with a token that the Agent sends to the server of
	// JWKSURL or, without JWKSURL, of the issuer (RFC 6750 section 2.1), but not to other
	// servers that it redirects to or names. The Agent reads the file before each request.
	// "" means none.
	//
	// If CAFile or BearerFile becomes invalid or missing, the Agent uses the last good
	// content. The Agent makes no request before each file was good once.
	BearerFile string
	// MaxStale is how long keys stay usable after the server last sent them. The Agent
	// asks again before half of MaxStale has passed. MaxStale must be at least 2 minutes.
	// 0 means forever.
	MaxStale time.Duration
}

func (j *JWKS) options(algorithm, trustDomain string, log *slog.Logger) jwks.RemoteOptions {
	return jwks.RemoteOptions{
		Client: j.Client, CAFile: j.CAFile, BearerFile: j.BearerFile, MaxStale: j.MaxStale,
		Algorithm: algorithm, TrustDomain: trustDomain, Logger: log,
	}
}
