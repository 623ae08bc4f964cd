package rotate_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tokenagent/tokenagent/cmd/tokenagent/internal/rotate/content"
)

// slots renders what a target declares, by the tests' names of tokens.
func slots(c content.Content) string {
	names := strings.NewReplacer(fingerprint(one), "one", fingerprint(two), "two", fingerprint(three), "three")
	var b strings.Builder
	b.WriteString("current=" + c.Current.String())
	for _, t := range c.Next {
		b.WriteString(" next=" + t.String())
	}
	for _, s := range c.Previous {
		b.WriteString(" previous=" + s.Token.String())
	}
	for _, d := range c.Revoked {
		b.WriteString(" revoked=")
		for _, name := range []string{one, two, three} {
			if id(name) == hexOf(d) {
				b.WriteString("token(" + fingerprint(name) + ")")
			}
		}
	}
	return strings.NewReplacer("token(", "", ")", "").Replace(names.Replace(b.String()))
}

func want(t *testing.T, b bench, says string) {
	t.Helper()
	if got := slots(b.content(t)); got != says {
		t.Errorf("declares %q, want %q", got, says)
	}
}

// A step is a command line and the state that it leads to.
type line struct {
	step  string // with its flags; FROM2 is a file with the token two, ID1 the digest of one
	state string
}

// perform runs each line twice where it must be idempotent.
func perform(t *testing.T, b bench, lines ...line) {
	t.Helper()
	from := strings.NewReplacer("FROM1", tokenFile(t, one), "FROM2", tokenFile(t, two), "FROM3", tokenFile(t, three),
		"ID1", id(one), "ID2", id(two), "PRINT1", fingerprint(one), "PRINT2", fingerprint(two))
	for _, l := range lines {
		args := strings.Fields(l.step)
		for i := range args {
			args[i] = from.Replace(args[i])
		}
		before := b.bytes(t)
		o := b.do(t, args[0], append(args[1:], "--dry-run", "--output=json")...).want(t, 0, `"dry_run": true`, `"changed": true`)
		if isSecret(b) && o.out != "" {
			t.Errorf("%s: a dry run writes a Secret", l.step)
		}
		if b.bytes(t) != before {
			t.Fatalf("%s: a dry run changes the target", l.step)
		}
		b.do(t, args[0], args[1:]...).want(t, 0)
		want(t, b, l.state)
		if args[0] == "now" {
			continue
		}
		after := b.bytes(t)
		b.do(t, args[0], append(args[1:], "--output=json")...).want(t, 0, `"changed": false`, "nothing changed: ")
		if b.bytes(t) != after {
			t.Errorf("%s: the second time changes the target again", l.step)
		}
	}
}

func TestEveryStepCanBeRepeated(t *testing.T) {
	forEachWay(t, func(t *testing.T, b bench) {
		perform(
			t, b,
			line{"stage --from FROM2", "current=one next=two"},
			line{"promote", "current=two previous=one"},
			line{"retire", "current=two"},
			line{"stage --from FROM3", "current=two next=three"},
			line{"promote", "current=three previous=two"},
			line{"revoke", "current=three revoked=two"},
			line{"revoke --digest ID1", "current=three revoked=two revoked=one"},
			line{"revoke --forget ID1", "current=three revoked=two"},
			line{"stage --from FROM1", "current=three next=one revoked=two"},
			line{"revoke --slot current --expect " + fingerprint(three), "current=one revoked=two revoked=three"},
		)
	})
	forEachWay(t, func(t *testing.T, b bench) {
		perform(
			t, b,
			line{"now --from FROM2", "current=two previous=one"},
			line{"stage --from FROM1", "current=two next=one previous=one"}, // the way back
			line{"promote", "current=one previous=two"},
			line{"revoke --from FROM2", "current=one revoked=two"},
			line{"revoke --slot current --force", "current=one revoked=two revoked=one"},
			line{"stage --from FROM3", "current=one next=three revoked=two revoked=one"},
			line{"promote --expect " + fingerprint(three), "current=three revoked=two revoked=one"}, // nothing is left of a revoked token
		)
	})
	forEachWay(t, func(t *testing.T, b bench) {
		perform(
			t, b,
			line{"stage --from FROM2", "current=one next=two"},
			line{"stage --from FROM3 --replace", "current=one next=three"},
			line{"revoke --slot next", "current=one revoked=three"},
			line{"stage --from FROM2", "current=one next=two revoked=three"},
			line{"promote --overlap 0s", "current=two previous=one revoked=three"},
		)
		if p := b.content(t).Previous[0]; p.Live(time.Now()) {
			t.Errorf("--overlap 0s leaves it accepted until %s", p.Until)
		}
		perform(
			t, b,
			line{"stage --from FROM1", "current=two next=one previous=one revoked=three"}, // let an old sender in again
			line{"retire --slot next", "current=two previous=one revoked=three"},
		)
	})
}

// What is made is new each time, and long enough.
func TestStageMakesATokenOfItsOwn(t *testing.T) {
	seen := map[string]bool{one: true}
	forEachWay(t, func(t *testing.T, b bench) {
		for _, step := range [][]string{{"stage"}, {"stage", "--replace"}, {"now", "--min-token-bytes=18"}} {
			b.do(t, step[0], step[1:]...).want(t, 0)
			c := b.content(t)
			token := c.Current.Reveal()
			if step[0] == "stage" {
				token = c.Next[0].Reveal()
			}
			if seen[token] != (step[0] == "now") || len(token) != 43 { // now promotes what is staged
				t.Errorf("%v: a token of %d bytes", step, len(token))
			}
			seen[token] = true
		}
	})
}

func TestOverlap(t *testing.T) {
	forEachWay(t, func(t *testing.T, b bench) {
		begun := time.Now()
		b.do(t, "now", "--from", tokenFile(t, two), "--overlap", "1h").want(t, 0)
		until := b.content(t).Previous[0].Until
		if least, most := begun.Add(time.Hour), time.Now().Add(time.Hour+time.Second); until.Before(least) || until.After(most) {
			t.Errorf("until %s, not from %s to %s", until, least, most)
		}
		b.do(t, "retire").want(t, 0)
		b.do(t, "now", "--from", tokenFile(t, three), "--until", "2999-01-02T03:04:05+01:00").want(t, 0, "is accepted until 2999-01-02T02:04:05Z")
	})
}

// Steps out of order are refused, with the fix, and change nothing.
func TestOutOfOrder(t *testing.T) {
	for name, c := range map[string]struct {
		before string // steps, parted by ;
		step   string
		says   string
		only   string // kind of target; "" means all
	}{
		"promote first":                    {"", "promote", "no token is staged; stage one first", ""},
		"promote after retire":             {"stage --from FROM2; promote --overlap 0s; retire", "promote", "no token is staged; stage one first", ""},
		"promote after revoke":             {"stage --from FROM2; promote --overlap 0s; revoke", "promote", "no token is staged; stage one first", ""},
		"promote another, expired":         {"stage --from FROM2; promote --overlap 0s", "promote --expect PRINT3", "neither staged nor current; see what is there", ""},
		"promote another":                  {"stage --from FROM2", "promote --expect 00000000", "not 00000000 as --expect says; see what is staged", ""},
		"promote what nobody staged":       {"stage --from FROM2; promote", "promote --expect 00000000", "neither staged nor current; see what is there", ""},
		"stage another":                    {"stage --from FROM2", "stage --from FROM3", "is staged; promote it first, or put yours in its place with --replace", ""},
		"stage what is revoked":            {"revoke --digest ID2", "stage --from FROM2", " is revoked; give another one", ""},
		"promote into a full slot":         {"now --from FROM2; stage --from FROM3", "promote", "retire it first, or refuse it from now on with --drop-previous", "keys"},
		"revoke what is not there":         {"", "revoke", "there is no previous token to revoke; name the token with --from FILE or --digest", ""},
		"revoke no next":                   {"", "revoke --slot next", "there is no next token to revoke", ""},
		"revoke current":                   {"", "revoke --slot current", "stage one first, and then revoke, or refuse every request from now on with --force", ""},
		"revoke current by digest":         {"", "revoke --digest ID1", "none is staged to take its place", ""},
		"revoke current, next revoked too": {"stage --from FROM2; revoke --slot next", "revoke --from FROM1", "none is staged to take its place", ""},
		"revoke another":                   {"now --from FROM2", "revoke --expect 00000000", "there is no previous token 00000000, as --expect says", ""},
		"forget what is declared":          {"revoke --slot current --force", "revoke --forget ID1", "would let it in again; replace the token first", ""},
		"now within an overlap":            {"now --from FROM2", "now --from FROM3", "retire it first, or rotate all the same with --again", ""},
		"now again in one slot":            {"now --from FROM2", "now --again --from FROM3", "with --drop-previous", "keys"},
		"now with another staged":          {"stage --from FROM2", "now --from FROM3", "put yours in its place with --replace", ""},
	} {
		t.Run(name, func(t *testing.T) {
			forEachWay(t, func(t *testing.T, b bench) {
				if isFile(b) && c.only == "keys" {
					t.Skip("a file has room")
				}
				files := strings.NewReplacer("FROM1", tokenFile(t, one), "FROM2", tokenFile(t, two), "FROM3", tokenFile(t, three),
					"ID1", id(one), "ID2", id(two), "ID3", id(three), "PRINT3", fingerprint(three))
				for step := range strings.SplitSeq(c.before, ";") {
					if args := strings.Fields(files.Replace(step)); len(args) > 0 {
						b.do(t, args[0], args[1:]...).want(t, 0)
					}
				}
				before := b.bytes(t)
				args := strings.Fields(files.Replace(c.step))
				b.do(t, args[0], args[1:]...).want(t, 1, c.says)
				if b.bytes(t) != before {
					t.Error("refused, and changed all the same")
				}
			})
		})
	}
}

// A deadline that has passed was made by a promotion, and a previous token
// without one by somebody else. It may be one of long ago: that is said.
func TestPromotedAlready(t *testing.T) {
	file := path(t.TempDir() + "/token")
	put(t, string(file), two+"\n"+one+" previous until=2001-01-01T00:00:00Z\n")
	file.do(t, "promote").want(t, 0, "nothing changed: promoted already: "+fingerprint(two)+" is current, and the deadline of "+fingerprint(one)+" is 2001-01-01T00:00:00Z",
		"warning: ", "nothing is staged, and the last rotation is over; to begin another one, stage first")
	put(t, string(file), two+"\n"+one+" previous until=2001-01-01T00:00:00Z\n"+three+" previous until=2999-01-01T00:00:00Z\n")
	if o := file.do(t, "promote").want(t, 0, "the deadline of "+fingerprint(three)+" is 2999"); strings.Contains(o.errOut, "warning") {
		t.Errorf("its overlap is under way: %s", o.errOut)
	}
	put(t, string(file), two+"\n"+one+" previous\n")
	file.do(t, "promote").want(t, 1, "no token is staged; stage one first")
}

// A staged token that was revoked by hand is not promoted, and is no obstacle
// to staging another.
func TestRevokedNext(t *testing.T) {
	file := path(t.TempDir() + "/token")
	put(t, string(file), one+"\n"+two+" next\nrevoked "+id(two)+"\n")
	file.do(t, "promote").want(t, 1, "the staged token, "+fingerprint(two)+", is revoked; stage another")
	file.do(t, "revoke", "--slot=current").want(t, 1, "none is staged to take its place")
	file.do(t, "stage", "--from", tokenFile(t, three)).want(t, 0)
	want(t, file, "current=one next=three revoked=two")
}

// What is ambiguous or says nothing is not guessed.
func TestOddlyStaged(t *testing.T) {
	file := path(t.TempDir() + "/token")
	put(t, string(file), one+"\n"+two+" next\n"+three+" next\n")
	for _, args := range [][]string{{"stage"}, {"promote"}, {"now"}, {"revoke", "--slot=current"}} {
		file.do(t, args[0], args[1:]...).want(t, 1, "2 are staged, "+fingerprint(two)+", "+fingerprint(three))
	}
	file.do(t, "stage", "--replace", "--from", tokenFile(t, three)).want(t, 0)
	want(t, file, "current=one next=three")
}

// What is staged and current already is staged no more after any step.
func TestNextIsCurrent(t *testing.T) {
	for step, state := range map[string]string{
		"promote":                              "current=two revoked=one",
		"promote --expect " + fingerprint(two): "current=two revoked=one",
		"stage --from FROM3":                   "current=two next=three revoked=one",
		"now --from FROM3":                     "current=three previous=two revoked=one",
		"retire --slot next":                   "current=two revoked=one",
		"revoke --slot current":                "current=two revoked=one",
		"revoke --slot current --expect P1":    "current=two revoked=one",
	} {
		file := path(t.TempDir() + "/token")
		put(t, string(file), two+"\n"+two+" next\nrevoked "+id(one)+"\n")
		file.do(t, "status").want(t, 0, "next: promote, to finish a step that was cut short: the staged token is current already")
		args := strings.Fields(strings.NewReplacer("FROM3", tokenFile(t, three), "P1", fingerprint(one)).Replace(step))
		if o := file.do(t, args[0], args[1:]...).want(t, 0); strings.Contains(o.out, "nothing changed") {
			t.Errorf("%s: %s", step, o.out)
		}
		if want(t, file, state); t.Failed() {
			t.Fatal(step)
		}
	}
	file := path(t.TempDir() + "/token")
	put(t, string(file), two+"\n"+two+" next\nrevoked "+id(one)+"\n")
	file.do(t, "revoke", "--slot=current", "--expect", fingerprint(two)).want(t, 1, "none is staged to take its place")
	file.do(t, "revoke", "--slot=current", "--force").want(t, 0, fingerprint(two)+" is not revoked; to revoke it, do the step again")
	put(t, string(file), two+"\n"+two+" next\n") // no revocation that was cut short
	file.do(t, "revoke", "--slot=current").want(t, 1, "none is staged to take its place")
	put(t, string(file), two+"\n"+two+" next\nrevoked "+id(two)+"\n")
	file.do(t, "status").want(t, 1, "next: stage and promote, at once")
}

// The given token is current, whatever is staged.
func TestNowWithTheCurrentToken(t *testing.T) {
	forEachWay(t, func(t *testing.T, b bench) {
		b.do(t, "stage", "--from", tokenFile(t, two)).want(t, 0)
		b.do(t, "now", "--from", tokenFile(t, one)).want(t, 0, "nothing changed: "+fingerprint(one)+" is the current token already")
		want(t, b, "current=one next=two")
	})
}

// A revocation of the current token in a directory that was cut short after any of
// its writes is finished by another one.
func TestRevocationCutShortIsFinished(t *testing.T) {
	for name, keys := range map[string]map[string]string{
		"revoked": {"token": one, "token-next": two, "token-revoked": id(one)},
		"current": {"token": two, "token-next": two, "token-revoked": id(one)},
	} {
		for _, expect := range []string{"", fingerprint(one)} {
			for _, dir := range directories(t, keys) {
				dir.do(t, "revoke", "--slot=current", "--expect="+expect).want(t, 0, fingerprint(two))
				want(t, dir, "current=two revoked=one")
				dir.do(t, "revoke", "--slot=current", "--expect="+fingerprint(one)).want(t, 0, "nothing changed")
				if t.Failed() {
					t.Fatal(name, expect)
				}
			}
		}
	}
	file := path(t.TempDir() + "/token")
	put(t, string(file), one+"\n"+two+" next\nrevoked "+id(one)+"\n")
	file.do(t, "revoke", "--digest", id(three)).want(t, 0) // is not about the current one
	want(t, file, "current=one next=two revoked=one revoked=three")
}

// A list without an end would fill a Secret.
func TestRevocationsAreBounded(t *testing.T) {
	file := path(t.TempDir() + "/token")
	var text strings.Builder
	text.WriteString(one + "\n")
	for i := range 1000 {
		text.WriteString("revoked " + id(strings.Repeat("x", i)) + "\n")
	}
	put(t, string(file), text.String())
	file.do(t, "revoke", "--digest", id(two)).want(t, 1, "--forget DIGEST")
	file.do(t, "revoke", "--digest", id("x")).want(t, 0, "is revoked already")
	file.do(t, "revoke", "--forget", id("x")).want(t, 0)
	file.do(t, "revoke", "--digest", id(two)).want(t, 0)
}

// A file keeps each earlier token to its own deadline; keys have room for one.
func TestTwoRotationsInOneOverlap(t *testing.T) {
	forEachWay(t, func(t *testing.T, b bench) {
		b.do(t, "now", "--from", tokenFile(t, two)).want(t, 0)
		if isFile(b) {
			b.do(t, "now", "--again", "--from", tokenFile(t, three), "--overlap", "1h").want(t, 0)
			want(t, b, "current=three previous=one previous=two")
			b.do(t, "retire").want(t, 0, "retired "+fingerprint(one)+", "+fingerprint(two))
			want(t, b, "current=three")
			return
		}
		b.do(t, "now", "--again", "--drop-previous", "--from", tokenFile(t, three)).want(t, 0)
		want(t, b, "current=three previous=two")
	})
}

// A token that is listed too does not survive its own end by that.
func TestListedCopiesEndToo(t *testing.T) {
	for step, state := range map[string]string{
		"retire": "current=two", "revoke": "current=two revoked=one",
	} {
		file := path(t.TempDir() + "/token")
		put(t, string(file), one+"\n"+two+" next\n"+one+"\n"+three+"\n")
		file.do(t, "promote").want(t, 0)
		if c := file.content(t); len(c.Listed) != 1 {
			t.Errorf("promoted, and listed are %v", c.Listed)
		}
		file.do(t, step).want(t, 0)
		want(t, file, state)
		if c := file.content(t); len(c.Listed) != 1 || c.Listed[0].Reveal() != three {
			t.Errorf("%s: listed are %v", step, c.Listed)
		}
		put(t, string(file), two+"\n"+one+" previous\n"+one+"\n"+three+"\n")
		file.do(t, step).want(t, 0)
		if c := file.content(t); len(c.Listed) != 1 || c.Listed[0].Reveal() != three {
			t.Errorf("%s: listed are %v", step, c.Listed)
		}
	}
}

// What a promotion drops from slot previous was refused, or is to be from now on: a
// copy of it that is listed does not let it in again.
func TestPromoteBringsNoExpiredTokenBack(t *testing.T) {
	const old = "CANARY-1c3a9e-old-token"
	for until, flag := range map[string]string{"2020-01-01T00:00:00Z": "--overlap=1h", "2999-01-01T00:00:00Z": "--drop-previous"} {
		file := path(t.TempDir() + "/token")
		put(t, string(file), one+"\n"+two+" next\n"+old+" previous until="+until+"\n"+old+"\n"+three+"\n")
		file.do(t, "promote", flag).want(t, 0)
		c := file.content(t)
		if len(c.Listed) != 1 || c.Listed[0].Reveal() != three || !slices.Equal(digests(c.Retired), []string{id(old)}) {
			t.Errorf("%s: listed are %v, retired %v", flag, c.Listed, digests(c.Retired))
		}
		want(t, file, "current=two previous=one")
	}
}

// A staged token that becomes current in the place of a revoked one is in no other
// slot any more.
func TestWhatTakesTheRevokedPlaceIsCurrentAlone(t *testing.T) {
	file := path(t.TempDir() + "/token")
	put(t, string(file), one+"\n"+two+" next\n"+two+" previous until=2999-01-01T00:00:00Z\n"+three+" previous until=2999-01-01T00:00:00Z\n"+two+"\n")
	o := file.do(t, "revoke", "--slot=current").want(t, 0, fingerprint(two)+", which was staged, is current")
	if strings.Contains(o.errOut, "undone") {
		t.Errorf("nobody undid anything: %s", o.errOut)
	}
	want(t, file, "current=two previous=three revoked=one")
	if c := file.content(t); len(c.Listed) != 0 {
		t.Errorf("listed are %v", c.Listed)
	}
}

// A promotion in a directory that was cut short after any of its writes is finished by
// another one.
func TestPromotionCutShortIsFinished(t *testing.T) {
	for name, keys := range map[string]map[string]string{
		"previous": {"token": one, "token-next": two, "token-previous": one},
		"deadline": {"token": one, "token-next": two, "token-previous": one, "token-previous-until": "2999-01-01T00:00:00Z"},
		"current":  {"token": two, "token-next": two, "token-previous": one, "token-previous-until": "2999-01-01T00:00:00Z"},
	} {
		for _, dir := range directories(t, keys) {
			if o := dir.do(t, "status").want(t, 0, "next: promote, "); strings.Contains(o.out+o.errOut, "undone") {
				t.Errorf("%s: nobody undid anything: %s%s", name, o.out, o.errOut)
			}
			dir.do(t, "promote").want(t, 0, fingerprint(two), "previous  "+fingerprint(one)+", until ")
			want(t, dir, "current=two previous=one")
			dir.do(t, "promote").want(t, 0, "nothing changed: promoted already")
			if t.Failed() {
				t.Fatal(name)
			}
		}
	}
	for _, dir := range directories(t, map[string]string{"token": one, "token-previous": one}) {
		dir.do(t, "now", "--from", tokenFile(t, two)).want(t, 0)
		want(t, dir, "current=two previous=one")
	}
}
