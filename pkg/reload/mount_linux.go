package reload

import (
	"bufio"
	"bytes"
	"io"
	"os"
	"slices"
	"strconv"
	"strings"
)

// fileMount returns the first of paths, which name regular files, that is a
// mount point itself, or "". Such a mount is bound to an inode: what is renamed
// over the file outside is never seen inside. A Kubernetes subPath is one, see
// https://github.com/kubernetes/kubernetes/issues/50345.
func fileMount(paths []string) string {
	if len(paths) == 0 {
		return ""
	}
	f, err := os.Open("/proc/self/mountinfo")
	if err != nil {
		return "" // then we cannot tell; it is advice only
	}
	defer f.Close()
	return mountedAmong(f, paths)
}

// mountedAmong looks for paths among the mount points, the fifth field of each
// line (proc_pid_mountinfo(5)).
func mountedAmong(mountinfo io.Reader, paths []string) string {
	lines := bufio.NewReader(mountinfo)
	for {
		line, err := lines.ReadBytes('\n')
		if fields := bytes.Fields(line); len(fields) > 4 {
			if point := unescape(string(fields[4])); slices.Contains(paths, point) {
				return point
			}
		}
		if err != nil {
			return ""
		}
	}
}

// unescape undoes what the kernel does to blanks, newlines and backslashes in
// that file: \040 and the like.
func unescape(s string) string {
	if !strings.Contains(s, `\`) {
		return s
	}
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] == '\\' && i+3 < len(s) {
			if n, err := strconv.ParseUint(s[i+1:i+4], 8, 8); err == nil {
				b.WriteByte(byte(n))
				i += 3
				continue
			}
		}
		b.WriteByte(s[i])
	}
	return b.String()
}
