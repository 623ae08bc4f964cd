package rotate_test

import (
	"path/filepath"
	"strings"
	"testing"
)

// An old token that is let in again is not taken for the next one by mistake,
// and goes out again without being revoked.
func TestAnOldTokenIsLetInForAWhile(t *testing.T) {
	forEachWay(t, func(t *testing.T, b bench) {
		b.do(t, "now", "--from", tokenFile(t, two), "--overlap", "1h").want(t, 0)
		said := "the staged token " + print8(one) + " is one that was superseded"
		b.do(t, "stage", "--from", tokenFile(t, one)).want(t, 0, "warning: ", said, "next: retire --slot next")
		b.do(t, "status").want(t, 0, said, "next: retire --slot next, once nobody sends the token that is staged, which was superseded before; or promote, to go back to it")
		b.do(t, "stage").want(t, 0, print8(one)+" is staged already", said)
		b.do(t, "promote", "--dry-run").want(t, 0, print8(one)+" was superseded before, and this goes back to it")
		b.do(t, "retire", "--slot=next").want(t, 0, "took out "+print8(one)+", which was staged; "+print8(one)+" is accepted until ", "next: retire, once")
		want(t, b, "current=two previous=one")
		if o := b.do(t, "stage", "--from", tokenFile(t, three)); strings.Contains(o.errOut, "superseded") {
			t.Errorf("a new one was never superseded: %s", o.errOut)
		}
		b.do(t, "retire", "--slot=next").want(t, 0, "took out "+print8(three))
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

// All that is staged goes, and what is listed of it, too; the current one stays.
func TestRetireNext(t *testing.T) {
	file := path(filepath.Join(t.TempDir(), "token"))
	put(t, string(file), one+"\n"+two+" next\n"+three+" next\n"+three+"\n"+one+" next\n")
	file.do(t, "retire", "--slot=next").want(t, 0)
	want(t, file, "current=one")
	if c := file.content(t); len(c.Listed) != 0 {
		t.Errorf("listed: %v", c.Listed)
	}
}
