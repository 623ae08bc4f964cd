package content_test

import (
	"bytes"
	"errors"
	"slices"
	"testing"

	"github.com/tokenagent/tokenagent/cmd/tokenagent/internal/rotate/content"
	"github.com/tokenagent/tokenagent/internal/rotation"
	"github.com/tokenagent/tokenagent/internal/token"
	"github.com/tokenagent/tokenagent/pkg/verify"
)

var errFault = errors.New("short")

// revokeLine revokes id in text, which need not parse.
func revokeLine(text []byte, id rotation.ID) ([]byte, error) {
	c := content.SalvageLines(text, content.Options{}, errFault)
	c.Revoked = append(c.Revoked, id)
	return content.EditLines(text, c, content.Options{})
}

func revokeKey(keys map[string][]byte, id rotation.ID, line string, kind content.Kind) (content.KeyEdit, error) {
	o := content.Options{Kind: kind}
	c := content.SalvageKeys(keys, o, errFault)
	c.Revoked, c.Wording = append(c.Revoked, id), map[rotation.ID]string{id: line}
	return content.EditKeys(keys, c, o)
}

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
		if got := content.SalvageLines([]byte(text), content.Options{}, errFault); got.Current.Reveal() != want {
			t.Errorf("%q: the current token is %s", text, got.Current)
		}
	}
	got := content.SalvageLines([]byte("revoked "+hexA+"\nshort\nrevoked x"), content.Options{}, errFault)
	if !slices.Equal(got.Revoked, tokenIDs(a)) {
		t.Errorf("%v", got.Revoked)
	}
	keys := content.SalvageKeys(map[string][]byte{"token": []byte(a), "token-next": nil, "token-revoked": []byte("x\n" + hexA)}, content.Options{}, errFault)
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

// What lifts the revocation of the same digest goes, and no other line: it would
// count again once the revocation is forgotten.
func TestRevokingTakesOutWhatLiftsThat(t *testing.T) {
	id := verify.Digest(a)
	for text, want := range map[string]string{
		"unrevoked " + hexA + "\nshort\n":                                  "short\nrevoked " + hexA + "\n",
		"\ufeffunrevoked  " + hexA + "\r\nshort":                           "short\nrevoked " + hexA + "\n",
		"# unrevoked " + hexA + "\n" + hexA + "\nunrevoked x\nunrevoked\n": "# unrevoked " + hexA + "\n" + hexA + "\nunrevoked x\nunrevoked\nrevoked " + hexA + "\n",
	} {
		if got, err := revokeLine([]byte(text), id); err != nil || string(got) != want {
			t.Errorf("%q: %q, %v", text, got, err)
		}
	}
	for _, c := range []struct{ lifted, want string }{
		{hexA + "\n", ""},
		{"# ours\r\nunrevoked " + hexA + "\r\n" + digest(b), "# ours\r\n" + digest(b)},
	} {
		keys := map[string][]byte{"token-next": []byte("short"), "token-unrevoked": []byte(c.lifted)}
		edit, err := revokeKey(keys, id, "", content.Tokens)
		if got := edit.Apply(keys); err != nil || string(got["token-unrevoked"]) != c.want || string(got["token-revoked"]) != hexA+"\n" {
			t.Errorf("%q: %q, %v", c.lifted, got, err)
		}
	}
	name := verify.RevokedKeyID("k")
	keys := map[string][]byte{"unrevoked": []byte("jti k\nkid k\n")}
	edit, err := revokeKey(keys, name, "kid k", content.Keys)
	if got := edit.Apply(keys); err != nil || string(got["unrevoked"]) != "jti k\n" || string(got["revoked"]) != "kid k\n" {
		t.Errorf("%q, %v", got, err)
	}
}

// FuzzRevokeLine: whatever a file holds, a revocation can be put behind it, and
// nothing that was in force ends.
func FuzzRevokeLine(f *testing.F) {
	for _, text := range []string{"", "\ufeff", a, a + "\r\n# x", "revoked", "revoked " + hexA, "short\nrevoked " + hexA + "\r", "\x00"} {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		const fresh = "the-fresh-one-0123456789"
		got, err := revokeLine(text, verify.Digest(fresh))
		lifts := bytes.Contains(text, []byte("unrevoked"))
		if err != nil || !lifts && !bytes.HasPrefix(got, text) {
			t.Fatalf("%v\n%q\n%q", err, text, got)
		}
		was, faultWas := token.Parse(text, token.Options{})
		is, faultIs := token.Parse(got, token.Options{})
		if !slices.Equal(is.Revoked, append(was.Revoked, verify.Digest(fresh))) || (faultWas == nil) != (faultIs == nil) {
			t.Fatalf("%v, %v\n%q\n%q", faultWas, faultIs, text, got)
		}
	})
}

// A line that is no digest at all is passed over.
func TestSalvageLongDigest(t *testing.T) {
	for _, text := range []string{"revoked\n", "revoked " + hexA + hexA + "\n", "revoked x\n"} {
		got := content.SalvageLines([]byte(text+a+"\n"), content.Options{}, errors.New("broken"))
		if got.Current.ID() != verify.Digest(a) || len(got.Revoked) != 0 {
			t.Errorf("%q: %v, revoked %v", text, got.Current, got.Revoked)
		}
	}
}
