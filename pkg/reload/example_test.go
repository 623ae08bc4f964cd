package reload_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/tokenagent/tokenagent/pkg/reload"
)

// tempDir returns a new directory and a function that removes it.
func tempDir() (dir string, remove func()) {
	dir, err := os.MkdirTemp("", "reload")
	if err != nil {
		panic(err)
	}
	return dir, func() { _ = os.RemoveAll(dir) }
}

// write replaces the file at path in one step, as every writer should.
func write(path, text string) {
	err := os.WriteFile(path+".new", []byte(text), 0o600)
	if err := errors.Join(err, os.Rename(path+".new", path)); err != nil {
		panic(err)
	}
}

// parseLimit is a reload.Step that expects one number.
func parseLimit(_ *int, c reload.Content, _ time.Time) (*int, error) {
	n, err := strconv.Atoi(strings.TrimSpace(string(c.Data)))
	if err != nil {
		return nil, fmt.Errorf("%s: not a number; write one there", c.Path) // err would quote the content
	}
	return &n, nil
}

// text is a reload.Step that keeps the content as it is.
func text(_ *string, c reload.Content, _ time.Time) (*string, error) {
	s := string(c.Data)
	return &s, nil
}

// A program follows a file that holds a number.
func Example() {
	dir, remove := tempDir()
	defer remove()
	path := filepath.Join(dir, "limit")
	write(path, "10")

	limit, err := reload.Open(reload.File(path), parseLimit, reload.Options{})
	if err != nil {
		fmt.Println(err)
		return
	}
	ctx, stop := context.WithCancel(context.Background())
	stopped := make(chan error)
	go func() { stopped <- limit.Run(ctx) }()
	fmt.Println("limit:", *limit.Load())

	updated := limit.Updated()
	write(path, "20")
	<-updated
	fmt.Println("limit:", *limit.Load())

	stop()
	fmt.Println("Run returned", <-stopped)
	// Output:
	// limit: 10
	// limit: 20
	// Run returned <nil>
}

// Without Options.Wait, Open fails if there is no good content.
func ExampleOpen() {
	dir, remove := tempDir()
	defer remove()
	path := filepath.Join(dir, "limit")

	_, err := reload.Open(reload.File(path), parseLimit, reload.Options{})
	fmt.Println("missing:", errors.Is(err, os.ErrNotExist))

	limit, err := reload.Open(reload.File(path), parseLimit, reload.Options{Wait: true})
	fmt.Println("waiting:", err, limit.Load() == nil)

	write(path, "10")
	changed, err := limit.Reload()
	fmt.Println("there:", changed, err, *limit.Load())
	// Output:
	// missing: true
	// waiting: <nil> true
	// there: true <nil> 10
}

// A bad file changes nothing. The error shows in the return value and in Stats.
func ExampleValue_Reload() {
	dir, remove := tempDir()
	defer remove()
	path := filepath.Join(dir, "limit")
	write(path, "10")
	limit, err := reload.Open(reload.File(path), parseLimit, reload.Options{})
	if err != nil {
		fmt.Println(err)
		return
	}

	write(path, "")
	changed, err := limit.Reload()
	fmt.Println(changed, errors.Is(err, reload.ErrEmpty), *limit.Load())

	write(path, "ten")
	_, _ = limit.Reload()
	stats := limit.Stats()
	fmt.Println(strings.TrimPrefix(stats.LastError.Error(), dir))
	fmt.Printf("%d applied, %d rejected, %d failed\n", stats.Applied, stats.Rejected, stats.Failed)
	// Output:
	// false true 10
	// /limit: not a number; write one there
	// 1 applied, 1 rejected, 1 failed
}

// Apply changes the state without the source.
func ExampleValue_Apply() {
	dir, remove := tempDir()
	defer remove()
	path := filepath.Join(dir, "limit")
	write(path, "10")
	limit, err := reload.Open(reload.File(path), parseLimit, reload.Options{})
	if err != nil {
		fmt.Println(err)
		return
	}

	limit.Apply(func(prev *int, _ time.Time) *int {
		half := *prev / 2
		return &half
	})
	fmt.Println(*limit.Load())
	// Output: 5
}

// A Step can let part of bad content take effect: here, names that are blocked.
func ExampleStep() {
	dir, remove := tempDir()
	defer remove()
	path := filepath.Join(dir, "users")
	write(path, "allow alice\n")

	type users struct{ allowed, blocked string }
	parse := func(prev *users, c reload.Content, _ time.Time) (*users, error) {
		var next users
		var err error
		for line := range strings.Lines(string(c.Data)) {
			switch verb, name, _ := strings.Cut(strings.TrimSpace(line), " "); verb {
			case "allow":
				next.allowed += name
			case "block":
				next.blocked += name
			default:
				err = fmt.Errorf("%s: a line begins with neither allow nor block", c.Path)
			}
		}
		if err == nil || prev == nil || next.blocked == prev.blocked {
			return &next, err
		}
		return &users{allowed: prev.allowed, blocked: next.blocked}, err
	}
	v, err := reload.Open(reload.File(path), parse, reload.Options{})
	if err != nil {
		fmt.Println(err)
		return
	}

	write(path, "alow bob\nblock mallory\n")
	_, err = v.Reload()
	fmt.Println(err != nil, *v.Load())
	// Output: true {alice mallory}
}

// All keys of a directory are from one version, for example of a mounted Secret.
func ExampleDir() {
	dir, remove := tempDir()
	defer remove()
	write(filepath.Join(dir, "user"), "alice")
	write(filepath.Join(dir, "password"), "correct horse")

	type login struct{ user, password string }
	parse := func(_ *login, c reload.Content, _ time.Time) (*login, error) {
		user, password := c.Keys["user"], c.Keys["password"]
		if c.Partial || len(user) == 0 || len(password) == 0 {
			return nil, fmt.Errorf("%s: user and password must both be there", c.Path)
		}
		return &login{string(user), string(password)}, nil
	}
	v, err := reload.Open(reload.Dir(dir, "user", "password"), parse, reload.Options{})
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(v.Load().user, len(v.Load().password))
	// Output: alice 13
}

// Files that may stand in different directories are one source.
func ExampleFiles() {
	dir, remove := tempDir()
	defer remove()
	cert, key := filepath.Join(dir, "cert"), filepath.Join(dir, "key")
	write(cert, "certificate 7")
	write(key, "key 7")

	type pair struct{ number string }
	parse := func(_ *pair, c reload.Content, _ time.Time) (*pair, error) {
		number := strings.TrimPrefix(string(c.Keys[cert]), "certificate ")
		if number != strings.TrimPrefix(string(c.Keys[key]), "key ") {
			return nil, errors.New("certificate and key do not belong together")
		}
		return &pair{number}, nil
	}
	v, err := reload.Open(reload.Files(cert, key), parse, reload.Options{})
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(v.Load().number)

	write(cert, "certificate 8") // its key comes later
	_, err = v.Reload()
	fmt.Println(v.Load().number, err)
	// Output:
	// 7
	// 7 certificate and key do not belong together
}

func ExampleEnvFile() {
	dir, remove := tempDir()
	defer remove()
	path := filepath.Join(dir, "app.env")
	write(path, "# the app\nMODE=fast\nexport COLOR='dark blue'\n")

	color, err := reload.Open(reload.EnvFile(path, "COLOR"), text, reload.Options{})
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(*color.Load())
	// Output: dark blue
}

// Two Values share one inotify instance.
func ExampleWatcher() {
	dir, remove := tempDir()
	defer remove()
	var watcher reload.Watcher
	ctx, stop := context.WithCancel(context.Background())
	var running sync.WaitGroup
	for _, name := range []string{"a", "b"} {
		path := filepath.Join(dir, name)
		write(path, "old")
		v, err := reload.Open(reload.File(path), text, reload.Options{Watcher: &watcher})
		if err != nil {
			fmt.Println(err)
			continue
		}
		updated := v.Updated()
		running.Go(func() { _ = v.Run(ctx) })
		write(path, "new")
		<-updated
		fmt.Println(name, *v.Load())
	}
	stop()
	running.Wait()
	// Output:
	// a new
	// b new
}
