package rotate_test

import (
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tokenagent/tokenagent/cmd/tokenagent/internal/rotate"
	"github.com/tokenagent/tokenagent/cmd/tokenagent/internal/rotate/auto"
	"github.com/tokenagent/tokenagent/cmd/tokenagent/internal/rotate/content"
)

// abort aborts the rotation of a directory with keys, and returns what is there then.
func abortDir(t *testing.T, keys map[string][]byte) map[string]string {
	t.Helper()
	dir := t.TempDir()
	for name, value := range keys {
		if err := os.WriteFile(filepath.Join(dir, name), value, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	o := auto.Options{Path: &auto.Path{Name: dir}}
	rotate.WholeSteps(&o, time.Hour)
	if err := auto.New(o).Abort(t.Context()); err != nil {
		t.Error(err)
	}
	got := map[string]string{}
	for _, name := range []string{"token", "token-next", "token-previous", "token-previous-until", "token-retired"} {
		text, _ := os.ReadFile(filepath.Join(dir, name))
		got[name] = string(text)
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
		writes, err := s.Edit(to)
		if err != nil {
			t.Fatal(err)
		}
		return s, writes
	}
	from, writes := edits(promoted, was, is)
	for n := range len(writes) - 1 { // the last write only unstages what is current
		got := abortDir(t, from.After(writes[:n]))
		if got["token"] != one || got["token-previous"] != two || got["token-next"] != "" || got["token-previous-until"] == "" || got["token-retired"] != "" {
			t.Errorf("return, %d writes: %v", n, slices.Sorted(maps.Keys(from.After(writes[:n]))))
		}
	}
	from, writes = edits(staged, is, was)
	for n := range len(writes) - 1 {
		got := abortDir(t, from.After(writes[:n]))
		isCurrent := n > 0 && slices.ContainsFunc(writes[:n], func(w content.Write) bool { return w.Key == "token" })
		if !isCurrent && got["token"] != one || got["token-next"] != "" || strings.Contains(got["token-retired"], id(one)) || isCurrent && got["token-retired"] != "" {
			t.Errorf("promotion, %d writes: %v", n, slices.Sorted(maps.Keys(from.After(writes[:n]))))
		}
	}
}
