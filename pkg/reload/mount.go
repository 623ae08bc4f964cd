package reload

import (
	"os"
	"slices"
	"strings"
)

// fileMount returns the first of paths, which name regular files, that is a mount
// point itself, or "". Such a mount is bound to an inode: a file that is renamed over
// it outside is never seen inside. A Kubernetes subPath is one, see
// https://github.com/kubernetes/kubernetes/issues/50345.
func fileMount(paths []string) string {
	paths = slices.DeleteFunc(paths, isNoMountPoint)
	if len(paths) == 0 {
		return "" // without the mount table, which can have thousands of lines
	}
	table, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return "" // not Linux, or no /proc; this is advice only
	}
	return mountedAmong(string(table), paths)
}

// mountedAmong looks for paths among the mount points, the fifth field of each line
// (proc_pid_mountinfo(5)).
func mountedAmong(mountinfo string, paths []string) string {
	unescape := strings.NewReplacer(`\040`, " ", `\011`, "\t", `\012`, "\n", `\134`, `\`)
	for line := range strings.Lines(mountinfo) {
		fields := strings.Fields(line)
		if len(fields) < 5 {
			continue
		}
		if point := unescape.Replace(fields[4]); slices.Contains(paths, point) {
			return point
		}
	}
	return ""
}
