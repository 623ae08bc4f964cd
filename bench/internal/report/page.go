package report

import (
	"fmt"
	"os"
	"strings"
)

// Replace replaces the text between the markers of name in the file at path. The
// markers are HTML comments on lines of their own: "bench:NAME:begin" and
// "bench:NAME:end".
func Replace(path, name, text string) error {
	page, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	begin, end := fmt.Sprintf("<!-- bench:%s:begin -->\n", name), fmt.Sprintf("<!-- bench:%s:end -->\n", name)
	before, rest, ok := strings.Cut(string(page), begin)
	_, after, closed := strings.Cut(rest, end)
	if !ok || !closed {
		return fmt.Errorf("%s: the lines %q and %q are missing, or not in this order", path, strings.TrimSpace(begin), strings.TrimSpace(end))
	}
	return os.WriteFile(path, []byte(before+begin+"\n"+strings.TrimSpace(text)+"\n\n"+end+after), 0o644) //nolint:gosec // a page of the documentation
}
