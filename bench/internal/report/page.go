package report

import (
	"fmt"
	"os"
	"strings"
)

// Replace puts text between the markers of that name in the file, and leaves
// everything else of it as it is. The markers are HTML comments of a line each:
// "bench:NAME:begin" and "bench:NAME:end".
func Replace(path, name, text string) error {
	page, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	begin, end := fmt.Sprintf("<!-- bench:%s:begin -->\n", name), fmt.Sprintf("<!-- bench:%s:end -->\n", name)
	before, rest, ok := strings.Cut(string(page), begin)
	_, after, closed := strings.Cut(rest, end)
	if !ok || !closed {
		return fmt.Errorf("%s: has no lines %q and %q, in this order", path, strings.TrimSpace(begin), strings.TrimSpace(end))
	}
	return os.WriteFile(path, []byte(before+begin+"\n"+strings.TrimSpace(text)+"\n\n"+end+after), 0o644) //nolint:gosec // a page of the documentation
}
