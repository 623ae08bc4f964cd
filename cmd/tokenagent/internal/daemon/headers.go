package daemon

import (
	"net/http"
	"strings"

	"github.com/tokenagent/tokenagent/cmd/tokenagent/internal/headername"
	"github.com/tokenagent/tokenagent/pkg/verify"
)

//nolint:gochecknoglobals // constants
var (
	// identity are the headers that tell the app who was authenticated.
	identity = []string{headername.Subject, headername.Method}

	// The values of [headername.Method], shared so that no request allocates one.
	// http.Header's own methods replace such a value, and never modify it.
	byToken = []string{verify.MethodToken}
	byJWT   = []string{verify.MethodJWT}
)

func methodOf(p *verify.Principal) []string {
	switch p.Method() {
	case verify.MethodToken:
		return byToken
	case verify.MethodJWT:
		return byJWT
	}
	return []string{p.Method()} // another verifier's; the agent has none
}

// dropUpgrade removes the wish for another protocol (RFC 9110 section 7.8), except
// for WebSocket after an accepted token. Once an app has agreed to one, the connection
// is a tunnel, and whatever is asked in it is asked without a token. So h2c never
// passes, and no upgrade passes on an exempt path.
func dropUpgrade(h http.Header, exempt bool) {
	if v := h["Upgrade"]; !exempt && len(v) == 1 && strings.EqualFold(v[0], "websocket") {
		return
	}
	delete(h, "Upgrade")
	delete(h, "Http2-Settings")
}

// dropForged removes the identity that a client claims, and headers that an app could
// take for the token, in any spelling that a server may take for ours. The token's own
// header is removed by [httpauth.Guard.Authenticate].
func dropForged(h http.Header, tokens []string) {
	for name := range h {
		if headername.IsAny(name, identity) || headername.Imitates(name, tokens) {
			delete(h, name)
		}
	}
}
