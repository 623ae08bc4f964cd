package reload

import (
	"bytes"
	"context"
	"errors"
	"fmt"
)

// EnvFile returns the value of one key of an env file as a source. A line is
// KEY=value, optionally after "export " and optionally with the value in single or
// double quotes. Nothing is expanded or unescaped. The last line of a key counts.
// Blank lines, and lines that begin with #, are ignored. Any other line is an error
// that gives its number but not its text. A missing key, and a value of only white
// space, is an error.
func EnvFile(path, name string) Source {
	return &envFile{file: file{given: path, path: absolute(path)}, name: name}
}

type envFile struct {
	file file
	name string
}

func (e *envFile) String() string { return e.file.given }

func (e *envFile) Read(_ context.Context, maxBytes int64) (Content, error) {
	c, _, err := e.readFiles(maxBytes)
	return c, err
}

func (e *envFile) readFiles(maxBytes int64) (Content, origin, error) {
	c, from, err := e.file.readFiles(maxBytes)
	if err == nil {
		c.Data, err = lookupEnv(e.file.given, c.Data, e.name)
	}
	if err != nil {
		return Content{}, from, err
	}
	return c, from, nil
}

// lookupEnv returns the value of name in the text of an env file. All lines must be
// well formed, those of other keys too: a half-written file must not pass because
// the line of the key is complete.
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
		key, val, err := parseAssignment(line)
		if err != nil {
			return nil, fmt.Errorf("%s:%d: %w", path, number, err)
		}
		if string(key) == name {
			value, found = val, true
		}
	}
	shown := shownName(name)
	err := &sourceError{path: path, fix: "add a line " + shown + "=value"}
	switch {
	case !found:
		err.cause = fmt.Errorf("no key %s", shown)
	case isBlank(value):
		err.cause = fmt.Errorf("key %s: %w", shown, ErrEmpty)
	default:
		return bytes.Clone(value), nil
	}
	return nil, err
}

// Errors of a line. They never quote the line, which may hold the secret.
var (
	errNoEquals   = errors.New("no '=' in the line; write KEY=value")
	errBadKey     = errors.New("not a key before the '='; write KEY=value, with a key of letters, digits and _, and no blank beside the '='")
	errBlankValue = errors.New("a blank after the '='; write KEY=value without it, or quote the value")
	errQuote      = errors.New("unmatched quotes; write KEY='value', without that quote inside the value and nothing after it")
	errControl    = errors.New("a control character in the value; remove it")
)

// parseAssignment splits a line without surrounding white space into key and value.
func parseAssignment(line []byte) (key, value []byte, err error) {
	if rest, ok := bytes.CutPrefix(line, []byte("export")); ok && len(rest) > 0 && (rest[0] == ' ' || rest[0] == '\t') {
		line = bytes.TrimLeft(rest, " \t")
	}
	key, value, ok := bytes.Cut(line, []byte("="))
	switch {
	case !ok:
		return nil, nil, errNoEquals
	case !isEnvKey(key):
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

func isEnvKey(key []byte) bool {
	for i, b := range key {
		letter := b == '_' || 'a' <= b && b <= 'z' || 'A' <= b && b <= 'Z'
		digit := '0' <= b && b <= '9'
		if !letter && (!digit || i == 0) {
			return false
		}
	}
	return len(key) > 0
}
