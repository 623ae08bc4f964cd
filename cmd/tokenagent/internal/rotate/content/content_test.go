package content_test

import (
	"bytes"
	"encoding/hex"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/tokenagent/tokenagent/cmd/tokenagent/internal/rotate/content"
	"github.com/tokenagent/tokenagent/internal/rotation"
	"github.com/tokenagent/tokenagent/pkg/verify"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	a = "aaaaaaaaaaaaaaaa"
	b = "bbbbbbbbbbbbbbbb"
	c = "cccccccccccccccc"
)

var (
	noon = time.Date(2031, 2, 3, 12, 0, 0, 0, time.UTC)
	hexA = digest(a)
)

func digest(token string) string {
	id := verify.Digest(token)
	return hex.EncodeToString(id[:])
}

func tokens(texts ...string) (out []content.Credential) {
	for _, text := range texts {
		out = append(out, content.Token(text))
	}
	return out
}

func superseded(token string, until time.Time) content.Superseded {
	return content.Superseded{Token: content.Token(token), Until: until}
}

// parse parses text as the file "f".
func parse(text []byte, k content.Kind) (content.Source, error) {
	return content.Parse(map[string][]byte{"f": text}, "f", content.Options{Kind: k})
}

func lines(t *testing.T, text string) content.Source {
	t.Helper()
	got, err := parse([]byte(text), content.Tokens)
	if err != nil {
		t.Fatal(err)
	}
	return got
}

// edit returns the text of the file s, changed so that it declares to.
func edit(s content.Source, to content.Content) ([]byte, error) {
	writes, err := s.Edit(to)
	return s.After(writes)["f"], err
}

// Only the lines of what changes change: comments, blank lines, order, line
// ends and the byte order mark stay.
func TestEditLines(t *testing.T) {
	stage := func(c *content.Content) { c.Next = tokens(b) }
	promote := func(c *content.Content) {
		c.Current, c.Next = content.Token(b), nil
		c.Previous = append(c.Previous, superseded(a, noon))
	}
	for name, x := range map[string]struct {
		text string
		edit func(*content.Content)
		want string
	}{
		"stage into a bare token":   {a, stage, a + "\n" + b + " next\n"},
		"stage":                     {a + "\n# end\n", stage, a + "\n# end\n" + b + " next\n"},
		"stage with CRLF and a BOM": {"\ufeff" + a + "\r\n# x\r\n", stage, "\ufeff" + a + "\r\n# x\r\n" + b + " next\r\n"},
		"stage another":             {a + "\n" + c + " next\n\n", stage, a + "\n\n" + b + " next\n"},
		"promote": {
			"# now\n  " + a + " \n# then\n" + b + "\tnext\n\n" + c + "\nrevoked " + digest("x") + "\n", promote,
			"# now\n  " + b + " \n# then\n\n" + c + "\nrevoked " + digest("x") + "\n" + a + " previous until=2031-02-03T12:00:00Z\n",
		},
		"promote beside an older one": {
			a + "\n" + c + " previous until=2031-01-01T00:00:00.5+01:00\n" + b + " next", promote,
			b + "\n" + c + " previous until=2031-01-01T00:00:00.5+01:00\n" + a + " previous until=2031-02-03T12:00:00Z\n",
		},
		"retire": {
			"#\n" + b + " previous\n" + a + "\n" + c + " previous until=2031-01-01T00:00:00Z\n#end",
			func(c *content.Content) { c.Previous = nil }, "#\n" + a + "\n#end",
		},
		"another deadline": {
			a + "\n" + b + " previous\n", func(c *content.Content) { c.Previous[0].Until = noon },
			a + "\n" + b + " previous until=2031-02-03T12:00:00Z\n",
		},
		"revoke": {
			b + "\n# why\n" + a + "\n#end", func(c *content.Content) {
				c.Listed, c.Revoked = nil, []rotation.ID{verify.Digest(a)}
			}, b + "\n# why\n#end\nrevoked " + hexA + "\n",
		},
		"forget": {
			b + "\nrevoked\t" + hexA + "\n#", func(c *content.Content) { c.Revoked = nil }, b + "\n#",
		},
		"nothing": {"\n" + a + " \n\n" + b + " next", func(*content.Content) {}, "\n" + a + " \n\n" + b + " next"},
	} {
		t.Run(name, func(t *testing.T) {
			have := lines(t, x.text)
			want := have.Clone()
			x.edit(&want)
			got, err := edit(have, want)
			if err != nil || string(got) != x.want {
				t.Errorf("%v\ngot:\n%s\nwant:\n%s", err, got, x.want)
			}
		})
	}
}

func TestIsOneToken(t *testing.T) {
	for text, want := range map[string]bool{a: true, "\ufeff\n" + a + "\r\n": true, a + "\n" + b: false, "# x\n" + a: false} {
		if content.IsOneToken([]byte(text)) != want {
			t.Errorf("%q: not %v", text, want)
		}
	}
}

// A token that would be read as something else is never written.
func TestEditRefusesWhatDoesNotReadBack(t *testing.T) {
	for _, bad := range []string{"#aaaaaaaaaaaaaaaaa", "revoked", "short", "aaaaaaaa aaaaaaaa", "aaaaaaaaaaaaaaaa\nbbbbbbbbbbbbbbbb", ""} {
		have := lines(t, a)
		want := have.Clone()
		want.Next = tokens(bad)
		if got, err := edit(have, want); err == nil {
			t.Errorf("%q in a line: %q", bad, got)
		}
		if bad == "" {
			continue // means no key
		}
		keys, err := content.Parse(map[string][]byte{"token": []byte(a)}, "", content.Options{})
		if err != nil {
			t.Fatal(err)
		}
		if got, err := keys.Edit(want); err == nil {
			t.Errorf("%q in a key: %q", bad, got)
		}
	}
}

func TestEditKeys(t *testing.T) {
	full := map[string][]byte{
		"token": []byte(a + "\n"), "token-next": []byte(b), "token-previous": []byte(c), "token-previous-until": []byte("2031-02-03T13:00:00+01:00\n"),
		"token-revoked": []byte("# leaked\nrevoked " + digest("x")), "foreign": []byte("f"),
	}
	for name, x := range map[string]struct {
		keys map[string][]byte
		edit func(*content.Content)
		want map[string][]byte
	}{
		"nothing": {full, func(*content.Content) {}, map[string][]byte{}},
		"stage":   {map[string][]byte{"token": []byte(a)}, func(c *content.Content) { c.Next = tokens(b) }, map[string][]byte{"token-next": []byte(b)}},
		"promote": {full, func(c *content.Content) {
			c.Current, c.Next, c.Previous = content.Token(b), nil, []content.Superseded{superseded(a, noon.Add(time.Hour))}
		}, map[string][]byte{"token": []byte(b), "token-next": nil, "token-previous": []byte(a), "token-previous-until": []byte("2031-02-03T13:00:00Z")}},
		"same deadline, other token": {
			full, func(c *content.Content) { c.Previous = []content.Superseded{superseded(b, noon)} },
			map[string][]byte{"token-previous": []byte(b)},
		},
		"retire":   {full, func(c *content.Content) { c.Previous = nil }, map[string][]byte{"token-previous": nil, "token-previous-until": nil}},
		"undated":  {full, func(c *content.Content) { c.Previous[0].Until = time.Time{} }, map[string][]byte{"token-previous-until": nil}},
		"revoke":   {full, func(c *content.Content) { c.Revoked = append(c.Revoked, verify.Digest(a)) }, map[string][]byte{"token-revoked": []byte("# leaked\nrevoked " + digest("x") + "\n" + hexA + "\n")}},
		"forget":   {full, func(c *content.Content) { c.Revoked = nil }, map[string][]byte{"token-revoked": []byte("# leaked\n")}},
		"forget 2": {map[string][]byte{"token": []byte(a), "token-revoked": []byte(hexA)}, func(c *content.Content) { c.Revoked = nil }, map[string][]byte{"token-revoked": nil}},
	} {
		t.Run(name, func(t *testing.T) {
			have, err := content.Parse(x.keys, "", content.Options{})
			if err != nil {
				t.Fatal(err)
			}
			want := have.Clone()
			x.edit(&want)
			writes, err := have.Edit(want)
			got := map[string][]byte{}
			for _, w := range writes {
				got[w.Key] = w.Value
			}
			same := func(a, b []byte) bool { return (a == nil) == (b == nil) && bytes.Equal(a, b) }
			if err != nil || !maps.EqualFunc(got, x.want, same) {
				t.Errorf("%v\ngot  %q\nwant %q", err, got, x.want)
			}
		})
	}
	two := content.Content{Kind: content.Tokens, Current: content.Token(a), Next: tokens(b, c)}
	have, err := content.Parse(full, "", content.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := have.Edit(two); err == nil {
		t.Error("two next tokens in one key")
	}
}

func TestEqual(t *testing.T) {
	x := lines(t, a+"\n"+b+" next\n"+c+" previous until=2031-01-01T00:00:00Z\nrevoked "+hexA).Content
	if y := x.Clone(); !x.Equal(y) {
		t.Error("a copy is not equal")
	}
	for name, change := range map[string]func(*content.Content){
		"current":  func(c *content.Content) { c.Current = content.Token(b) },
		"next":     func(c *content.Content) { c.Next = nil },
		"previous": func(c *content.Content) { c.Previous = nil },
		"deadline": func(c *content.Content) { c.Previous[0].Until = noon },
		"listed":   func(c *content.Content) { c.Listed = tokens(b) },
		"revoked":  func(c *content.Content) { c.Revoked = nil },
	} {
		y := x.Clone()
		change(&y)
		if x.Equal(y) || y.Equal(x) {
			t.Errorf("another %s is equal", name)
		}
	}
}

// The lines of other clients keep their bytes, whatever their order and their white space.
func TestEditLinesOfAClient(t *testing.T) {
	const web, none = "\twwwwwwwwwwwwwwww  name=web \n", "nnnnnnnnnnnnnnnn\n"
	for name, x := range map[string]struct {
		text string
		edit func(*content.Content)
		want string
	}{
		"add": {
			none + "# end", func(c *content.Content) { c.Current = content.Token(a) },
			none + "# end\n" + a + " name=ci\n",
		},
		"stage": {
			none + a + " name=ci\n" + web, func(c *content.Content) { c.Next = tokens(b) },
			none + a + " name=ci\n" + web + b + " next name=ci\n",
		},
		"promote": {
			web + b + " next name=ci\n" + none + " " + a + "\tname=ci\n#\n" + c + " name=ci\n", func(x *content.Content) {
				x.Current, x.Next, x.Previous = content.Token(b), nil, []content.Superseded{superseded(a, noon)}
			},
			web + none + " " + b + "\tname=ci\n#\n" + c + " name=ci\n" + a + " previous until=2031-02-03T12:00:00Z name=ci\n",
		},
		"retire": {
			none + a + " name=ci\n" + b + " previous name=ci until=2031-01-01T00:00:00Z\n" + web, func(c *content.Content) { c.Previous = nil },
			none + a + " name=ci\n" + web,
		},
		"keep a deadline behind the name": {
			none + a + " name=ci\n" + b + " previous name=ci until=2031-01-01T00:00:00Z\n", func(x *content.Content) { x.Next = tokens(c) },
			none + a + " name=ci\n" + b + " previous name=ci until=2031-01-01T00:00:00Z\n" + c + " next name=ci\n",
		},
		"remove": {
			"# ours\n" + a + " name=ci\n# end\n" + web + b + " next name=ci\n", func(x *content.Content) {
				x.Current, x.Next, x.Revoked = content.Credential{}, nil, []rotation.ID{verify.Digest(a)}
			},
			"# ours\n# end\n" + web + "revoked " + hexA + "\n",
		},
	} {
		t.Run(name, func(t *testing.T) {
			have, err := content.Parse(map[string][]byte{"f": []byte(x.text)}, "f", content.Options{Client: "ci"})
			if err != nil {
				t.Fatal(err)
			}
			want := have.Clone()
			x.edit(&want)
			got, err := edit(have, want)
			if err != nil || string(got) != x.want {
				t.Errorf("%v\ngot:\n%s\nwant:\n%s", err, got, x.want)
			}
		})
	}
}

// FuzzEditLines: whatever parses can be staged, promoted, retired and revoked, for each
// client, and a client can be added and removed. The result reads back so, and no line of
// something else changes.
func FuzzEditLines(f *testing.F) {
	for _, text := range []string{
		a, "\ufeff" + a + "\r\n", "# c\n" + a + "\n" + b + " next\n" + c + " previous until=2031-01-01T00:00:00Z\nrevoked " + hexA + "\n",
		a + "\n" + a + "\n" + a + " previous\n" + a + " next", a + "\v\n\f\n\r" + b, "\n\n" + a + "\n\ufeff#\n", b + " next\n" + a,
		b + " next\n{" + a, b + " next\n{\"" + a, b + " next\nx=" + a,
		a + "\n" + b + " name=ci\n" + c + " next name=ci", a + " name=a\r\n" + a + " previous name=a until=2031-01-01T00:00:00Z\n" + b + "\tname=b",
	} {
		f.Add([]byte(text), uint8(0))
		f.Add([]byte(text), uint8(3))
		f.Add([]byte(text), uint8(4+5))
		f.Add([]byte(text), uint8(1+10))
	}
	f.Fuzz(func(t *testing.T, text []byte, how uint8) {
		all, err := parse(text, content.Tokens)
		if err != nil {
			return
		}
		clients := append(all.Clients(), "fresh")
		client := clients[int(how/5)%len(clients)]
		have, err := content.Parse(map[string][]byte{"f": text}, "f", content.Options{Client: client})
		if err != nil {
			t.Fatal(err)
		}
		const fresh = "the-fresh-one-0123456789"
		want := have.Clone()
		switch {
		case !have.HasCurrent():
			want.Current = content.Token(fresh)
		case how%5 == 0:
			want.Next = tokens(fresh)
		case how%5 == 1:
			want.Previous, want.Next = append(want.Previous, content.Superseded{Token: want.Current, Until: noon}), nil
			want.Current = content.Token(fresh)
		case how%5 == 2:
			want.Previous = nil
		case how%5 == 3 || len(all.Clients()) == 1:
			want.Revoked = append(want.Revoked, verify.Digest(fresh))
		default:
			want.Current, want.Next, want.Previous, want.Listed = content.Credential{}, nil, nil, nil
		}
		got, err := edit(have, want)
		if err != nil {
			t.Fatalf("%v\n%q", err, text)
		}
		parsed, err := content.Parse(map[string][]byte{"f": got}, "f", content.Options{Client: client})
		if err != nil || !parsed.Equal(want) {
			t.Fatalf("%v\n%q\n%q", err, text, got)
		}
		for _, name := range all.Clients() {
			before, _ := all.Of(name)
			after, _ := parsed.Of(name)
			before.Revoked, after.Revoked = nil, nil
			if name != client && !before.Equal(after.Content) {
				t.Fatalf("client %q changed\n%q\n%q", name, text, got)
			}
		}
		if before, after := others(text, client), others(got, client); !slices.Equal(before, after) {
			t.Fatalf("other lines were\n%q\nare\n%q", before, after)
		}
	})
}

// others returns the lines that declare nothing or a token of another client, without their
// ends.
func others(text []byte, client string) (out []string) {
	for line := range strings.Lines(strings.TrimPrefix(string(text), "\ufeff")) {
		words := strings.FieldsFunc(line, func(r rune) bool { return strings.ContainsRune(" \t\r\v\f\n", r) })
		owner := ""
		for _, word := range words[min(len(words), 1):] {
			if name, is := strings.CutPrefix(word, "name="); is {
				owner = name
			}
		}
		isDigest := len(words) > 0 && slices.Contains([]string{"revoked", "retired", "unrevoked"}, words[0])
		if len(words) == 0 || words[0][0] == '#' || owner != client && !isDigest {
			out = append(out, strings.TrimSuffix(strings.TrimSuffix(line, "\n"), "\r"))
		}
	}
	return out
}
