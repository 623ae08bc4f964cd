package agent

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/tokenagent/tokenagent/pkg/reload"
)

// maxKeyNames is the largest number of key names in an error.
const maxKeyNames = 10

// addKeyNames adds the names of the keys in the directory c to err, if c has none of
// the wanted keys: the Secret may hold the token under another key. The error lists
// only names that a key of a Secret can have, and quotes no content.
func addKeyNames(err error, c reload.Content, wanted ...string) error {
	if err == nil || slices.ContainsFunc(wanted, func(key string) bool { _, there := c.Keys[key]; return there }) {
		return err
	}
	entries, failed := os.ReadDir(filepath.Join(c.Path, "..data"))
	if failed != nil {
		if entries, failed = os.ReadDir(c.Path); failed != nil {
			return err
		}
	}
	var names []string
	for _, e := range entries {
		if name := e.Name(); !e.IsDir() && !strings.HasPrefix(name, "..") && isKeyName(name) {
			names = append(names, name)
		}
	}
	switch n := len(names); {
	case n == 0:
		return fmt.Errorf("%w; there are no keys at all", err)
	case n > maxKeyNames:
		return fmt.Errorf("%w; the keys there are %s and %d more", err, strings.Join(names[:maxKeyNames], ", "), n-maxKeyNames)
	default:
		return fmt.Errorf("%w; the keys there are %s", err, strings.Join(names, ", "))
	}
}

// isKeyName reports whether name can be a key of a Secret
// (https://kubernetes.io/docs/concepts/configuration/secret/#restriction-names-data).
func isKeyName(name string) bool {
	return !strings.ContainsFunc(name, func(r rune) bool {
		return !strings.ContainsRune("-._", r) && (r < '0' || r > '9') && (r < 'A' || r > 'Z') && (r < 'a' || r > 'z')
	})
}
