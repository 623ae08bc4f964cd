// Package httpconn tells net/http's server how to close a connection.
package httpconn

import (
	"io"
	"net/http"
	"strings"
)

// CloseInTwoSteps makes net/http close its own direction of the connection half a second
// before the other. Otherwise a client that is still sending its body would lose the
// answer (RFC 9112 section 9.6). The documented way to ask for this is to read a body
// beyond its limit; it works with net/http's own ResponseWriter. It changes nothing over
// HTTP/2, where each stream ends alone.
func CloseInTwoSteps(w http.ResponseWriter) {
	var one [1]byte
	_, _ = http.MaxBytesReader(w, io.NopCloser(strings.NewReader("x")), 0).Read(one[:])
}
