// Package rawload sends one request repeatedly over persistent connections, at as little
// cost as possible, so that a benchmark measures the server and not the client. It is for
// tests and benchmarks, on Linux.
package rawload

import (
	"bytes"
	"errors"
	"strconv"
)

var errUnframed = errors.New("rawload: an answer has no valid Content-Length")

// next returns the length and the status of the first answer in data. The length is 0 if
// the answer is not complete yet. next supports the answers of an HTTP/1.1 server to
// other methods than HEAD, if they have a Content-Length (RFC 9112 section 6.3).
func next(data []byte) (length, status int, err error) {
	end := bytes.Index(data, []byte("\r\n\r\n"))
	if end < 0 {
		return 0, 0, nil
	}
	head := data[:end+2]
	if len(head) < len("HTTP/1.1 200") || !bytes.HasPrefix(head, []byte("HTTP/1.1 ")) {
		return 0, 0, errors.New("rawload: not an answer in HTTP/1.1")
	}
	if status, err = strconv.Atoi(string(head[9:12])); err != nil {
		return 0, 0, errors.New("rawload: an answer has no valid status")
	}
	length = end + 4
	if status == 204 || status == 304 || status < 200 {
		return length, status, nil
	}
	_, value, found := bytes.Cut(head, []byte("\r\nContent-Length: "))
	if !found {
		return 0, status, errUnframed
	}
	value, _, _ = bytes.Cut(value, []byte("\r\n"))
	body, err := strconv.Atoi(string(value))
	if err != nil || body < 0 {
		return 0, status, errUnframed
	}
	if length += body; length > len(data) {
		return 0, status, nil
	}
	return length, status, nil
}
