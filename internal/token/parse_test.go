package token

import (
	"bytes"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/tokenagent/tokenagent/internal/rotation"
	"github.com/tokenagent/tokenagent/pkg/verify"
)

func show(got Tokens) string {
	var b strings.Builder
	for _, d := range got.Decls {
		fmt.Fprintf(&b, "%s:%s", d.Value.Reveal()[:1], d.Slot)
		if d.Client != "" {
			b.WriteString("=" + d.Client)
		}
		if !d.Until.IsZero() {
			b.WriteString("@" + d.Until.UTC().Format(time.RFC3339))
		}
		b.WriteByte(' ')
	}
	for _, list := range []struct {
		word string
		ids  []rotation.ID
	}{{"revoked", got.Revoked}, {"retired", got.Retired}, {"unrevoked", got.Unrevoked}} {
		for _, id := range list.ids {
			b.WriteString(list.word + ":" + verify.Fingerprint(id) + " ")
		}
	}
	return strings.TrimSpace(b.String())
}

func TestParse(t *testing.T) {
	t.Parallel()
	digest := fmt.Sprintf("%x", verify.Digest(tokenB))
	fp := digest[:8]
	for name, c := range map[string]struct{ text, want string }{
		"one token":             {tokenA, "A:current"},
		"trailing newline":      {tokenA + "\n", "A:current"},
		"crlf, bom, blanks":     {"\xef\xbb\xbf \t" + tokenA + " \r\n\r\n\v\f\r\n", "A:current"},
		"list":                  {tokenA + "\n" + tokenB + "\n" + tokenC, "A:current B:listed C:listed"},
		"slots":                 {tokenB + " next\n" + tokenA + "\n" + tokenC + "\tprevious", "B:next A:current C:previous"},
		"until":                 {tokenA + "\n" + tokenB + " previous until=2026-01-02T03:04:05+01:00", "A:current B:previous@2026-01-02T02:04:05Z"},
		"comments":              {"# " + tokenB + "\n  #x\n" + tokenA, "A:current"},
		"revoked":               {tokenA + "\nrevoked " + digest, "A:current revoked:" + fp},
		"revoked in upper case": {tokenA + "\nrevoked " + strings.ToUpper(digest), "A:current revoked:" + fp},
		"retired":               {tokenA + "\nretired " + digest, "A:current retired:" + fp},
		"unrevoked":             {"unrevoked " + digest + "\n" + tokenA, "A:current unrevoked:" + fp},
		"the same token twice":  {tokenA + "\n" + tokenA, "A:current A:listed"},
		"a named client alone":  {tokenA + " name=ci", "A:current=ci"},
		"clients":               {tokenA + "\n" + tokenB + " name=a.b-c_1\n" + tokenC + " name=2", "A:current B:current=a.b-c_1 C:current=2"},
		"list of a client":      {tokenA + " name=ci\n" + tokenB + " name=ci", "A:current=ci B:listed=ci"},
		"slots of a client":     {tokenA + " next name=ci\n" + tokenB + " name=ci\n" + tokenC + " previous until=2026-01-02T03:04:05Z name=ci", "A:next=ci B:current=ci C:previous=ci@2026-01-02T03:04:05Z"},
		"name before until":     {tokenA + " name=ci\n" + tokenB + " previous name=ci until=2026-01-02T03:04:05Z", "A:current=ci B:previous=ci@2026-01-02T03:04:05Z"},
		"longest name":          {tokenA + " name=" + strings.Repeat("a", 63), "A:current=" + strings.Repeat("a", 63)},
	} {
		got, err := Parse([]byte(c.text), Options{})
		if err != nil || show(got) != c.want {
			t.Errorf("%s: %s, %v; want %s", name, show(got), err, c.want)
		}
	}
}

func TestParseErrors(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ text, want string }{
		"empty":                   {"", "app.tok: no current token"},
		"comment alone":           {"# x\n", "app.tok: no current token"},
		"next alone":              {tokenA + " next", "app.tok: no current token"},
		"short":                   {"\nshort", "app.tok:2: the token is 5 bytes, shorter than 16"},
		"not ascii":               {strings.Repeat("a", 20) + "é", "app.tok:1: byte 21 of the token is outside 0x21 to 0x7E"},
		"nul":                     {tokenA + "\x00", "app.tok:1: byte 21 of the token"},
		"delete":                  {tokenA + "\x7F", "app.tok:1: byte 21 of the token is outside 0x21 to 0x7E"},
		"word behind":             {tokenA + "\n" + tokenB + " old", "app.tok:2: only next, previous, until= or name= may follow"},
		"until without slot":      {tokenA + " until=2026-01-02T03:04:05Z", "app.tok:1: until= needs previous"},
		"until with next":         {tokenA + "\n" + tokenB + " next until=2026-01-02T03:04:05Z", "app.tok:2: until= needs previous"},
		"until is no time":        {tokenA + "\n" + tokenB + " previous until=tomorrow", "app.tok:2: the deadline is not an RFC 3339 time"},
		"until without zone":      {tokenA + "\n" + tokenB + " previous until=2026-01-02T03:04:05", "app.tok:2: the deadline is not an RFC 3339 time"},
		"too much":                {tokenA + " previous until=2026-01-02T03:04:05Z x", "app.tok:1: only next, previous, until= or name= may follow"},
		"until twice":             {tokenA + " previous until=2026-01-02T03:04:05Z until=2026-01-02T03:04:05Z", "app.tok:1: until= appears twice"},
		"name twice":              {tokenA + " name=a name=b", "app.tok:1: name= appears twice"},
		"empty name":              {tokenA + " name=", "app.tok:1: a client's name has at most 63"},
		"bad name":                {tokenA + " name=-a", "app.tok:1: a client's name has"},
		"name with a slash":       {tokenA + " name=a/b", "app.tok:1: a client's name has"},
		"name too long":           {tokenA + " name=" + strings.Repeat("a", 64), "app.tok:1: a client's name has"},
		"slot after name":         {tokenA + " name=a next", "app.tok:1: only next, previous, until= or name= may follow"},
		"client without current":  {tokenA + "\n" + tokenB + " next name=ci", "app.tok: client ci has no current token"},
		"unnamed without current": {tokenA + " name=ci\n" + tokenB + " next", "app.tok: no current token"},
		"two names":               {tokenA + " name=ci\n" + tokenB + "\n" + tokenA + " name=web", "app.tok:3: client ci and client web have the same token"},
		"two names, one none":     {tokenA + "\n" + tokenB + " name=ci\n" + tokenA + " next name=ci", "app.tok:3: the unnamed client and client ci have the same token"},
		"revoked short":           {tokenA + "\nrevoked abcd", "app.tok:2: a revocation must be the 64 hex digits"},
		"revoked without any":     {tokenA + "\nrevoked", "app.tok:2: a revocation must be the 64 hex digits"},
		"revoked no hex":          {tokenA + "\nrevoked " + strings.Repeat("g", 64), "app.tok:2: a revocation must be the 64 hex digits"},
		"retired short":           {tokenA + "\nretired abcd", "app.tok:2: a retirement must be the 64 hex digits"},
		"retired no hex":          {tokenA + "\nretired " + strings.Repeat("g", 64), "app.tok:2: a retirement must be the 64 hex digits"},
		"unrevoked twice":         {tokenA + "\nunrevoked " + strings.Repeat("a", 64) + " " + strings.Repeat("b", 64), "app.tok:2: a lifted revocation must be the 64 hex"},
		"the first error":         {"short\n" + tokenA + " x", "app.tok:1: the token is 5 bytes"},
	} {
		got, err := Parse([]byte(c.text), Options{Name: "app.tok"})
		if err == nil || !strings.HasPrefix(err.Error(), c.want) || got.Decls != nil {
			t.Errorf("%s: %v, %v; want %s", name, got.Decls, err, c.want)
		}
	}
}

// TestBadContentNeitherRetiresNorUnrevokes: of bad content, only the revocations hold.
func TestBadContentNeitherRetiresNorUnrevokes(t *testing.T) {
	t.Parallel()
	id := verify.Digest(tokenB)
	got, err := Parse(fmt.Appendf(nil, "retired %x\nunrevoked %[1]x\nrevoked %[1]x\nshort", id), Options{})
	if err == nil || show(got) != "revoked:"+verify.Fingerprint(id) {
		t.Errorf("%s, %v", show(got), err)
	}
}

// TestP3_RevocationOutlivesMalformedContent: a well-formed revocation holds, whether it
// comes before or after an error.
func TestP3_RevocationOutlivesMalformedContent(t *testing.T) {
	t.Parallel()
	id := verify.Digest(tokenB)
	line := fmt.Sprintf("revoked %x\n", id)
	for _, text := range []string{line + "short", "short\n" + line, tokenA + " what\n" + line + "revoked abc", line} {
		got, err := Parse([]byte(text), Options{})
		if err == nil || len(got.Revoked) != 1 || got.Revoked[0] != id {
			t.Errorf("%q: %d revocations, %v", text, len(got.Revoked), err)
		}
	}
	got, err := ParseDir(map[string][]byte{"token-revoked": fmt.Appendf(nil, "nonsense\n%x\n", id)}, Options{Name: "d"})
	if err == nil || err.Error() != "d/token-revoked:1: a revocation must be the 64 hex digits of the token's SHA-256, and nothing else" || len(got.Revoked) != 1 {
		t.Errorf("%d revocations, %v", len(got.Revoked), err)
	}
}

func TestParseDir(t *testing.T) {
	t.Parallel()
	type m = map[string][]byte
	until := []byte("2026-01-02T03:04:05Z\n")
	for name, c := range map[string]struct {
		keys       m
		want, text string
	}{
		"token":             {m{"token": []byte(tokenA + "\n")}, "A:current", ""},
		"all":               {m{"token": []byte(tokenA), "token-next": []byte(tokenB), "token-previous": []byte(tokenC), "token-previous-until": until}, "A:current B:next C:previous@2026-01-02T03:04:05Z", ""},
		"undated previous":  {m{"token": []byte(tokenA), "token-previous": []byte(tokenC)}, "A:current C:previous", ""},
		"until alone":       {m{"token": []byte(tokenA), "token-previous-until": until}, "A:current", ""},
		"revoked":           {m{"token": []byte(tokenA), "token-revoked": fmt.Appendf(nil, "# leaked\n%x\r\nrevoked %[1]x", verify.Digest(tokenB))}, "A:current revoked:" + verify.Fingerprint(verify.Digest(tokenB)) + " revoked:" + verify.Fingerprint(verify.Digest(tokenB)), ""},
		"retired":           {m{"token": []byte(tokenA), "token-retired": fmt.Appendf(nil, "%x\nretired %[1]x", verify.Digest(tokenB))}, "A:current retired:" + verify.Fingerprint(verify.Digest(tokenB)) + " retired:" + verify.Fingerprint(verify.Digest(tokenB)), ""},
		"unrevoked":         {m{"token": []byte(tokenA), "token-unrevoked": fmt.Appendf(nil, "%x\nunrevoked %[1]x", verify.Digest(tokenB))}, "A:current unrevoked:" + verify.Fingerprint(verify.Digest(tokenB)) + " unrevoked:" + verify.Fingerprint(verify.Digest(tokenB)), ""},
		"nothing revoked":   {m{"token": []byte(tokenA), "token-revoked": nil}, "A:current", ""},
		"clients":           {m{"token.ci": []byte(tokenA), "token-next.ci": []byte(tokenB), "token.web": []byte(tokenC)}, "B:next=ci A:current=ci C:current=web", ""},
		"dated client":      {m{"token": []byte(tokenA), "token.c.i": []byte(tokenB), "token-previous.c.i": []byte(tokenC), "token-previous-until.c.i": until}, "A:current C:previous=c.i@2026-01-02T03:04:05Z B:current=c.i", ""},
		"copies of editors": {m{"token": []byte(tokenA), "token~": []byte("x"), "token.ci~": []byte("x"), "token.a b": []byte("x")}, "A:current", ""},
		"other kinds":       {m{"token": []byte(tokenA), "token-revoked.ci": []byte("x"), "tokens.ci": []byte("x")}, "A:current", ""},
		"bad client name":   {m{"token": []byte(tokenA), "token._ci": []byte(tokenB)}, "", "mount/token._ci: a client's name has"},
		"no client name":    {m{"token": []byte(tokenA), "token.": []byte(tokenB)}, "", "mount/token.: a client's name has"},
		"client next alone": {m{"token": []byte(tokenA), "token-next.ci": []byte(tokenB)}, "", "mount: no key token.ci"},
		"two names":         {m{"token.ci": []byte(tokenA), "token-previous.web": []byte(tokenA), "token.web": []byte(tokenB)}, "", "mount/token.ci: client web and client ci have the same token"},
		"bad client until":  {m{"token.ci": []byte(tokenA), "token-previous.ci": []byte(tokenC), "token-previous-until.ci": []byte("soon")}, "", "mount/token-previous-until.ci: the deadline is no"},
		"foreign keys":      {m{"token": []byte(tokenA), "tls.key": []byte("x")}, "A:current", ""},
		"empty directory":   {m{}, "", "mount: no key token"},
		"no current":        {m{"token-next": []byte(tokenA)}, "", "mount: no key token"},
		"empty token":       {m{"token": []byte("\n")}, "", "mount/token: empty"},
		"empty next":        {m{"token": []byte(tokenA), "token-next": nil}, "", "mount/token-next: empty"},
		"two words":         {m{"token": []byte(tokenA + " next")}, "", "mount/token:1: more than one word"},
		"two lines":         {m{"token": []byte(tokenA + "\n" + tokenB)}, "", "mount/token:2: more than one word"},
		"short":             {m{"token": []byte(tokenA), "token-next": []byte("x")}, "", "mount/token-next: the token is 1 bytes"},
		"until is no time":  {m{"token": []byte(tokenA), "token-previous": []byte(tokenC), "token-previous-until": []byte("soon")}, "", "mount/token-previous-until: the deadline is no"},
		"until is empty":    {m{"token": []byte(tokenA), "token-previous": []byte(tokenC), "token-previous-until": nil}, "", "mount/token-previous-until: the deadline is no"},
		"another word":      {m{"token": []byte(tokenA), "token-retired": fmt.Appendf(nil, "revoked %x", verify.Digest(tokenB))}, "", "mount/token-retired:1: a retirement must be"},
		"revoked malformed": {m{"token": []byte(tokenA), "token-revoked": []byte("x y")}, "", "mount/token-revoked:1: a revocation must be"},
	} {
		got, err := ParseDir(c.keys, Options{Name: "mount/"})
		switch {
		case c.text == "" && (err != nil || show(got) != c.want):
			t.Errorf("%s: %s, %v; want %s", name, show(got), err, c.want)
		case c.text != "" && (err == nil || !strings.HasPrefix(err.Error(), c.text) || got.Decls != nil):
			t.Errorf("%s: %s, %v; want %s", name, show(got), err, c.text)
		}
	}
}

func TestMinTokenBytes(t *testing.T) {
	t.Parallel()
	if _, err := Parse([]byte("abc"), Options{MinTokenBytes: 3}); err != nil {
		t.Error(err)
	}
	if _, err := Parse([]byte(strings.Repeat("a", 31)), Options{MinTokenBytes: 32}); err == nil {
		t.Error("31 bytes accepted where 32 are asked for")
	}
	if _, err := Parse([]byte(strings.Repeat("a", 16)), Options{}); err != nil {
		t.Errorf("16 bytes: %v", err)
	}
}

// FuzzParse checks for any input that Parse does not panic, that its error quotes nothing,
// and that accepted tokens are valid.
func FuzzParse(f *testing.F) {
	for _, s := range []string{tokenA, tokenA + " next", tokenA + "\n" + tokenB + " previous until=2026-01-02T03:04:05Z", "revoked " + strings.Repeat("0", 64), "retired " + strings.Repeat("0", 64) + "\nunrevoked " + strings.Repeat("1", 64), "\xef\xbb\xbf#", "\x00", tokenA + " name=ci\n" + tokenB + " next name=ci"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		check(t, text)(Parse(text, Options{}))
		check(t, text)(ParseDir(map[string][]byte{FileCurrent: text, FileNext: text, FilePrevious: text, FilePreviousUntil: text, FileRevoked: text, FileRetired: text, FileUnrevoked: text}, Options{}))
		check(t, text)(ParseDir(map[string][]byte{"token.ci": text, "token-next.ci": text, "token-previous.ci": text, "token-previous-until.ci": text}, Options{}))
	})
}

// fixedWords are words of errors that do not come from the source.
const fixedWords = "token-revoked: token-retired: token-unrevoked: token-previous: token-previous-until: token-previous-until.ci: " +
	"outside revocation retirement character something printable"

func check(t *testing.T, text []byte) func(Tokens, error) {
	t.Helper()
	return func(got Tokens, err error) {
		t.Helper()
		if err != nil {
			for word := range bytes.FieldsSeq(text) {
				if len(word) >= 8 && strings.Contains(err.Error(), string(word)) && !strings.Contains(fixedWords, string(word)) {
					t.Fatalf("the error quotes %q: %v", word, err)
				}
			}
			return
		}
		current, owner := make(map[string]int), make(map[rotation.ID]string)
		for _, d := range got.Decls {
			s := d.Value.Reveal()
			if len(s) < DefaultMinBytes || strings.ContainsFunc(s, func(r rune) bool { return r < 0x21 || r > 0x7E }) {
				t.Fatalf("accepted %q", s)
			}
			if d.ID != verify.Digest(s) || !bytes.Contains(text, []byte(s)) {
				t.Fatalf("%q is not what was written", s)
			}
			if d.Slot == rotation.Current {
				current[d.Client]++
			}
			if other, ok := owner[d.ID]; ok && other != d.Client {
				t.Fatalf("one token of the clients %q and %q", other, d.Client)
			}
			if owner[d.ID] = d.Client; d.Client != "" && !rotation.ValidClient(d.Client) {
				t.Fatalf("client %q", d.Client)
			}
			if !d.Until.IsZero() && d.Slot != rotation.Previous {
				t.Fatalf("a deadline on %s", d.Slot)
			}
		}
		for _, d := range got.Decls {
			if current[d.Client] != 1 {
				t.Fatalf("%d current tokens of client %q", current[d.Client], d.Client)
			}
		}
		if len(got.Decls) == 0 {
			t.Fatal("no token")
		}
	}
}
