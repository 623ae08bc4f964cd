package reload

import (
	"bytes"
	"errors"
	"fmt"
)

// lookupEnv finds the value of name in the text of an env file. The whole text
// must be well-formed, other keys included: a half-written file must not pass
// because our own line happens to be whole.
func lookupEnv(path string, text []byte, name string) ([]byte, error) {
	var value []byte
	found := false
	text = bytes.TrimPrefix(text, []byte(byteOrderMark))
	number := 0
	for line := range bytes.SplitSeq(text, []byte("\n")) {
		number++
		line = bytes.Trim(line, " \t\r")
		if len(line) == 0 || line[0] == '#' {
			continue
		}
		key, val, err := cutAssignment(line)
		if err != nil {
			return nil, fmt.Errorf("%s:%d: %w", path, number, err)
		}
		if string(key) == name {
			value, found = val, true
		}
	}
	f := &fault{path: path, mend: "add a line " + name + "=value"}
	switch {
	case !found:
		f.cause = fmt.Errorf("no key %s", name)
	case blank(value):
		f.cause = fmt.Errorf("key %s: %w", name, ErrEmpty)
	default:
		return bytes.Clone(value), nil
	}
	return nil, f
}

// What can be wrong with a line. None of them quotes it: it may be the secret.
var (
	errNoEquals   = errors.New("no '=' in the line; write KEY=value")
	errBadKey     = errors.New("not a key before the '='; write KEY=value, the key of letters, digits and _ and with no blank beside the '='")
	errBlankValue = errors.New("a blank after the '='; write KEY=value without it, or quote the value")
	errQuote      = errors.New("unmatched quotes; write KEY='value', with no such quote inside and nothing after it")
	errControl    = errors.New("a control character in the value; take it out")
)

// cutAssignment takes one trimmed line apart.
func cutAssignment(line []byte) (key, value []byte, err error) {
	if rest, ok := bytes.CutPrefix(line, []byte("export")); ok && len(rest) > 0 && (rest[0] == ' ' || rest[0] == '\t') {
		line = bytes.TrimLeft(rest, " \t")
	}
	key, value, ok := bytes.Cut(line, []byte("="))
	switch {
	case !ok:
		return nil, nil, errNoEquals
	case !isKey(key):
		return nil, nil, errBadKey
	case bytes.ContainsFunc(value, func(r rune) bool { return r < ' ' && r != '\t' || r == 0x7f }):
		return nil, nil, errControl
	case len(value) == 0:
		return key, nil, nil
	}
	switch quote := value[0]; quote {
	case '\'', '"':
		end := len(value) - 1
		if end == 0 || bytes.IndexByte(value[1:], quote) != end-1 {
			return nil, nil, errQuote
		}
		value = value[1:end]
	case ' ', '\t':
		return nil, nil, errBlankValue
	}
	return key, value, nil
}

func isKey(key []byte) bool {
	for i, b := range key {
		letter := b == '_' || 'a' <= b && b <= 'z' || 'A' <= b && b <= 'Z'
		digit := '0' <= b && b <= '9'
		if !letter && (!digit || i == 0) {
			return false
		}
	}
	return len(key) > 0
}
