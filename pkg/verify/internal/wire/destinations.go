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
// dapr-api-token) and a list of hosts. The error lists everything that is wrong and
// quotes no entry.
func ParseDestinations(header string, hosts []string, allowPlaintext bool) (Destinations, error) {
	if header == "" {
		header = daprHeader
	}
	parsed, err := ParseHosts(hosts)
	field, problem := parseField(header)
	if problem != "" {
		err = errors.Join(errors.New("Header "+problem), err)
	}
	return Destinations{field, parsed, allowPlaintext}, err
}

// CurrentToken calls token, the Token method of a source, and returns its result. An
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
