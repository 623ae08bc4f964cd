package content_test

import (
	"bytes"
	"slices"
	"testing"

	"github.com/tokenagent/tokenagent/cmd/tokenagent/internal/rotate/content"
	"github.com/tokenagent/tokenagent/pkg/verify"
)

// The current token is told where it is certain alone.
func TestSalvageLines(t *testing.T) {
	for text, want := range map[string]string{
		"# x\n\n" + a + "\nshort":                       a,
		"\ufeff" + a + "\r\nshort":                      a,
		b + " next\n" + c + " previous x\n" + a + "\nx": a,
		"revoked x\n" + a:                               a,
		"short\n" + a:                                   "",
		a + " nxt\n" + b:                                "",
		b + " next":                                     "",
		"":                                              "",
	} {
		if got := content.SalvageLines([]byte(text), content.Options{}); got.Current.Reveal() != want {
			t.Errorf("%q: the current token is %s", text, got.Current)
		}
	}
	got := content.SalvageLines([]byte("revoked "+hexA+"\nshort\nrevoked x"), content.Options{})
	if !slices.Equal(got.Revoked, tokenIDs(a)) {
		t.Errorf("%v", got.Revoked)
	}
	keys := content.SalvageKeys(map[string][]byte{"token": []byte(a), "token-next": nil, "token-revoked": []byte("x\n" + hexA)}, content.Options{})
	if keys.Current.Reveal() != a || !slices.Equal(keys.Revoked, tokenIDs(a)) {
		t.Errorf("%v", keys)
	}
}

func tokenIDs(texts ...string) (out [][32]byte) {
	for _, text := range texts {
		out = append(out, verify.Digest(text))
	}
	return out
}

// FuzzRevokeLine: whatever a file holds, a revocation can be put behind it, and
// nothing that was in force ends.
func FuzzRevokeLine(f *testing.F) {
	for _, text := range []string{"", "\ufeff", a, a + "\r\n# x", "revoked", "revoked " + hexA, "short\nrevoked " + hexA + "\r", "\x00"} {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		const fresh = "the-fresh-one-0123456789"
		got, err := content.RevokeLine(text, verify.Digest(fresh), content.Options{})
		if err != nil || !bytes.HasPrefix(got, text) {
			t.Fatalf("%v\n%q\n%q", err, text, got)
		}
		was, faultWas := verify.Parse(text, verify.ParseOptions{})
		is, faultIs := verify.Parse(got, verify.ParseOptions{})
		if !slices.Equal(is.Revoked, append(was.Revoked, verify.Digest(fresh))) || (faultWas == nil) != (faultIs == nil) {
			t.Fatalf("%v, %v\n%q\n%q", faultWas, faultIs, text, got)
		}
	})
}
