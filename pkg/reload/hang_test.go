package reload

import (
	"path/filepath"
	"sync"
	"testing"

	"github.com/fsnotify/fsnotify"
)

// A mount dies after a Value has read through it, so that adding its watch never returns.
// The other Values of the Watcher still get events.
func TestHangingWatchStopsNoOtherValue(t *testing.T) {
	dead, alive := filepath.Join(t.TempDir(), "token"), filepath.Join(t.TempDir(), "token")
	put(t, dead, "0")
	put(t, alive, "0")
	answer, hangs := make(chan struct{}), make(chan struct{})
	var once sync.Once
	w := new(Watcher)
	w.addDir = func(notify *fsnotify.Watcher, dir string) error {
		if dir == filepath.Dir(dead) {
			once.Do(func() {
				close(hangs)
				<-answer
			})
		}
		return notify.Add(dir)
	}
	o := quick()
	o.Watcher = w
	l := start(t, File(alive), o)
	open(t, File(dead), o).run(t)
	<-hangs
	t.Cleanup(func() { close(answer) }) // before Run must end
	replace(t, alive, "1")
	l.becomes(t, "1")
	replace(t, alive, "2")
	l.becomes(t, "2")
}
