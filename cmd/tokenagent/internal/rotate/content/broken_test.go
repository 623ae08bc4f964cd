package content_test

import (
	"bytes"
	"slices"
	"strings"
	"testing"

	"github.com/tokenagent/tokenagent/cmd/tokenagent/internal/rotate/content"
	"github.com/tokenagent/tokenagent/internal/rotation"
	"github.com/tokenagent/tokenagent/internal/token"
	"github.com/tokenagent/tokenagent/pkg/verify"
)

// revokeLine revokes id in text, which need not parse.
func revokeLine(text []byte, id rotation.ID) ([]byte, error) {
	have, err := content.ParseLines(text, content.Options{})
	if err != nil && have.Fault == nil {
		return nil, err
	}
	want := have.Clone()
	want.Revoked = append(want.Revoked, id)
	want.Unrevoked = slices.DeleteFunc(want.Unrevoked, func(x rotation.ID) bool { return x == id })
	return content.EditLines(text, have, want, content.Options{})
}

func revokeKey(keys map[string][]byte, id rotation.ID, line string, kind content.Kind) (content.KeyEdit, error) {
	o := content.Options{Kind: kind}
	have, _ := content.ParseKeys(keys, o)
	want := have.Clone()
	want.Revoked, want.Wording = append(want.Revoked, id), map[rotation.ID]string{id: line}
	return content.EditKeys(keys, have, want, o)
}

// The current token of a broken source is known only if it is certain.
func TestParseBroken(t *testing.T) {
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
		if got, err := content.ParseLines([]byte(text), content.Options{}); got.Current.Reveal() != want || err == nil || got.Fault == nil {
			t.Errorf("%q: the current token is %s, %v", text, got.Current, err)
		}
	}
	got, _ := content.ParseLines([]byte("revoked "+hexA+"\nshort\nrevoked x"), content.Options{})
	if !slices.Equal(got.Revoked, tokenIDs(a)) {
		t.Errorf("%v", got.Revoked)
	}
	keys, _ := content.ParseKeys(map[string][]byte{"token": []byte(a), "token-next": nil, "token-revoked": []byte("x\n" + hexA)}, content.Options{})
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
		"\ufeffunrevoked  " + hexA + "\r\nshort":                           "short\r\nrevoked " + hexA + "\r\n",
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
		if have, err := content.ParseLines(text, content.Options{}); err != nil && have.Fault == nil {
			return // of another format
		}
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

func TestInvalidDigestIsSkipped(t *testing.T) {
	for _, text := range []string{"revoked\n", "revoked " + hexA + hexA + "\n", "revoked x\n"} {
		got, _ := content.ParseLines([]byte(text+a+"\n"), content.Options{})
		if got.Current.ID() != verify.Digest(a) || len(got.Revoked) != 0 {
			t.Errorf("%q: %v, revoked %v", text, got.Current, got.Revoked)
		}
	}
}

// A broken file of another format is left alone: a line for a revocation would damage it.
func TestOtherFormats(t *testing.T) {
	for text, other := range map[string]bool{
		"APP_API_TOKEN=" + a:                     true,
		"# ours\n\n  export APP_API_TOKEN='" + a: true,
		"\ufeffAPP_API_TOKEN=" + a + "==\r\n":    true,
		"_x1 = " + a:                             true,
		`{"token":"` + a + `"}`:                  true,
		"\n {\n":                                 true,
		"---\nkind: Secret":                      true,
		"apiVersion: v1":                         true,
		"-----BEGIN PRIVATE KEY-----\n" + a:      true,
		"\x7fELF\x02\x00\x00" + a:                true,
		"short":                                  false,
		"":                                       false,
		"short==\n" + a:                          false,
		"# A=" + a + "\n short":                  false,
		"revoked " + hexA:                        false,
	} {
		c, err := content.ParseLines([]byte(text), content.Options{})
		switch {
		case err == nil:
			t.Errorf("%q parses", text)
		case (c.Fault == nil) != other:
			t.Errorf("%q: can be changed %t; %v", text, c.Fault != nil, err)
		case strings.Contains(err.Error(), a):
			t.Errorf("%v quotes the content", err)
		}
	}
}
