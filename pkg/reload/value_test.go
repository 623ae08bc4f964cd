package reload

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

func TestOpenFails(t *testing.T) {
	dir := t.TempDir()
	empty, bad := filepath.Join(dir, "empty"), filepath.Join(dir, "bad")
	put(t, empty, "\n")
	put(t, bad, "bad")
	for name, c := range map[string]struct {
		src  Source
		want error
	}{
		"absent":    {File(filepath.Join(dir, "absent")), fs.ErrNotExist},
		"empty":     {File(empty), ErrEmpty},
		"bad":       {File(bad), errBad},
		"directory": {File(dir), ErrNotRegular},
		"no keys":   {Dir(dir, "token"), errBad},
		"file":      {Dir(bad, "token"), syscall.ENOTDIR},
	} {
		if v, err := Open(c.src, joined, Options{}); !errors.Is(err, c.want) || v != nil {
			t.Errorf("%s: %v, %v", name, v, err)
		}
		v, err := Open(c.src, joined, Options{Wait: true})
		if err != nil {
			t.Errorf("%s, waiting: %v", name, err)
			continue
		}
		if v.Load() != nil {
			t.Errorf("%s, waiting: it has the state %q", name, *v.Load())
		}
		if s := v.Stats(); s.Applied > 0 || !errors.Is(s.LastError, c.want) {
			t.Errorf("%s, waiting: %+v", name, s)
		}
	}
	if _, err := Open[string](nil, joined, Options{}); err == nil {
		t.Error("Open accepted a nil source")
	}
	if _, err := Open[string](File(bad), nil, Options{}); err == nil {
		t.Error("Open accepted a nil step")
	}
	if _, err := Open(File(bad), func(*string, Content, time.Time) (*string, error) { return nil, nil }, Options{}); !errors.Is(err, errNoState) {
		t.Errorf("neither state nor error: %v", err)
	}
}

// Open waits while the content changes.
func TestOpenReadsTwice(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		path := filepath.Join(dir, "token")
		put(t, path, "")
		go func() {
			for i := range 10 {
				_ = os.WriteFile(path, []byte(strings.Repeat("x", i)), 0o600)
				time.Sleep(4 * time.Millisecond)
			}
		}()
		began := time.Now()
		v, err := Open(File(path), joined, Options{})
		if err != nil || *v.Load() != "xxxxxxxxx" {
			t.Fatalf("%v, %v", v, err)
		}
		if took := time.Since(began); took > 50*time.Millisecond {
			t.Errorf("took %v", took)
		}
	})
	synctest.Test(t, func(t *testing.T) {
		reads := 0
		unsteady := sourceFunc(func() (Content, error) {
			reads++
			return Content{Data: []byte(strconv.Itoa(reads)), Path: "it"}, nil
		})
		began := time.Now()
		if _, err := Open(unsteady, joined, Options{}); !errors.Is(err, errUnsteady) {
			t.Errorf("error is %v", err)
		}
		if took := time.Since(began); took > 210*time.Millisecond {
			t.Errorf("took %v", took)
		}
		if v, err := Open(unsteady, joined, Options{Debounce: -1}); err != nil || v.Load() == nil {
			t.Errorf("without Debounce: %v", err)
		}
	})
}

// A start with many files must not read each of them more often than necessary.
func TestOpenReadsAFileTwiceOnly(t *testing.T) {
	path := filepath.Join(t.TempDir(), "token")
	put(t, path, "0")
	src, reads := newFile(path), 0
	read := src.read
	src.read = func(maxBytes int64) reading {
		reads++
		return read(maxBytes)
	}
	if _, err := Open(src, joined, Options{}); err != nil || reads != 2 {
		t.Errorf("%d reads, error %v", reads, err)
	}
}

type sourceFunc func() (Content, error)

func (f sourceFunc) Read(context.Context, int64) (Content, error) { return f() }

// A Source that the caller implements is polled, and its content must pass the Debounce.
func TestOtherSource(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex
		text := "0"
		src := sourceFunc(func() (Content, error) {
			mu.Lock()
			defer mu.Unlock()
			return Content{Data: []byte(text)}, nil
		})
		l := open(t, src, Options{}).run(t)
		mu.Lock()
		text = "1"
		mu.Unlock()
		began := time.Now()
		l.becomesWithin(t, "1", 12*time.Second)
		if took := time.Since(began); took < time.Second {
			t.Errorf("accepted after %v", took)
		}
		if m := l.Stats().Mode; m != modePoll {
			t.Errorf("mode is %s", m)
		}
	})
}

func TestStaticEnvironment(t *testing.T) {
	if _, err := Open(Env("RELOAD_TEST_UNSET"), joined, Options{}); err == nil || !strings.Contains(err.Error(), "RELOAD_TEST_UNSET: not set") {
		t.Errorf("unset: %v", err)
	}
	t.Setenv("RELOAD_TEST", "0")
	l := open(t, Env("RELOAD_TEST"), Options{})
	if s := l.Stats(); s.Mode != modeStatic || len(s.WatchErrors) != 4 || deref(l.Load()) != "0" {
		t.Errorf("is %q, stats %+v", deref(l.Load()), s)
	}
	l.run(t)
	t.Setenv("RELOAD_TEST", "1")
	if changed, err := l.Reload(); !changed || err != nil || deref(l.Load()) != "1" {
		t.Errorf("is %q: %v, %v", deref(l.Load()), changed, err)
	}
	t.Setenv("RELOAD_TEST", " ")
	if changed, err := l.Reload(); changed || !errors.Is(err, ErrEmpty) || !strings.Contains(err.Error(), "RELOAD_TEST") {
		t.Errorf("blank: %v, %v", changed, err)
	}
}

// A Step may reject content and return a state beside the error.
func TestStepWithStateAndError(t *testing.T) {
	path := filepath.Join(t.TempDir(), "token")
	put(t, path, "bad")
	v, err := Open(File(path), func(prev *string, c Content, _ time.Time) (*string, error) {
		if s := string(c.Data); s != "bad" {
			return &s, nil
		}
		part := "the good part"
		if prev != nil && *prev == part {
			return prev, errBad
		}
		return &part, errBad
	}, Options{Wait: true})
	check(t, err)
	if deref(v.Load()) != "the good part" || v.Stats().Applied > 0 || v.Stats().Rejected != 1 {
		t.Errorf("is %q, %+v", deref(v.Load()), v.Stats())
	}
	updated := v.Updated()
	if _, err := v.Reload(); !errors.Is(err, errBad) {
		t.Error(err)
	}
	select {
	case <-updated:
		t.Error("Updated reports a change, although the Step returned prev")
	default:
	}
	put(t, path, "good")
	if changed, err := v.Reload(); !changed || err != nil || v.Stats().Applied == 0 {
		t.Errorf("%v, %v, %+v", changed, err, v.Stats())
	}
}

// After bad content changed the state, the content accepted before is applied again.
func TestGoodContentIsAppliedAgain(t *testing.T) {
	path := filepath.Join(t.TempDir(), "token")
	put(t, path, "good")
	v, err := Open(File(path), func(_ *string, c Content, _ time.Time) (*string, error) {
		s := string(c.Data)
		if s == "bad" {
			return &s, errBad
		}
		return &s, nil
	}, Options{})
	check(t, err)
	put(t, path, "bad")
	if _, err := v.Reload(); !errors.Is(err, errBad) || *v.Load() != "bad" {
		t.Fatalf("is %q, %v", *v.Load(), err)
	}
	put(t, path, "good")
	if changed, err := v.Reload(); !changed || err != nil || *v.Load() != "good" {
		t.Errorf("is %q, changed %t, %v", *v.Load(), changed, err)
	}
}

func TestApply(t *testing.T) {
	path := filepath.Join(t.TempDir(), "token")
	put(t, path, "0")
	l := open(t, File(path), Options{})
	updated := l.Updated()
	l.Apply(func(prev *string, _ time.Time) *string { return prev })
	l.Apply(func(*string, time.Time) *string { return nil })
	select {
	case <-updated:
		t.Error("Updated reports a change, although nothing changed")
	default:
	}
	l.Apply(func(prev *string, _ time.Time) *string { s := *prev + "!"; return &s })
	if deref(l.Load()) != "0!" {
		t.Errorf("is %q when Apply returns", deref(l.Load()))
	}
	<-updated
	if changed, err := l.Reload(); changed || err != nil || deref(l.Load()) != "0!" {
		t.Errorf("unchanged content replaced the applied state: %q, %v, %v", deref(l.Load()), changed, err)
	}
}

// Apply does not wait for a read that hangs.
func TestApplyDuringARead(t *testing.T) {
	hang, begun := make(chan struct{}), make(chan struct{})
	first := true
	src := sourceFunc(func() (Content, error) {
		if !first {
			begun <- struct{}{}
			<-hang
		}
		first = false
		return Content{Data: []byte("x")}, nil
	})
	v, err := Open(src, joined, Options{Debounce: -1})
	check(t, err)
	done := make(chan struct{})
	go func() { defer close(done); _, _ = v.Reload() }()
	<-begun
	v.Apply(func(*string, time.Time) *string { s := "applied"; return &s })
	if *v.Load() != "applied" || v.Stats().Applied != 1 {
		t.Error("not applied")
	}
	close(hang)
	<-done
}

func TestRunTwice(t *testing.T) {
	path := filepath.Join(t.TempDir(), "token")
	put(t, path, "0")
	l := start(t, File(path), quick())
	if err := l.Run(t.Context()); !errors.Is(err, errRunning) {
		t.Errorf("error is %v", err)
	}
}

// Reload, Apply, Load, Stats and Run at the same time, for the race detector.
func TestConcurrent(t *testing.T) {
	path := filepath.Join(t.TempDir(), "token")
	put(t, path, "0")
	l := start(t, File(path), Options{Poll: time.Millisecond, Debounce: time.Millisecond})
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for range 20 {
				_, _ = l.Reload()
				l.Apply(func(prev *string, _ time.Time) *string { s := *prev; return &s })
				_, _, _ = l.Load(), l.Stats(), l.Updated()
			}
		})
	}
	wg.Go(func() {
		for i := range 200 {
			replace(t, path, strconv.Itoa(i))
		}
	})
	wg.Wait()
	l.becomes(t, "199")
}

// Observe is called for every finished read, with the time that the read and the Step took.
func TestObserve(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		text, reads := "0", 0
		src := sourceFunc(func() (Content, error) {
			reads++
			time.Sleep(time.Second)
			if text == "" {
				return Content{}, errBad
			}
			return Content{Data: []byte(text)}, nil
		})
		var took []time.Duration
		v, err := Open(src, joined, Options{Debounce: -1, Observe: func(d time.Duration) { took = append(took, d) }})
		check(t, err)
		for _, text = range []string{"0", "1", "bad", ""} { // unchanged, applied, rejected, failed
			_, _ = v.Reload()
		}
		if reads != 5 {
			t.Errorf("%d reads", reads)
		}
		if want := slices.Repeat([]time.Duration{time.Second}, 5); !slices.Equal(took, want) {
			t.Errorf("observed %v, want %v", took, want)
		}
	})
}

func TestNothingSecretIsLogged(t *testing.T) {
	const canary = "CANARY-s3cr3t"
	dir := t.TempDir()
	path := filepath.Join(dir, "env")
	put(t, path, "T="+canary+"\n")
	l := open(t, EnvFile(path, "T"), Options{})
	for _, text := range []string{canary, "T='" + canary, "T=" + canary + "bad", canary + "=x", "T=" + canary + "\x01", "export " + canary} {
		put(t, path, text)
		_, err := l.Reload()
		if err == nil || strings.Contains(err.Error(), canary) {
			t.Errorf("error is %v", err)
		}
	}
	if n, _ := l.log.count(canary); n != 0 {
		t.Errorf("in the log: %q", l.log.recs)
	}
}
