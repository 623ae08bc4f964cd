package rotate_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tokenagent/tokenagent/cmd/tokenagent/internal/rotate"
	"github.com/tokenagent/tokenagent/cmd/tokenagent/internal/rotate/auto"
)

// extensions returns how often the deadline in the namespace a was extended.
func (w *world) extensions() (n int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, p := range w.progress {
		if p.Event == "extended" && p.Target == "secret a/token" {
			n++
		}
	}
	return n
}

// Senders that restart for longer than the overlap are not refused.
func TestRolloutLongerThanTheOverlapRefusesNobody(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.podTime = 25 * time.Minute
		o := w.options()
		rotate.WholeSteps(&o, 20*time.Minute)
		if err := auto.New(o).Run(t.Context()); err != nil {
			t.Fatal(err)
		}
		w.isRotated("a", "b")
		if n := w.extensions(); n < 3 || n > 6 {
			t.Errorf("it extended the deadline %d times", n)
		}
	})
}

// The deadline is extended only as long as run waits for the rollout. Both tokens are accepted
// then for a while, so that somebody can fix it.
func TestRolloutThatNeverEndsExtendsForTheTimeoutOnly(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.podTime = 24 * time.Hour
		o := w.options()
		rotate.WholeSteps(&o, 20*time.Minute)
		begun := time.Now()
		w.fails(o, "is not restarted after 1h0m0s: 0 of 2 pods are replaced")
		until, err := time.Parse(time.RFC3339, string(w.keys("a")["token-previous-until"]))
		if left := time.Until(until); err != nil || left < 9*time.Minute || until.Sub(begun) > 90*time.Minute || w.extensions() > 6 {
			t.Errorf("it is accepted until %v, for %v, after %d extensions: %v", until, left, w.extensions(), err)
		}
		w.noneRefused()
	})
}

func TestExtend(t *testing.T) {
	forEachWay(t, func(t *testing.T, b bench) {
		b.do(t, "extend", "--overlap=1h").want(t, 1, "no previous token is there whose deadline could move")
		b.do(t, "stage", "--from", from(t, two)).want(t, 0)
		b.do(t, "extend", "--overlap=1h").want(t, 1, "the staged one is not promoted yet")
		b.do(t, "promote", "--overlap=1h").want(t, 0)
		b.do(t, "extend", "--overlap=30m").want(t, 0, "nothing changed: the deadline of "+fingerprint(one)+" is ", "retire ends it")
		b.do(t, "extend", "--until=2100-01-01T00:00:00Z", "--dry-run").want(t, 0, "dry run")
		b.do(t, "extend", "--until=2100-01-01T00:00:00Z").want(t, 0, "extended the deadline of "+fingerprint(one)+" to 2100-01-01T00:00:00Z")
		b.do(t, "extend", "--until=2100-01-01T00:00:00Z").want(t, 0, "nothing changed")
		b.do(t, "extend", "--until=2099-01-01T00:00:00Z").want(t, 0, "nothing changed")
		b.do(t, "promote").want(t, 0, "promoted already", "is 2100-01-01T00:00:00Z (extend postpones it)")
		b.do(t, "promote", "--until=2100-01-01T00:00:00Z").want(t, 0, "promoted already")
		b.do(t, "promote", "--until=2101-01-01T00:00:00Z").want(t, 1, "is 2100-01-01T00:00:00Z, not that of --until; move it to a later time with extend")
		b.do(t, "extend", "--until=2000-01-01T00:00:00Z").want(t, 2, "--until has passed")
		want(t, b, "current=two previous=one")
		b.do(t, "revoke").want(t, 0)
		b.do(t, "extend", "--overlap=1h").want(t, 1, "no previous token")
	})
}

// A deadline that has passed moves with a warning. In a file, those of older rotations stay.
func TestExtendAfterTheDeadline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "token")
		text := three + "\n" + two + " previous until=1999-12-31T23:59:59Z\n" + one + " previous until=1999-01-01T00:00:00Z\n"
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		run(t, "", false, "extend", "--overlap=1h", path).want(t, 0, "extended the deadline of "+fingerprint(two)+" to 2000-01-01T01:00:00Z",
			fingerprint(two)+" was refused since 1999-12-31T23:59:59Z, and is accepted again")
		got, err := os.ReadFile(path)
		if err != nil || !strings.Contains(string(got), two+" previous until=2000-01-01T01:00:00Z") || !strings.Contains(string(got), one+" previous until=1999-01-01T00:00:00Z") {
			t.Errorf("%v", err)
		}
		if err := os.WriteFile(path, []byte(two+"\n"+one+" previous\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		run(t, "", false, "extend", path).want(t, 0, fingerprint(one)+" is accepted without a deadline")
	})
}
