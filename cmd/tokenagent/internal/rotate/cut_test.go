package rotate_test

import (
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tokenagent/tokenagent/cmd/tokenagent/internal/rotate"
	"github.com/tokenagent/tokenagent/cmd/tokenagent/internal/rotate/auto"
	"github.com/tokenagent/tokenagent/cmd/tokenagent/internal/rotate/content"
	"github.com/tokenagent/tokenagent/internal/rotation"
)

// abortDir aborts the rotation of a directory with keys, twice, and returns what is there then.
// The second time must change nothing.
func abortDir(t *testing.T, keys map[string][]byte) (got map[string]string) {
	t.Helper()
	dir := t.TempDir()
	for name, value := range keys {
		if err := os.WriteFile(filepath.Join(dir, name), value, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for range 2 {
		o := auto.Options{Path: &auto.Path{Name: dir}}
		rotate.WholeSteps(&o, time.Hour)
		if err := auto.New(o).Abort(t.Context()); err != nil {
			t.Error(err)
		}
		before := got
		got = map[string]string{}
		for _, name := range []string{"token", "token-next", "token-previous", "token-previous-until", "token-retired"} {
			text, _ := os.ReadFile(filepath.Join(dir, name))
			got[name] = string(text)
		}
		if before != nil && !maps.Equal(before, got) {
			t.Errorf("the second abort changes %v to %v", slices.Sorted(maps.Keys(before)), slices.Sorted(maps.Keys(got)))
		}
	}
	return got
}

// An abort that was killed while it wrote a directory is finished by the next one, wherever it
// was. What senders may send is never retired.
func TestAbortOfADirectoryThatIsCutAnywhereFinishes(t *testing.T) {
	until := time.Now().Add(time.Hour).Truncate(time.Second)
	was, is := content.Token(one), content.Token(two)
	staged := map[string][]byte{"token": []byte(one), "token-next": []byte(two)}
	promoted := map[string][]byte{"token": []byte(two), "token-previous": []byte(one), "token-previous-until": []byte(content.Deadline(until))}
	edits := func(keys map[string][]byte, current, previous content.Credential) (content.Source, []content.Write) {
		s, err := content.Parse(keys, "", content.Options{})
		if err != nil {
			t.Fatal(err)
		}
		to := s.Clone()
		to.Current, to.Next, to.Previous = current, nil, []content.Superseded{{Token: previous, Until: until.Add(time.Minute)}}
		if len(s.Previous) > 0 { // as goBack does
			to.Retired = []rotation.ID{previous.ID()}
		}
		writes, err := s.Edit(to)
		if err != nil {
			t.Fatal(err)
		}
		return s, writes
	}
	from, writes := edits(promoted, was, is)
	for n := range len(writes) + 1 {
		got := abortDir(t, from.After(writes[:n]))
		if got["token"] != one || got["token-previous"] != two || got["token-next"] != "" || got["token-previous-until"] == "" || strings.TrimSpace(got["token-retired"]) != id(two) {
			t.Errorf("return, %d writes: %v", n, slices.Sorted(maps.Keys(from.After(writes[:n]))))
		}
	}
	from, writes = edits(staged, is, was)
	for n := range len(writes) + 1 {
		got := abortDir(t, from.After(writes[:n]))
		isCurrent := slices.ContainsFunc(writes[:n], func(w content.Write) bool { return w.Key == "token" })
		if got["token"] != one || got["token-next"] != "" || isCurrent != (got["token-previous"] == two) || strings.Contains(got["token-retired"], id(one)) {
			t.Errorf("promotion, %d writes: %v", n, slices.Sorted(maps.Keys(from.After(writes[:n]))))
		}
	}
}

// An abort of a file can be repeated, and what it has taken back is not current again. The next
// run finishes it.
func TestAbortOfAFileCanBeRepeated(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "token")
		if err := os.WriteFile(path, []byte(two+"\n"+one+" previous until=2000-01-01T01:00:00Z\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		var last string
		for n := range 3 {
			time.Sleep(time.Minute)
			run(t, "", false, "abort", "--overlap=10m", path).want(t, 0)
			text, err := os.ReadFile(path)
			if err != nil || !strings.HasPrefix(string(text), one+"\n") || n > 0 && string(text) != last {
				t.Errorf("abort %d: %v", n+1, err)
			}
			last = string(text)
		}
		o := auto.Options{Path: &auto.Path{Name: path}}
		rotate.WholeSteps(&o, 10*time.Minute)
		if err := auto.New(o).Run(t.Context()); err != nil {
			t.Error(err)
		}
		if text, _ := os.ReadFile(path); string(text) != one+"\nretired "+id(two)+"\n" {
			t.Error("the run has not retired the token that was taken back")
		}
	})
}

// A staged token does not hide that the previous one was taken back.
func TestAbortAfterAnAbortedRotationKeepsTheOldToken(t *testing.T) {
	dir := t.TempDir()
	for name, text := range map[string]string{"token": two, "token-previous": one, "token-previous-until": content.Deadline(time.Now().Add(time.Hour))} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, args := range [][]string{{"abort"}, {"stage"}, {"abort"}, {"abort"}} {
		run(t, "", false, append(args, dir)...).want(t, 0)
		if text, err := os.ReadFile(filepath.Join(dir, "token")); err != nil || string(text) != one {
			t.Errorf("%v: the wrong token is current: %v", args, err)
		}
	}
}
