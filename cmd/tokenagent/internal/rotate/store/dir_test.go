package store

import (
	"bytes"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tokenagent/tokenagent/cmd/tokenagent/internal/rotate/content"
	"github.com/tokenagent/tokenagent/internal/kubemount"
	"github.com/tokenagent/tokenagent/internal/rotation"
	"github.com/tokenagent/tokenagent/internal/token"
)

func mode(t *testing.T, path string) os.FileMode {
	t.Helper()
	info, err := os.Lstat(path)
	if err != nil {
		t.Fatal(err)
	}
	return info.Mode()
}

// A key that changes keeps the mode that it has; a new one takes that of the key
// token. What is not ours stays.
func TestDirectory(t *testing.T) {
	dir := t.TempDir()
	put(t, filepath.Join(dir, "token"), "one", 0o440)
	put(t, filepath.Join(dir, "token-next"), "two", 0o400)
	put(t, filepath.Join(dir, "foreign"), "mine", 0o604)
	put(t, filepath.Join(dir, "jwks.json"), "{}", 0o444)
	save := func(edit edits) {
		t.Helper()
		if err := loadDir(t, dir).Save(t.Context(), writes(edit)); err != nil {
			t.Fatal(err)
		}
	}
	save(edits{"token-next": []byte("three")})
	have(t, filepath.Join(dir, "token-next"), "three")
	if got := mode(t, filepath.Join(dir, "token-next")); got != 0o400 {
		t.Errorf("mode %v", got)
	}
	save(edits{"token": []byte("three"), "token-next": nil, "token-previous": []byte("one")})
	for key, want := range map[string]struct {
		text string
		mode os.FileMode
	}{"token": {"three", 0o440}, "token-previous": {"one", 0o440}, "foreign": {"mine", 0o604}, "jwks.json": {"{}", 0o444}} {
		have(t, filepath.Join(dir, key), want.text)
		if got := mode(t, filepath.Join(dir, key)); got != want.mode {
			t.Errorf("%s: mode %v", key, got)
		}
	}
	if got := list(t, dir); !slices.Equal(got, []string{"foreign", "jwks.json", "token", "token-previous"}) {
		t.Errorf("holds %q", got)
	}
}

// In a directory with ..data the keys are what that leads to, with a link beside.
func TestDirectoryLaidOut(t *testing.T) {
	dir := t.TempDir()
	if err := kubemount.Write(dir, map[string][]byte{"token": []byte("one"), "token-next": []byte("two"), "foreign": []byte("f")}, 0o600); err != nil {
		t.Fatal(err)
	}
	before, _ := os.Readlink(filepath.Join(dir, "..data"))
	edit := edits{"token": []byte("two"), "token-next": nil, "token-previous": []byte("one")}
	if err := loadDir(t, dir).Save(t.Context(), writes(edit)); err != nil {
		t.Fatal(err)
	}
	for key, text := range map[string]string{"token": "two", "token-previous": "one", "foreign": "f"} {
		have(t, filepath.Join(dir, "..data", key), text)
		if to, err := os.Readlink(filepath.Join(dir, key)); err != nil || to != "..data/"+key {
			t.Errorf("%s leads to %q, %v", key, to, err)
		}
	}
	if got := list(t, dir); !slices.Equal(got, []string{before, "..data", "foreign", "token", "token-previous"}) {
		t.Errorf("holds %q", got)
	}
}

// Agents have time to read a revocation before a key goes: after that they wait for
// their debounce.
func TestRevocationStandsAloneBeforeAKeyGoes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		for _, key := range []string{"token", "token-next", "token-previous", "token-previous-until"} {
			put(t, filepath.Join(dir, key), "2999-01-01T00:00:00Z", 0o600)
		}
		d := loadDir(t, dir)
		begun := time.Now()
		seen := make(chan []string)
		go func() {
			time.Sleep(removalPause - time.Millisecond)
			seen <- list(t, dir)
		}()
		edit := edits{"token-revoked": []byte("x"), "token-previous": nil, "token-previous-until": nil, "token-next": nil}
		if err := d.Save(t.Context(), writes(edit)); err != nil {
			t.Fatal(err)
		}
		took := time.Since(begun)
		if got := <-seen; !slices.Equal(got, []string{"token", "token-next", "token-previous", "token-previous-until", "token-revoked"}) {
			t.Errorf("in the pause it holds %q", got)
		}
		if took != 3*removalPause {
			t.Errorf("it took %v", took)
		}
		if got := list(t, dir); !slices.Equal(got, []string{"token", "token-revoked"}) {
			t.Errorf("holds %q", got)
		}
	})
}

// What killed rotations have left of a key goes, also where the key itself is
// removed, gone or left as it is.
func TestDirectoryIsSwept(t *testing.T) {
	dir := t.TempDir()
	for _, key := range []string{"token", "token-next", "foreign"} {
		put(t, filepath.Join(dir, key), "one", 0o600)
	}
	for _, key := range []string{"token", "token-next", "token-previous", "token-retired", "foreign"} {
		put(t, filepath.Join(dir, "."+key+tempMark+strings.Repeat("A", 26)), "secret", 0o600)
	}
	if err := loadDir(t, dir).Save(t.Context(), writes(edits{"token-next": nil})); err != nil {
		t.Fatal(err)
	}
	if got := list(t, dir); !slices.Equal(got, []string{".foreign" + tempMark + strings.Repeat("A", 26), "foreign", "token"}) {
		t.Errorf("holds %q", got)
	}
}

// The error of a save that fails half-way says how many files are replaced.
func TestFailureCountsWhatIsReplaced(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		for _, key := range []string{"token", "token-next"} {
			put(t, filepath.Join(dir, key), "one", 0o600)
		}
		gone := filepath.Join(dir, "token-next")
		go func() { // a directory that is not empty cannot be removed as a file
			time.Sleep(removalPause / 2)
			_ = os.Remove(gone)
			_ = os.MkdirAll(filepath.Join(gone, "x"), 0o700)
		}()
		err := loadDir(t, dir).Save(t.Context(), writes(edits{"token-revoked": []byte("x"), "token-next": nil}))
		if err == nil || !strings.HasPrefix(err.Error(), "1 of 2 files are replaced; do the step again: ") {
			t.Error(err)
		}
	})
}

const oldToken, newToken, older = "aaaaaaaaaaaaaaaa", "bbbbbbbbbbbbbbbb", "cccccccccccccccc"

// A promotion that is cut short after any of its writes leaves a directory that accepts the
// old and the new token. Doing it again completes it.
func TestPromotionCutShort(t *testing.T) {
	type keys = map[string][]byte
	past, future := []byte("2001-01-01T00:00:00Z"), []byte("2999-01-01T00:00:00Z")
	for name, start := range map[string]keys{
		"first":            {"token": []byte(oldToken), "token-next": []byte(newToken)},
		"second":           {"token": []byte(oldToken), "token-next": []byte(newToken), "token-previous": []byte(older), "token-previous-until": past},
		"back":             {"token": []byte(oldToken), "token-next": []byte(newToken), "token-previous": []byte(newToken), "token-previous-until": past},
		"now":              {"token": []byte(oldToken)},
		"now, and back":    {"token": []byte(oldToken), "token-previous": []byte(newToken), "token-previous-until": future},
		"back, not staged": {"token": []byte(oldToken), "token-next": []byte(older), "token-previous": []byte(newToken)},
	} {
		promotionCutShort(t, name, "", start)
		named := keys{"token": []byte("dddddddddddddddd\n"), "token.web": []byte(" eeeeeeeeeeeeeeee")}
		for key, value := range start {
			named[key+".ci"] = value
		}
		promotionCutShort(t, name+", of a client", "ci", named)
	}
}

func promotionCutShort(t *testing.T, name, client string, start map[string][]byte) {
	t.Helper()
	isAccepted := accepted(t, start)
	from, err := content.Parse(start, "", content.Options{Client: client})
	if err != nil {
		t.Fatal(err)
	}
	to := from.Clone()
	to.Previous = []content.Superseded{{Token: from.Current, Until: time.Now().Add(time.Hour).Truncate(time.Second)}}
	to.Current, to.Next = content.Token(newToken), nil
	writes, err := from.Edit(to)
	if err != nil {
		t.Fatal(err)
	}
	whole := from.After(writes)
	for i, w := range writes {
		now := from.After(writes[:i+1])
		is := accepted(t, now)
		if !is[oldToken] {
			t.Errorf("%s: the old token is refused after the write of %s", name, w.Key)
		}
		if isAccepted[newToken] && !is[newToken] {
			t.Errorf("%s: the new token is refused after the write of %s", name, w.Key)
		}
		for _, other := range []string{"dddddddddddddddd", "eeeeeeeeeeeeeeee"} {
			if is[other] != isAccepted[other] {
				t.Errorf("%s: another client is cut off after the write of %s", name, w.Key)
			}
		}
		if is[older] && !isAccepted[older] {
			t.Errorf("%s: an older token is accepted after the write of %s", name, w.Key)
		}
		dir := t.TempDir()
		for key, value := range now {
			put(t, filepath.Join(dir, key), string(value), 0o600)
		}
		d, err := Open(t.Context(), Options{Path: dir, Read: content.Options{Client: client}})
		if err != nil {
			t.Fatal(err)
		}
		rest, err := d.Sources()[0].Edit(to)
		if err == nil {
			err = d.Save(t.Context(), [][]content.Write{rest})
		}
		if err != nil || !maps.EqualFunc(loadDir(t, dir).keys, whole, bytes.Equal) {
			t.Errorf("%s, repeated after the write of %s: %v", name, w.Key, err)
		}
	}
}

// accepted returns the tokens that a receiver accepts when it reads keys.
func accepted(t *testing.T, keys map[string][]byte) map[string]bool {
	t.Helper()
	got, err := token.ParseDir(keys, token.Options{})
	if err != nil {
		t.Fatal(err)
	}
	is := map[string]bool{}
	for _, d := range got.Decls {
		if d.Until.IsZero() || d.Until.After(time.Now()) {
			is[d.Value.Reveal()] = true
		}
	}
	return is
}

// What is refused is refused before anything else changes, and what is not, later.
func TestOrder(t *testing.T) {
	past := time.Unix(1e9, 0)
	for prefix, keys := range map[string]map[string][]byte{
		"token": {"token": []byte("aaaaaaaaaaaaaaaa"), "token-next": []byte("bbbbbbbbbbbbbbbb")},
		"key":   {"key": []byte("CANARY-5ec2e7-0123456789-abcdefgh"), "key-next": []byte("CANARY-5ec2e7-9876543210-abcdefgh")},
	} {
		from, err := content.Parse(keys, "", content.Options{})
		if err != nil {
			t.Fatal(err)
		}
		to := from.Clone()
		to.Current, to.Next, to.Previous = from.Next[0], nil, []content.Superseded{{Token: from.Current, Until: past}}
		to.Revoked, to.Retired, to.Unrevoked = []rotation.ID{{1}}, []rotation.ID{{2}}, []rotation.ID{{3}}
		writes, err := from.Edit(to)
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, w := range writes {
			got = append(got, w.Key)
		}
		digests := strings.TrimPrefix(prefix+"-", "key-")
		want := []string{digests + "unrevoked", digests + "revoked", digests + "retired", prefix + "-previous-until", prefix + "-previous", prefix, prefix + "-next"}
		if !slices.Equal(got, want) {
			t.Errorf("%q", got)
		}
	}
}

// A client that is added or removed in a directory leaves content that agents accept after
// each write. What is removed is revoked first.
func TestClientCutShort(t *testing.T) {
	full := map[string][]byte{
		"token": []byte(oldToken + "\n"), "token.ci": []byte(newToken), "token-next.ci": []byte("dddddddddddddddd"),
		"token-previous.ci": []byte(older), "token-previous-until.ci": []byte("2999-01-01T00:00:00Z"),
	}
	from, err := content.Parse(full, "", content.Options{Client: "ci"})
	if err != nil {
		t.Fatal(err)
	}
	to := content.Content{Kind: content.Tokens, Client: "ci", Revoked: []rotation.ID{from.Current.ID(), from.Next[0].ID(), from.Previous[0].Token.ID()}}
	removal, err := from.Edit(to)
	if err != nil || len(removal) != 5 || removal[0].Key != "token-revoked" {
		t.Fatalf("%v, %v", removal, err)
	}
	for i := range removal {
		if is := accepted(t, from.After(removal[:i+1])); !is[oldToken] {
			t.Errorf("another client is cut off after the write of %s", removal[i].Key)
		}
	}
	rest := from.After(removal)
	if len(rest) != 2 || string(rest["token"]) != oldToken+"\n" {
		t.Errorf("left is %q", rest)
	}
	gone, err := content.Parse(rest, "", content.Options{Client: "ci"})
	if err != nil {
		t.Fatal(err)
	}
	back := gone.Clone()
	back.Current = content.Token("ffffffffffffffff")
	addition, err := gone.Edit(back)
	if err != nil || len(addition) != 1 || addition[0].Key != "token.ci" {
		t.Errorf("%v, %v", addition, err)
	}
}

// A new key of a client gets the mode of its current token, and that of a new client the
// mode of another one. What killed rotations have left of it goes.
func TestKeysOfClients(t *testing.T) {
	dir := t.TempDir()
	put(t, filepath.Join(dir, "token.ci"), oldToken, 0o640)
	put(t, filepath.Join(dir, "token.web"), newToken, 0o600)
	put(t, filepath.Join(dir, ".token-next.ci"+tempMark+"x"), "secret", 0o600)
	put(t, filepath.Join(dir, ".token.a"+tempMark+"b"+tempMark+"x"), "secret", 0o600)
	put(t, filepath.Join(dir, ".tokens.ci"+tempMark+"x"), "foreign", 0o600)
	e := [][]content.Write{{{Key: "token-revoked", Value: []byte("x")}, {Key: "token-next.ci", Value: []byte("x")}, {Key: "token-next.web", Value: []byte("x")}, {Key: "token.new", Value: []byte("x")}}}
	if err := loadDir(t, dir).Save(t.Context(), e); err != nil {
		t.Fatal(err)
	}
	for key, want := range map[string]os.FileMode{"token-next.ci": 0o640, "token-next.web": 0o600, "token.new": 0o640} {
		if got := mode(t, filepath.Join(dir, key)); got != want {
			t.Errorf("%s has mode %o, want %o", key, got, want)
		}
	}
	if got := list(t, dir); !slices.Equal(got, []string{".tokens.ci" + tempMark + "x", "token-next.ci", "token-next.web", "token-revoked", "token.ci", "token.new", "token.web"}) {
		t.Errorf("holds %q", got)
	}
}
