package content

import (
	"bytes"

	"github.com/tokenagent/tokenagent/internal/token"
)

// WhiteSpace returns a warning if the key token among keys, those of a Kubernetes
// Secret, has white space around the token, and "" if not. Receivers strip it, but
// daprd gets the bytes as they are in its environment, and a newline breaks each of
// its calls to the app.
func WhiteSpace(keys map[string][]byte) string {
	value := keys[token.FileCurrent]
	trimmed := bytes.Trim(bytes.TrimPrefix(value, []byte(bom)), white)
	switch {
	case len(trimmed) == 0 || len(trimmed) == len(value):
		return ""
	case bytes.ContainsAny(value, "\r\n"):
		return "key " + token.FileCurrent + " has a newline beside the token; daprd sends it as part of the token, and all its calls to the app fail: write it without (printf %s, or tokenagent generate | tr -d '\\n')"
	default:
		return "key " + token.FileCurrent + " has white space beside the token, which daprd sends as part of it; write it without"
	}
}
