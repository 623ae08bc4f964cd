package jwks

import (
	"context"
	"io"
	"net/http"
	"slices"

	"github.com/tokenagent/tokenagent/internal/strictjson"
)

// Kubernetes returns the source of the keys that sign the service account tokens of a
// Kubernetes cluster. host is the address of the API server in the form "name:port". The
// source asks the API server for the keys at /openid/v1/jwks and, if learn is set, for the
// name of the issuer at /.well-known/openid-configuration
// (https://kubernetes.io/docs/tasks/configure-pod-container/configure-service-account/). Once
// it has a name, it gets the keys even if it cannot ask for the name again; SideError then
// returns the error.
//
// The source asks once a minute, although the API server says that its answer is fresh for an
// hour: API servers that are restarted one after the other would otherwise sign with a new
// key before the source has it.
func Kubernetes(host string, learn bool, o RemoteOptions) (*RemoteSource, error) {
	base := "https://" + host
	s, err := Remote(base+"/openid/v1/jwks", o)
	if err != nil {
		return nil, err
	}
	s.inCluster = true
	if learn {
		s.metadata = base + "/.well-known/openid-configuration"
	}
	return s, nil
}

// maxIssuers is the number of names of the issuer that are remembered.
const maxIssuers = 16

// Issuers returns the names that the API server has given as its issuer since the source was
// created, the latest first: tokens with an earlier name stay valid until they expire. The
// caller must not change the slice. Issuers takes no lock.
func (s *RemoteSource) Issuers() []string {
	if names := s.issuers.Load(); names != nil {
		return *names
	}
	return nil
}

// learnIssuer asks the API server for the name of the issuer. The address of the keys in the
// answer does not matter, because it may be one for clients outside of the cluster.
func (s *RemoteSource) learnIssuer(ctx context.Context, client http.Client) error {
	const maxBytes = 64 << 10
	keys := s.keys.Load()
	resp, err := s.send(ctx, client, &location{url: s.metadata, name: keys.name, host: keys.host})
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return keys.errorf("the API server answers %d to the question for its issuer; bind the pod's service account to the ClusterRole system:service-account-issuer-discovery", resp.StatusCode)
	}
	text, err := io.ReadAll(io.LimitReader(resp.Body, maxBytes))
	if err != nil {
		return s.unreachable(keys, err)
	}
	name := parseIssuer(text)
	if name == "" {
		return keys.errorf("the API server does not name its issuer; set its --service-account-issuer to an https URL")
	}
	s.addIssuer(name)
	return nil
}

// parseIssuer returns the "issuer" of a metadata document (OpenID Connect Discovery 1.0
// section 4.2), or "" if it has none.
func parseIssuer(text []byte) (name string) {
	err := strictjson.Object(string(text), func(member, value string) {
		if member == "issuer" {
			name, _ = strictjson.String(value)
		}
	})
	if err != nil {
		return ""
	}
	return name
}

// addIssuer remembers name as the latest.
func (s *RemoteSource) addIssuer(name string) {
	for {
		before := s.issuers.Load()
		var names []string
		if before != nil {
			names = *before
		}
		if slices.Contains(names, name) {
			return
		}
		names = append([]string{name}, names[:min(len(names), maxIssuers-1)]...)
		if s.issuers.CompareAndSwap(before, &names) {
			return
		}
	}
}
