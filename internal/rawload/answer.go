package rawload

import (
	"bytes"
	"errors"
	"strconv"
)

// errUnframed is an answer whose end cannot be told.
var errUnframed = errors.New("rawload: an answer without Content-Length")

// next returns the length and the status of the first answer in data. The length
// is 0 where it is not whole yet. It reads what an HTTP/1.1 server writes to a
// request that is no HEAD, as far as the length stands in Content-Length
// (RFC 9112 section 6.3).
func next(data []byte) (length, status int, err error) {
	end := bytes.Index(data, []byte("\r\n\r\n"))
	if end < 0 {
		return 0, 0, nil
	}
	head := data[:end+2]
	if len(head) < len("HTTP/1.1 200") || !bytes.HasPrefix(head, []byte("HTTP/1.1 ")) {
		return 0, 0, errors.New("rawload: not an answer of HTTP/1.1")
	}
	if status, err = strconv.Atoi(string(head[9:12])); err != nil {
		return 0, 0, errors.New("rawload: an answer without a status")
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
