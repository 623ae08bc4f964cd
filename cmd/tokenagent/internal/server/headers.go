package server

import (
	"net/http"
	"strings"

	"github.com/tokenagent/tokenagent/cmd/tokenagent/internal/headername"
	"github.com/tokenagent/tokenagent/pkg/verify"
)

// setIdentity sets the headers that tell the app who was authenticated. values holds
// their values, so that the caller decides how they are allocated.
func setIdentity(h http.Header, values *[2]string, p *verify.Principal) {
	*values = [2]string{headername.EncodeSubject(p.Subject()), p.Method()}
	h[headername.Subject], h[headername.Method] = values[:1:1], values[1:]
}

// dropUpgrade removes the request for another protocol (RFC 9110 section 7.8), except
// for WebSocket after an accepted token. Once an app has agreed to a protocol, the
// connection is a tunnel, and nobody checks tokens in it. So h2c never passes, and no
// upgrade passes on an exempt path.
func dropUpgrade(h http.Header, exempt bool) {
	if v := h["Upgrade"]; !exempt && len(v) == 1 && strings.EqualFold(v[0], "websocket") {
		return
	}
	delete(h, "Upgrade")
	delete(h, "Http2-Settings")
}

// dropForged removes the identity headers that a client sent, in any spelling that a
// server may read as theirs, and the other spellings of the token's header.
// [httpauth.Guard.Authenticate] removes the token's header itself.
func dropForged(h http.Header, tokens []string) {
	identity := []string{headername.Subject, headername.Method}
	for name := range h {
		if headername.IsAny(name, identity) || headername.Imitates(name, tokens) {
			delete(h, name)
		}
	}
}
