package report

import (
	"bytes"
	"fmt"
	"os"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// Machine returns a Markdown list of the date, the machine, and the versions of the
// modules whose paths are in peers.
func Machine(now time.Time, peers []string) string {
	var b strings.Builder
	var u unix.Utsname
	_ = unix.Uname(&u)
	// Cut off what a distributor adds to the version.
	kernel, _, _ := strings.Cut(string(bytes.TrimRight(u.Release[:], "\x00")), "-")
	fmt.Fprintf(&b, "- %s\n- %s, %d cores, %s %s, %s\n", now.UTC().Format("2006-01-02"), processor(), runtime.NumCPU(),
		runtime.GOOS, kernel, runtime.Version())
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return b.String()
	}
	b.WriteString("- peers:")
	for _, m := range info.Deps {
		if slices.Contains(peers, m.Path) {
			fmt.Fprintf(&b, " %s %s;", m.Path, m.Version)
		}
	}
	return strings.TrimSuffix(b.String(), ";") + "\n"
}

func processor() string {
	text, _ := os.ReadFile("/proc/cpuinfo")
	for line := range strings.Lines(string(text)) {
		if name, ok := strings.CutPrefix(line, "model name"); ok {
			return strings.Trim(name, "\t :\n")
		}
	}
	return runtime.GOARCH
}
