package reload

import (
	"bytes"
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
	file := newFile(path)
	return &fileSource{path, func(maxBytes int64) reading {
		r := file.read(maxBytes)
		if r.err != nil {
			return r
		}
		if r.content.Data, r.err = lookupEnv(path, r.content.Data, name); r.err != nil {
			r.content = Content{}
		}
		return r
	}}
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
	switch {
	case !found:
		return nil, fmt.Errorf("%s: no key %s; add a line %[2]s=value", path, shown)
	case isBlank(value):
		return nil, fmt.Errorf("%s: key %s: %w; add a line %[2]s=value", path, shown, ErrEmpty)
	}
	return bytes.Clone(value), nil
}

// parseAssignment splits a line without surrounding white space into key and value. Its
// errors do not quote the line, which may hold the secret.
func parseAssignment(line []byte) (key, value []byte, err error) {
	if rest, ok := bytes.CutPrefix(line, []byte("export")); ok && len(rest) > 0 && (rest[0] == ' ' || rest[0] == '\t') {
		line = bytes.TrimLeft(rest, " \t")
	}
	key, value, ok := bytes.Cut(line, []byte("="))
	switch {
	case !ok:
		return nil, nil, errors.New("no '=' in the line; write KEY=value")
	case !envName.Match(key):
		return nil, nil, errors.New("not a key before the '='; write KEY=value, with a key of letters, digits and _, and no blank beside the '='")
	case bytes.ContainsFunc(value, func(r rune) bool { return r < ' ' && r != '\t' || r == 0x7f }):
		return nil, nil, errors.New("a control character in the value; remove it")
	case len(value) == 0:
		return key, nil, nil
	}
	switch quote := value[0]; quote {
	case '\'', '"':
		end := len(value) - 1
		if end == 0 || bytes.IndexByte(value[1:], quote) != end-1 {
			return nil, nil, errors.New("unmatched quotes; write KEY='value', without that quote inside the value and nothing after it")
		}
		value = value[1:end]
	case ' ', '\t':
		return nil, nil, errors.New("a blank after the '='; write KEY=value without it, or quote the value")
	}
	return key, value, nil
}
