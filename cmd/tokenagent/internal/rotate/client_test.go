package rotate_test

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"
)

// of is the bench for the steps of a client.
func of(b bench, name string) bench { return client{bench: b, name: name} }

// add adds a client with the token.
func add(t *testing.T, b bench, name, token string) bench {
	t.Helper()
	b.do(t, "add-client", "--from", tokenFile(t, token), name).want(t, 0, "client "+name+": added client "+name+", with "+fingerprint(token))
	return of(b, name)
}

// forEachTarget calls f with targets whose only token is one, of the unnamed client.
func forEachTarget(t *testing.T, f func(t *testing.T, b bench)) {
	t.Helper()
	for name, b := range targets(t, map[string]string{"token": one}, one+"\n") {
		t.Run(name, func(t *testing.T) { f(t, b) })
	}
}

// Clients rotate alone, in whatever order their steps come.
func TestClientsRotateInterleaved(t *testing.T) {
	forEachTarget(t, func(t *testing.T, b bench) {
		ci, web := add(t, b, "ci", two), add(t, b, "web.1", three)
		wants := func(unnamed, ofCI, ofWeb string) {
			t.Helper()
			want(t, b, unnamed)
			want(t, ci, ofCI)
			want(t, web, ofWeb)
		}
		wants("current=one", "current=two", "current=three")
		ci.do(t, "stage", "--from", tokenFile(t, four)).want(t, 0)
		b.do(t, "stage", "--from", tokenFile(t, five)).want(t, 0)
		ci.do(t, "promote").want(t, 0)
		web.do(t, "promote").want(t, 1, "no token is staged; stage one first")
		wants("current=one next="+fingerprint(five), "current="+fingerprint(four)+" previous=two", "current=three")
		b.do(t, "promote").want(t, 0)
		ci.do(t, "retire").want(t, 0)
		wants("current="+fingerprint(five)+" previous=one", "current="+fingerprint(four), "current=three")
		web.do(t, "revoke", "--slot", "current", "--force").want(t, 0)
		b.do(t, "status").want(t, 1, "good\n", ", client ci: good", ", client web.1: bad: the current token is revoked")
		ci.do(t, "status").want(t, 0, ", client ci: good")
		web.do(t, "status").want(t, 1, "next: stage and promote, at once")
		web.do(t, "stage").want(t, 0)
		web.do(t, "promote").want(t, 0)
		b.do(t, "status").want(t, 0)
		b.do(t, "retire").want(t, 0)
	})
}

// A token belongs to one client.
func TestClientsShareNoToken(t *testing.T) {
	forEachTarget(t, func(t *testing.T, b bench) {
		ci := add(t, b, "ci", two)
		ci.do(t, "stage", "--from", tokenFile(t, three)).want(t, 0)
		before := b.bytes(t)
		for says, step := range map[string]func() outcome{
			"the unnamed client and client ci would have the same token, " + fingerprint(one): func() outcome { return ci.do(t, "stage", "--replace", "--from", tokenFile(t, one)) },
			"client ci and the unnamed client would have the same token, " + fingerprint(two): func() outcome { return b.do(t, "stage", "--from", tokenFile(t, two)) },
			"client ci and the unnamed client would have the same token":                      func() outcome { return b.do(t, "now", "--from", tokenFile(t, three)) },
			"client ci and client web would have the same token":                              func() outcome { return b.do(t, "add-client", "--from", tokenFile(t, three), "web") },
			fingerprint(two) + " is a token of client ci, and not of the unnamed client; revoke it there: --client ci": func() outcome {
				return b.do(t, "revoke", "--digest", id(two), "--force")
			},
			"not of client ci; revoke it there: without --client": func() outcome { return ci.do(t, "revoke", "--from", tokenFile(t, one)) },
		} {
			step().want(t, 1, says)
		}
		if b.bytes(t) != before {
			t.Error("refused, and changed all the same")
		}
		ci.do(t, "revoke", "--slot=current", "--from", tokenFile(t, two)).want(t, 2)
		ci.do(t, "revoke", "--from", tokenFile(t, two)).want(t, 0, fingerprint(three)+", which was staged, is current")
		b.do(t, "stage", "--from", tokenFile(t, two)).want(t, 1, "is revoked; give another one")
		ci.do(t, "revoke", "--slot=current", "--force").want(t, 0)
		b.do(t, "revoke", "--forget", id(three)).want(t, 1, "is revoked and still declared, so forgetting")
		b.do(t, "unrevoke", "--digest", id(three)).want(t, 0, "is no longer revoked\n")
		b.do(t, "status").want(t, 0)
	})
}

func TestAddAndRemoveClient(t *testing.T) {
	forEachTarget(t, func(t *testing.T, b bench) {
		before := b.bytes(t)
		b.do(t, "add-client", "ci", "--dry-run").want(t, 0, "added client ci, with a new token as its current token")
		if b.bytes(t) != before {
			t.Error("a dry run changes the target")
		}
		b.do(t, "add-client", "ci").want(t, 0)
		ci := of(b, "ci")
		b.do(t, "add-client", "ci").want(t, 1, "has client ci already; rotate its token with stage and promote")
		made := ci.content(t).Current
		ci.do(t, "now", "--from", tokenFile(t, two), "--overlap", "0s").want(t, 0)
		ci.do(t, "now", "--again", "--drop-previous", "--from", tokenFile(t, three)).want(t, 0)
		ci.do(t, "stage", "--from", tokenFile(t, four)).want(t, 0)

		b.do(t, "remove-client", "web").want(t, 1, "it has no client of that name, but ci")
		b.do(t, "remove-client", "ci").want(t, 0, "removed client ci; revoked ", "next: none: there is no token of client ci")
		if got := b.source(t).Clients(); !slices.Equal(got, []string{""}) {
			t.Errorf("clients %q", got)
		}
		c := b.content(t)
		if got, want := digests(c.Revoked), []string{id(three), id(four), id(two)}; !slices.Equal(got, want) {
			t.Errorf("revoked %q, want %q", got, want)
		}
		if got := digests(c.Retired); !slices.Equal(got, []string{hexOf(made.ID())}) {
			t.Errorf("retired %q", got)
		}
		b.do(t, "remove-client", "ci").want(t, 1, "it has no client of that name, nor another named one")
		b.do(t, "add-client", "ci", "--from", tokenFile(t, three)).want(t, 1, "is revoked; give another one")
	})
}

// A source whose tokens all have names is rotated by them, and loses its last one only by force.
func TestTheLastClientStays(t *testing.T) {
	for name, b := range targets(t, map[string]string{"token.ci": one}, one+" name=ci\n# end\n") {
		t.Run(name, func(t *testing.T) {
			for _, step := range []string{"stage", "promote", "retire", "now", "revoke"} {
				b.do(t, step).want(t, 1, "every token there belongs to a named client; choose one with --client: ci")
			}
			b.do(t, "status").want(t, 0, ", client ci: good")
			b.do(t, "revoke", "--digest", id(two)).want(t, 0, "revoked "+fingerprint(two))
			b.do(t, "revoke", "--forget", id(two)).want(t, 0)
			b.do(t, "unrevoke", "--digest", id(two)).want(t, 0)
			before := b.bytes(t)
			b.do(t, "remove-client", "ci").want(t, 1, "client ci is the only client", "with --force")
			if b.bytes(t) != before {
				t.Error("refused, and changed all the same")
			}
			b.do(t, "remove-client", "ci", "--force").want(t, 0, "warning: ", "no token is left there")
			if text := b.bytes(t); strings.Contains(text, one) {
				t.Error("the token is still there")
			}
		})
	}
}

func TestClientUsage(t *testing.T) {
	file := path(t.TempDir() + "/token")
	put(t, string(file), one)
	rule := ": a client's name has at most 63 letters, digits, '.', '_' and '-', and begins with a letter or a digit"
	for _, name := range []string{"_ci", "a b", "é", strings.Repeat("a", 64), "a/b"} {
		file.do(t, "add-client", name).want(t, 2, "NAME"+rule)
		file.do(t, "stage", "--client="+name).want(t, 2, "--client"+rule)
	}
	run(t, "", false, "add-client").want(t, 2, "NAME, the name of the client, is missing")
	run(t, "", false, "remove-client", "ci", "a", "b").want(t, 2, "takes one PATH")
	// A name may be a misplaced token.
	for _, step := range []string{"stage", "promote", "retire", "revoke", "now", "status"} {
		file.do(t, step, "--client", one).want(t, 1, "it has no client of that name, nor another named one; add it with")
	}
	file.do(t, "remove-client", one).want(t, 1, "it has no client of that name")
	file.do(t, "revoke", "--client", one, "--digest", id(two)).want(t, 1, "it has no client of that name")

	keys := path(t.TempDir() + "/jwks.json")
	put(t, string(keys), `{"keys":[{"kty":"oct","k":"`+strings.Repeat("A", 43)+`","alg":"HS256"}]}`)
	for _, args := range [][]string{{"stage", "--client=ci"}, {"status", "--client=ci"}, {"add-client", "ci"}, {"remove-client", "ci"}} {
		keys.do(t, args[0], args[1:]...).want(t, 2, "has verification keys, which belong to no client; only tokens do")
	}
}

// --from takes a token with the name of the client, as generate --client prints it.
func TestFromWithAName(t *testing.T) {
	file := path(t.TempDir() + "/token")
	put(t, string(file), one+"\n")
	from := tokenFile(t, two+" name=ci")
	file.do(t, "stage", "--from", from).want(t, 1, "the token has the name of another client")
	file.do(t, "add-client", "web", "--from", from).want(t, 1, "the token has the name of another client")
	file.do(t, "add-client", "ci", "--from", from).want(t, 0, "added client ci, with "+fingerprint(two))
	file.do(t, "stage", "--client", "ci", "--from", tokenFile(t, one+"\n"+three+" name=ci")).want(t, 1, "more than one token")
}

func TestStatusListsClients(t *testing.T) {
	b := newSecret()
	add(t, b, "ci", two)
	var got struct {
		Step    string
		Clients []struct {
			Target, Client, Summary string
			Current                 struct{ Fingerprint string }
			NextStep                string `json:"next_step"`
		}
	}
	o := b.do(t, "status", "--output=json").want(t, 0)
	if err := json.Unmarshal([]byte(o.out), &got); err != nil || got.Step != "status" || len(got.Clients) != 2 {
		t.Fatalf("%v in %s", err, o.out)
	}
	for i, token := range []string{one, two} {
		if c := got.Clients[i]; c.Client != []string{"", "ci"}[i] || c.Current.Fingerprint != fingerprint(token) || c.Summary != "good" || c.NextStep == "" {
			t.Errorf("%+v", c)
		}
	}
	o = of(b, "ci").do(t, "status", "--output=json").want(t, 0, `"client": "ci"`)
	if strings.Contains(o.out, `"clients"`) {
		t.Error("one client is a list")
	}
}

// All Secrets of a List get one token for a client, also those that a first kubectl replace
// did not come through for.
func TestListOfClients(t *testing.T) {
	l := newList(applied("a", one), applied("b", one))
	l.do(t, "add-client", "--from", tokenFile(t, two), "ci").want(t, 0)
	ci := "current=" + fingerprint(two)
	l.want(t, "a current="+fingerprint(one)+" "+ci, "b current="+fingerprint(one)+" "+ci)
	l.do(t, "stage", "--client", "ci", "--from", tokenFile(t, three)).want(t, 0)
	l.do(t, "promote", "--client", "ci", "--overlap", "0s").want(t, 0)
	l.do(t, "retire", "--client", "ci").want(t, 0)
	ci = "current=" + fingerprint(three)
	l.want(t, "a current="+fingerprint(one)+" "+ci, "b current="+fingerprint(one)+" "+ci)
	l.do(t, "status").want(t, 0, "secret a/t: good", "secret b/t, client ci: good")
	l.do(t, "status", "--output=json").want(t, 0, `"secrets": [`, `"client": "ci"`)

	requireClient := withKeys("a", one, `"token.ci":"`+b64(two)+`"`)
	partly := newList(requireClient, applied("b", one))
	partly.do(t, "stage", "--client", "ci").want(t, 1, "secret b/t: it has no client of that name")
	partly.do(t, "status", "--client", "ci").want(t, 0, "secret a/t, client ci: good")
	partly.do(t, "add-client", "ci", "--from", tokenFile(t, three)).want(t, 1, "client ci is there with another token")
	partly.do(t, "add-client", "ci").want(t, 0)
	ci = " current=" + fingerprint(two)
	partly.want(t, "a current="+fingerprint(one)+ci, "b current="+fingerprint(one)+ci)

	partly = newList(requireClient, applied("b", one))
	partly.do(t, "remove-client", "ci").want(t, 0)
	partly.want(t, "a current="+fingerprint(one), "b current="+fingerprint(one))
	if got := partly.revoked(t); !slices.Equal(got, []string{"a " + fingerprint(two), "b " + fingerprint(two)}) {
		t.Errorf("revoked %q", got)
	}
	partly.do(t, "remove-client", "ci").want(t, 1, "it has no client of that name")
}
