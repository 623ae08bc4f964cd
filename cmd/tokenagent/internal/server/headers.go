package server

import (
	"net/http"
	"strings"

	"github.com/tokenagent/tokenagent/cmd/tokenagent/internal/headername"
	"github.com/tokenagent/tokenagent/pkg/verify"
)

// setIdentity sets the headers that tell the app who was authenticated. It stores their
// values in values, so that the caller decides how they are allocated.
func setIdentity(h http.Header, values *[2]string, p *verify.Principal) {
	*values = [2]string{headername.EncodeSubject(p.Subject()), p.Method()}
	h[headername.Subject], h[headername.Method] = values[:1:1], values[1:]
}

// dropUpgrade removes the request for another protocol (RFC 9110 section 7.8). It keeps
// only a request for WebSocket with an accepted token. Once the app has agreed to another
// protocol, the connection is a tunnel in which nobody checks tokens. So the app never
// sees a request for h2c, and no request for an upgrade on an exempt path.
func dropUpgrade(h http.Header, exempt bool) {
	if v := h["Upgrade"]; !exempt && len(v) == 1 && strings.EqualFold(v[0], "websocket") {
		return
	}
	delete(h, "Upgrade")
	delete(h, "Http2-Settings")
}

// dropForged removes the identity headers that a client sent, in every spelling that a
// server may take for them. It also removes the other spellings of the token headers;
// [httpauth.Guard.Authenticate] removes the token headers themselves.
func dropForged(h http.Header, tokens []string) {
	identity := []string{headername.Subject, headername.Method}
	for name := range h {
		if headername.IsAny(name, identity) || headername.Imitates(name, tokens) {
			delete(h, name)
		}
	}
}
