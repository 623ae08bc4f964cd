// Package termsafe escapes characters that could control a terminal.
package termsafe

import (
	"fmt"
	"io"
	"strings"
	"unicode"
	"unicode/utf16"
	"unicode/utf8"
)

// Text escapes the characters that a terminal does not show: control characters (ECMA-48)
// including line breaks, invisible characters, and characters that change the direction of
// writing. The escapes are those of JSON (RFC 8259 section 7). Text(Text(s)) is Text(s).
func Text(s string) string { return escape(s, "") }

// Lines is like Text but keeps line breaks and tabs.
func Lines(s string) string { return escape(s, "\n\t") }

func escape(s, keep string) string {
	if !strings.ContainsFunc(s, func(r rune) bool { return r == utf8.RuneError || !unicode.IsPrint(r) }) {
		return s
	}
	var b strings.Builder
	for i, r := range s {
		high, low := utf16.EncodeRune(r)
		switch {
		case r == utf8.RuneError && !strings.HasPrefix(s[i:], string(utf8.RuneError)):
			b.WriteString(`\ufffd`) // a byte that is not UTF-8
		case unicode.IsPrint(r), strings.ContainsRune(keep, r):
			b.WriteRune(r)
		case high != utf8.RuneError:
			fmt.Fprintf(&b, `\u%04x\u%04x`, high, low)
		default:
			fmt.Fprintf(&b, `\u%04x`, r)
		}
	}
	return b.String()
}

// Fprintf is fmt.Fprintf with Text applied to every argument that is a string.
func Fprintf(w io.Writer, format string, args ...any) {
	for i, arg := range args {
		if s, ok := arg.(string); ok {
			args[i] = Text(s)
		}
	}
	fmt.Fprintf(w, format, args...)
}
