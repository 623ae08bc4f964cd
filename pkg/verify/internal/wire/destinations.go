package wire

import (
	"errors"
	"fmt"

	"github.com/tokenagent/tokenagent/pkg/verify"
)

// Destinations says where a token may be sent, and in which field. It is
// immutable.
type Destinations struct {
	Field          Field
	Hosts          Hosts
	AllowPlaintext bool // to any of Hosts; otherwise to this machine only
}

// ParseDestinations returns the Destinations for a header name ("" means
// dapr-api-token) and a list of hosts. The error says everything that is wrong and
// quotes no entry.
func ParseDestinations(header string, hosts []string, allowPlaintext bool) (Destinations, error) {
	if header == "" {
		header = daprHeader
	}
	d := Destinations{AllowPlaintext: allowPlaintext}
	var problem string
	var headerErr, hostsErr error
	if d.Field, problem = parseField(header); problem != "" {
		headerErr = errors.New("Header " + problem)
	}
	d.Hosts, hostsErr = ParseHosts(hosts)
	return d, errors.Join(headerErr, hostsErr)
}

// CurrentToken returns what token returns, which is a source's Token method. An
// empty token becomes an error that wraps [verify.ErrUnavailable].
func CurrentToken(token func() (string, error)) (string, error) {
	t, err := token()
	switch {
	case err != nil:
		return "", fmt.Errorf("no token to send: %w", err)
	case t == "":
		return "", fmt.Errorf("the source returned an empty token: %w", verify.ErrUnavailable)
	}
	return t, nil
}
