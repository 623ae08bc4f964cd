package content

import (
	"bytes"
	"errors"
	"strings"
)

var (
	errEnv   = errors.New("this looks like an env file (NAME=value), in which a rotation would do damage; rotate works on a token file or a directory: keep the token in a file of its own, or replace the value by hand")
	errJSON  = errors.New("this looks like JSON, in which a rotation would do damage; rotate works on a token file or a directory, and takes a Secret as JSON from standard input alone")
	errOther = errors.New("this looks like YAML, PEM or a binary file, in which a rotation would do damage; rotate works on a token file or a directory: keep the token in a file of its own")
)

// Foreign returns an error, with the mend, if text is plainly no token file, but
// a file of another form of which a line may pass for a token. The first line
// that says something decides. A token may end in '=', as base64 does, but has
// none within.
func Foreign(text []byte) error {
	for raw := range bytes.Lines(bytes.TrimPrefix(text, []byte(bom))) {
		fields := strings.FieldsFunc(string(raw), isWhite)
		if len(fields) == 0 || fields[0][0] == '#' {
			continue
		}
		first := fields[0]
		switch {
		case bytes.IndexByte(text, 0) >= 0, first == "---", strings.HasPrefix(first, "-----BEGIN"), strings.HasSuffix(first, ":") && len(fields) > 1:
			return errOther
		case first == "{", strings.HasPrefix(first, `{"`), strings.HasPrefix(first, "{}"):
			return errJSON
		case assigns(fields):
			return errEnv
		}
		return nil
	}
	return nil
}

// assigns reports whether a line of these fields has the form [export ]NAME=value,
// with or without white space around the '='.
func assigns(fields []string) bool {
	if fields[0] == "export" && len(fields) > 1 {
		fields = fields[1:]
	}
	name, value, found := strings.Cut(fields[0], "=")
	if !found && len(fields) > 1 {
		value, found = strings.CutPrefix(fields[1], "=")
		value += strings.Join(fields[2:], "")
		return found && identifier(name) && value != ""
	}
	return found && identifier(name) && strings.Trim(value, "=") != ""
}

// identifier reports whether s is the name of a variable or a property.
func identifier(s string) bool {
	const letters = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ_"
	return s != "" && strings.ContainsRune(letters, rune(s[0])) && strings.Trim(s, letters+"0123456789.-") == ""
}
