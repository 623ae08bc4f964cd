package reload

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"github.com/tokenagent/tokenagent/internal/kubemount"
)

func swapKeys(t *testing.T, dir string, kv ...string) {
	t.Helper()
	payload := make(map[string][]byte)
	for i := 0; i < len(kv); i += 2 {
		payload[kv[i]] = []byte(kv[i+1])
	}
	check(t, kubemount.Write(dir, payload, 0o400))
}

// recoveries are changes of sources that happen in practice. Each scenario runs once with
// events and no polling, and once with polling alone. The Value must follow without a
// restart.
var recoveries = map[string]func(t *testing.T, dir string, start func(Source) *live){
	"kubelet swap of a file": func(t *testing.T, dir string, start func(Source) *live) {
		swapKeys(t, dir, "token", "0")
		l := start(File(filepath.Join(dir, "token")))
		for i := 1; i <= 5; i++ {
			swapKeys(t, dir, "token", strconv.Itoa(i))
			l.becomes(t, strconv.Itoa(i))
		}
	},
	"kubelet swap of a directory": func(t *testing.T, dir string, start func(Source) *live) {
		swapKeys(t, dir, "token", "0")
		l := start(Dir(dir, "token", "token-next"))
		swapKeys(t, dir, "token", "0", "token-next", "1")
		l.becomes(t, "token-next=1 token=0")
		swapKeys(t, dir, "token", "1")
		l.becomes(t, "token=1")
		swapKeys(t, dir, "token", "2")
		l.becomes(t, "token=2")
	},
	"kubelet adds the key later": func(t *testing.T, dir string, start func(Source) *live) {
		swapKeys(t, dir)
		l := start(File(filepath.Join(dir, "token")))
		swapKeys(t, dir, "token", "1")
		l.becomes(t, "1")
		swapKeys(t, dir)
		swapKeys(t, dir, "token", "2")
		l.becomes(t, "2")
	},
	"optional secret, empty then filled": func(t *testing.T, dir string, start func(Source) *live) {
		swapKeys(t, dir)
		l := start(Dir(dir, "token"))
		swapKeys(t, dir, "token", "1")
		l.becomes(t, "token=1")
	},
	"rename over": func(t *testing.T, dir string, start func(Source) *live) {
		path := filepath.Join(dir, "token")
		put(t, path, "0")
		l := start(File(path))
		for i := 1; i <= 3; i++ {
			replace(t, path, strconv.Itoa(i))
			l.becomes(t, strconv.Itoa(i))
		}
	},
	"in-place write": func(t *testing.T, dir string, start func(Source) *live) {
		path := filepath.Join(dir, "token")
		put(t, path, "0")
		l := start(File(path))
		put(t, path, "1")
		l.becomes(t, "1")
		put(t, path, "2")
		l.becomes(t, "2")
	},
	"delete and recreate": func(t *testing.T, dir string, start func(Source) *live) {
		path := filepath.Join(dir, "token")
		put(t, path, "0")
		l := start(File(path))
		for i := 1; i <= 3; i++ {
			check(t, os.Remove(path))
			l.log.await(t, "no such file", i)
			put(t, path, strconv.Itoa(i))
			l.becomes(t, strconv.Itoa(i))
		}
	},
	"parent directory replaced": func(t *testing.T, dir string, start func(Source) *live) {
		parent := filepath.Join(dir, "p")
		check(t, os.Mkdir(parent, 0o700))
		path := filepath.Join(parent, "token")
		put(t, path, "0")
		l := start(File(path))
		for i := 1; i <= 3; i++ {
			fresh := filepath.Join(dir, "fresh")
			check(t, os.Mkdir(fresh, 0o700))
			put(t, filepath.Join(fresh, "token"), strconv.Itoa(i))
			check(t, os.Rename(parent, fmt.Sprint(parent, i)), os.Rename(fresh, parent))
			l.becomes(t, strconv.Itoa(i))
		}
		replace(t, path, "last") // the new directory must be watched
		l.becomes(t, "last")
	},
	"parent directory deleted and created": func(t *testing.T, dir string, start func(Source) *live) {
		parent := filepath.Join(dir, "p")
		path := filepath.Join(parent, "token")
		check(t, os.Mkdir(parent, 0o700))
		put(t, path, "0")
		l := start(File(path))
		for i := 1; i <= 3; i++ {
			check(t, os.RemoveAll(parent), os.Mkdir(parent, 0o700))
			put(t, path, strconv.Itoa(i))
			l.becomes(t, strconv.Itoa(i))
		}
	},
	"grandparent replaced": func(t *testing.T, dir string, start func(Source) *live) {
		top := filepath.Join(dir, "g")
		path := filepath.Join(top, "p", "token")
		check(t, os.MkdirAll(filepath.Dir(path), 0o700))
		put(t, path, "0")
		l := start(File(path))
		fresh := filepath.Join(dir, "fresh")
		check(t, os.MkdirAll(filepath.Join(fresh, "p"), 0o700))
		put(t, filepath.Join(fresh, "p", "token"), "1")
		check(t, os.Rename(top, top+".old"), os.Rename(fresh, top))
		l.becomes(t, "1")
		replace(t, path, "2")
		l.becomes(t, "2")
	},
	"symlink retargeted, old target kept": func(t *testing.T, dir string, start func(Source) *live) {
		path := filepath.Join(dir, "token")
		for i := range 4 {
			put(t, filepath.Join(dir, fmt.Sprint("v", i)), strconv.Itoa(i))
		}
		relink(t, "v0", path)
		l := start(File(path))
		for i := 1; i < 4; i++ {
			relink(t, fmt.Sprint("v", i), path)
			l.becomes(t, strconv.Itoa(i))
		}
		relink(t, "v0", path)
		l.becomes(t, "0")
	},
	"symlink chain, the far link retargeted": func(t *testing.T, dir string, start func(Source) *live) {
		for _, v := range []string{"a", "b"} {
			check(t, os.MkdirAll(filepath.Join(dir, "far", v, "x"), 0o700))
			put(t, filepath.Join(dir, "far", v, "x", "token"), v)
		}
		check(t, os.Mkdir(filepath.Join(dir, "near"), 0o700))
		current := filepath.Join(dir, "far", "current")
		relink(t, "a", current)
		relink(t, filepath.Join(current, "x"), filepath.Join(dir, "near", "x"))
		relink(t, "x/token", filepath.Join(dir, "near", "token"))
		l := start(File(filepath.Join(dir, "near", "token")))
		relink(t, "b", current)
		l.becomes(t, "b")
		replace(t, filepath.Join(dir, "far", "b", "x", "token"), "c")
		l.becomes(t, "c")
	},
	"hard-linked backup": func(t *testing.T, dir string, start func(Source) *live) {
		path := filepath.Join(dir, "token")
		put(t, path, "0")
		check(t, os.Link(path, path+".bak"))
		l := start(File(path))
		replace(t, path, "1")
		l.becomes(t, "1")
		check(t, os.Remove(path+".bak"), os.Link(path, path+".bak"), os.Remove(path))
		put(t, path, "2")
		l.becomes(t, "2")
	},
	"burst of renames": func(t *testing.T, dir string, start func(Source) *live) {
		path := filepath.Join(dir, "token")
		put(t, path, "x")
		l := start(File(path))
		for i := range 500 {
			replace(t, path, strconv.Itoa(i))
		}
		l.becomes(t, "499")
	},
	"directory in place of the file": func(t *testing.T, dir string, start func(Source) *live) {
		path := filepath.Join(dir, "token")
		put(t, path, "0")
		l := start(File(path))
		check(t, os.Remove(path), os.Mkdir(path, 0o700))
		l.log.await(t, "not a regular file but a directory", 1)
		check(t, os.Remove(path))
		put(t, path, "1")
		l.becomes(t, "1")
	},
	"empty": func(t *testing.T, dir string, start func(Source) *live) {
		path := filepath.Join(dir, "token")
		put(t, path, "0")
		l := start(File(path))
		replace(t, path, " \r\n")
		l.log.await(t, ErrEmpty.Error(), 1)
		replace(t, path, "1")
		l.becomes(t, "1")
	},
	"too large": func(t *testing.T, dir string, start func(Source) *live) {
		path := filepath.Join(dir, "token")
		put(t, path, "0")
		l := start(File(path))
		replace(t, path, string(make([]byte, 5<<20)))
		l.log.await(t, ErrTooLarge.Error(), 1)
		replace(t, path, "1")
		l.becomes(t, "1")
	},
	"dangling link in a plain directory": func(t *testing.T, dir string, start func(Source) *live) {
		key := filepath.Join(dir, "token")
		put(t, key, "0")
		l := start(Dir(dir, "token"))
		relink(t, "nowhere", key)
		l.log.await(t, "leads nowhere", 1)
		put(t, filepath.Join(dir, "nowhere"), "1")
		l.becomes(t, "token=1")
	},
	"plain directory": func(t *testing.T, dir string, start func(Source) *live) {
		put(t, filepath.Join(dir, "token"), "0")
		l := start(Dir(dir, "token", "token-next"))
		replace(t, filepath.Join(dir, "token-next"), "1")
		l.becomes(t, "token-next=1 token=0")
		check(t, os.Remove(filepath.Join(dir, "token-next")))
		l.becomes(t, "token=0")
	},
	"plain directory becomes a volume": func(t *testing.T, dir string, start func(Source) *live) {
		put(t, filepath.Join(dir, "token"), "0")
		l := start(Path(dir, "token"))
		swapKeys(t, dir, "token", "1")
		l.becomes(t, "token=1")
	},
	"created late, in steps": func(t *testing.T, dir string, start func(Source) *live) {
		path := filepath.Join(dir, "a", "b", "token")
		l := start(File(path))
		check(t, os.Mkdir(filepath.Join(dir, "a"), 0o700), os.Mkdir(filepath.Dir(path), 0o700))
		put(t, path, "1")
		l.becomes(t, "1")
	},
	"bad, bad again, then good": func(t *testing.T, dir string, start func(Source) *live) {
		path := filepath.Join(dir, "token")
		put(t, path, "0")
		l := start(File(path))
		replace(t, path, "bad")
		l.log.await(t, "bad content", 1)
		replace(t, path, "bad")
		replace(t, path, "1")
		l.becomes(t, "1")
		l.log.await(t, "source is good again", 1)
	},
	"env file": func(t *testing.T, dir string, start func(Source) *live) {
		path := filepath.Join(dir, "env")
		put(t, path, "# x\nTOKEN=0\n")
		l := start(EnvFile(path, "TOKEN"))
		replace(t, path, "TOKEN=0\nexport TOKEN='1'\n")
		l.becomes(t, "1")
	},
}

func TestRecovers(t *testing.T) {
	for name, scenario := range recoveries {
		t.Run(name, func(t *testing.T) {
			t.Run("by events", func(t *testing.T) {
				t.Parallel()
				scenario(t, t.TempDir(), func(src Source) *live {
					o := quick()
					o.Wait = true
					return start(t, src, o)
				})
			})
			t.Run("by polling", func(t *testing.T) {
				t.Parallel()
				scenario(t, t.TempDir(), func(src Source) *live {
					o := Options{Poll: 20 * time.Millisecond, Debounce: 30 * time.Millisecond, Wait: true, PollOnly: true}
					return start(t, src, o)
				})
			})
		})
	}
}
