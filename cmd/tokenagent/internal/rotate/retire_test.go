package rotate_test

import (
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/tokenagent/tokenagent/internal/rotation"
)

// An old token that is let in again is not taken for the next one by mistake,
// and goes out again without being revoked.
func TestAnOldTokenIsLetInForAWhile(t *testing.T) {
	forEachWay(t, func(t *testing.T, b bench) {
		b.do(t, "now", "--from", tokenFile(t, two), "--overlap", "1h").want(t, 0)
		said := "the staged token " + fingerprint(one) + " was superseded before"
		b.do(t, "stage", "--from", tokenFile(t, one)).want(t, 0, "warning: ", said, "next: retire --slot next")
		b.do(t, "status").want(t, 0, said, "next: retire --slot next, once nobody sends the staged token, which was superseded before; or promote, to make it current again")
		b.do(t, "stage").want(t, 0, fingerprint(one)+" is staged already", said)
		b.do(t, "promote", "--dry-run").want(t, 0, fingerprint(one)+" was superseded before, and is current again")
		b.do(t, "retire", "--slot=next").want(t, 0, "took out "+fingerprint(one)+", which was staged", "previous  "+fingerprint(one)+", until ", "next: retire, once")
		want(t, b, "current=two previous=one")
		if o := b.do(t, "stage", "--from", tokenFile(t, three)); strings.Contains(o.errOut, "superseded") {
			t.Errorf("a new one was never superseded: %s", o.errOut)
		}
		b.do(t, "retire", "--slot=next").want(t, 0, "took out "+fingerprint(three))
		b.do(t, "retire", "--slot=next").want(t, 0, "nothing changed: no token is staged")
		want(t, b, "current=two previous=one")
	})
}

// Whatever a report repeats, such as a path, is text and no more.
func TestReportsAreText(t *testing.T) {
	file := path(filepath.Join(t.TempDir(), "a\x1b[2J\u009b"))
	put(t, string(file), one+"\n"+two+" previous\n")
	o := file.do(t, "status").want(t, 0, `a\u001b[2J\u009b: good`, `warning: `)
	if strings.ContainsAny(o.out+o.errOut, "\x1b\u009b") {
		t.Errorf("%q%q", o.out, o.errOut)
	}
}

// All that is staged goes; what was listed before, or is current, stays.
func TestRetireNext(t *testing.T) {
	file := path(filepath.Join(t.TempDir(), "token"))
	put(t, string(file), one+"\n"+two+" next\n"+three+" next\n"+three+"\n"+one+" next\n")
	file.do(t, "retire", "--slot=next").want(t, 0, "listed   "+fingerprint(three))
	want(t, file, "current=one")
	if c := file.content(t); len(c.Listed) != 1 || c.Listed[0].Reveal() != three {
		t.Errorf("listed: %v", c.Listed)
	}
}

// A retired token that is let in for a while is retired again when it goes, however
// it goes.
func TestWhatIsTakenOutStaysRetired(t *testing.T) {
	for _, flags := range [][]string{{"retire", "--slot=next"}, {"stage", "--replace"}, {"now", "--replace", "--from", tokenFile(t, three)}} {
		forEachWay(t, func(t *testing.T, b bench) {
			b.do(t, "now", "--from", tokenFile(t, two), "--overlap=0s").want(t, 0)
			b.do(t, "retire").want(t, 0)
			b.do(t, "stage", "--from", tokenFile(t, one)).want(t, 0)
			if c := b.content(t); len(c.Retired) > 0 {
				t.Errorf("staged, and retired are %v", digests(c.Retired))
			}
			b.do(t, flags[0], flags[1:]...).want(t, 0)
			if c := b.content(t); !slices.Equal(digests(c.Retired), []string{id(one)}) {
				t.Errorf("%v: retired are %v", flags, digests(c.Retired))
			}
		})
	}
}

// digests returns ids as hex digits.
func digests(ids []rotation.ID) (out []string) {
	for _, id := range ids {
		out = append(out, hexOf(id))
	}
	return out
}

// What is retired is written down, so that an agent that missed the promotion does
// not remember it; what is in a slot again is not.
func TestRetireIsAFactInTheSource(t *testing.T) {
	forEachWay(t, func(t *testing.T, b bench) {
		retired := func(want ...string) {
			t.Helper()
			var have []string
			for _, token := range want {
				have = append(have, id(token))
			}
			if got := digests(b.content(t).Retired); !slices.Equal(got, have) {
				t.Errorf("retired are %v, want %v", got, have)
			}
		}
		b.do(t, "now", "--from", tokenFile(t, two)).want(t, 0)
		retired()
		b.do(t, "retire").want(t, 0, "retired "+fingerprint(one), "  retired  "+fingerprint(one))
		retired(one)
		before := b.bytes(t)
		b.do(t, "retire").want(t, 0, "nothing to retire")
		if b.bytes(t) != before {
			t.Error("the second time changes something")
		}
		b.do(t, "now", "--from", tokenFile(t, three)).want(t, 0)
		b.do(t, "retire").want(t, 0)
		retired(one, two)
		b.do(t, "stage", "--from", tokenFile(t, one)).want(t, 0)
		retired(two)
		b.do(t, "promote").want(t, 0)
		retired(two)
		b.do(t, "retire").want(t, 0)
		retired(two, three)
		b.do(t, "now", "--from", tokenFile(t, two)).want(t, 0)
		retired(three)
		want(t, b, "current=two previous=one")
		b.do(t, "status").want(t, 0, "good")
	})
}

// A promotion that drops an earlier previous token retires that one, too.
func TestPromoteRetiresWhatItDrops(t *testing.T) {
	forEachWay(t, func(t *testing.T, b bench) {
		b.do(t, "now", "--from", tokenFile(t, two)).want(t, 0)
		b.do(t, "now", "--from", tokenFile(t, three), "--again", "--drop-previous").want(t, 0)
		if got := digests(b.content(t).Retired); !slices.Equal(got, []string{id(one)}) {
			t.Errorf("retired are %v", got)
		}
	})
}

func TestTheLast16RetiredAreKept(t *testing.T) {
	forEachWay(t, func(t *testing.T, b bench) {
		if target(b) != b {
			t.Skip("several clients share the list")
		}
		var all []string
		for i := range 19 {
			token := fmt.Sprintf("CANARY-1c3a9e-token-%d", i)
			b.do(t, "now", "--from", tokenFile(t, token)).want(t, 0)
			b.do(t, "retire").want(t, 0)
			all = append(all, id(token))
		}
		if got := digests(b.content(t).Retired); !slices.Equal(got, all[2:18]) {
			t.Errorf("%d are retired: %v; want %v", len(got), got, all[2:18])
		}
	})
}

// A retired token that is current again was put there by somebody else.
func TestStatusTellsARetiredTokenThatIsCurrent(t *testing.T) {
	file := path(filepath.Join(t.TempDir(), "token"))
	put(t, string(file), one+"\nretired "+id(one)+"\n")
	file.do(t, "status").want(t, 0, "the rotation was undone: the current token, "+fingerprint(one)+", is one that was retired")
}
