package agent

import (
	"context"
	"log/slog"

	"github.com/tokenagent/tokenagent/internal/clientfiles"
	"github.com/tokenagent/tokenagent/internal/jwt"
	"github.com/tokenagent/tokenagent/internal/jwt/jwks"
	"github.com/tokenagent/tokenagent/internal/option"
	"github.com/tokenagent/tokenagent/internal/podaccount"
	"github.com/tokenagent/tokenagent/internal/tokenreview"
	"github.com/tokenagent/tokenagent/pkg/verify"
)

// findCluster makes the API server of the cluster that the process runs in the source of
// the keys.
func (s *sourceSpec) findCluster(log *slog.Logger) error {
	o := s.issuer.JWKS.options(s.issuer.KeyAlgorithm, s.issuer.JWT.TrustDomain, log)
	switch {
	case s.issuer.KeyFile != "" || s.issuer.JWKSURL != "":
		return option.Errorf(option.Field, "{kubernetes} is set beside {key-file} or {jwks-url}; one source is meant: leave the others out")
	case o.CAFile != "" || o.BearerFile != "" || o.Client != nil && o.Client.Transport != nil:
		return option.Errorf(option.Field, "{kubernetes} takes the CA and the bearer token from the pod's service account; leave {jwks-ca-file}, {jwks-bearer-file} and a Client with a Transport out")
	}
	account, err := podaccount.Find()
	if err != nil {
		return option.Errorf(option.Field, "{kubernetes}: %w", err)
	}
	o.CAFile, o.BearerFile = account.CAFile, account.TokenFile
	remote, err := jwks.Kubernetes(account.Host, s.issuer.JWT.Issuer == "", o)
	if err != nil {
		return err
	}
	s.account, s.source, s.remote = account, remote, remote
	s.kind, s.location, s.identity = kindKubernetes, remote.String(), remote.String()
	return nil
}

// rules returns the rules for the tokens of the issuer.
func (s *sourceSpec) rules() jwt.Config {
	c := s.issuer.JWT.config()
	if s.remote != nil {
		c.OnUnknownKey = s.remote.UnknownKey
	}
	if s.issuer.Kubernetes && s.remote != nil && c.Issuer == "" {
		c.Issuers = s.remote.Issuers
	}
	return c
}

// newReviewer returns what asks the API server about the tokens of the issuer.
func (s *sourceSpec) newReviewer(log *slog.Logger) (*tokenreview.Reviewer, error) {
	// The source of the keys has the same files and logs their errors.
	files, err := clientfiles.Open(clientfiles.Options{CAFile: s.account.CAFile, BearerFile: s.account.TokenFile})
	if err != nil {
		return nil, err
	}
	return tokenreview.New(tokenreview.Options{
		Transport: clientfiles.NewTransport(files, s.account.Host), URL: s.account.URL("/apis/authentication.k8s.io/v1/tokenreviews"),
		Audiences: s.issuer.JWT.Audiences, Logger: log.With("source", s.name),
	}), nil
}

// verifyJWT verifies token as a signed token. It also returns the source of the key that
// signed it.
func (a *Agent) verifyJWT(ctx context.Context, token string) (*verify.Principal, *keySource, error) {
	p, issuer, err := a.jwt.VerifyIssuer(ctx, token)
	if err != nil {
		return nil, nil, err
	}
	src := a.keys[issuer]
	if src.reviewer != nil {
		if err := src.reviewer.Check(ctx, p.Credential(), token); err != nil {
			return nil, nil, err
		}
	}
	return p, src, nil
}
